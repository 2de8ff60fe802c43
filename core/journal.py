"""What a run remembers of its segments, so that one that was killed does not begin again.

The contract alone: ``transcription_run`` calls it; ``jobs.journal`` keeps the segments in the
database, ``jobs.segment_cache`` in files.
"""

from __future__ import annotations

from typing import Protocol

from core.events import SegmentEnd
from core.pcm import PcmSpool
from core.types import AudioSegment


class Journal(Protocol):
    """Remembers how segments ended."""

    def recall(self, segment: AudioSegment, spool: PcmSpool) -> SegmentEnd | None:
        """What the same audio gave before with the same model and options. The segment's audio is
        in the spool. Called on the run's ingest thread, in the recording's order."""

    def keep(self, end: SegmentEnd) -> None:
        """Remember a segment that :meth:`recall` did not know. Called on the thread that iterates
        the events, before the event is seen."""
