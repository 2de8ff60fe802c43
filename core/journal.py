"""What a run remembers of its finished segments, so that a killed one does not begin again.

The contract alone: ``transcription_run`` asks and tells; ``jobs.journal`` keeps it in the database,
``jobs.segment_cache`` in files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from core.events import SegmentFailed, SegmentFinished
from core.pcm import PcmSpool
from core.types import AudioSegment, SegmentReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What a journal keeps of a segment: one of its two ends, and how it was done."""

    finished: SegmentFinished | None = None
    failed: SegmentFailed | None = None
    report: SegmentReport | None = None


class Journal(Protocol):
    """Remembers finished segments, so that a run that was killed does not decode them again."""

    def recall(self, segment: AudioSegment, spool: PcmSpool) -> Recorded | None:
        """What the same audio gave before with the same model and options. The segment's audio is
        in the spool. Called on the run's ingest thread, in the recording's order."""

    def keep(self, index: int, recorded: Recorded) -> None:
        """Remember a segment that :meth:`recall` did not know. Called on the thread that iterates
        the events, before the event is seen."""
