"""What happens to a job, as a stream: the one thing that every front end watches.

``transcription_run.TranscriptionRun.events`` yields these in order and ends with exactly one
:class:`Finished`, or raises a ``core.errors.SubtitleError``.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.types import AudioSegment, Gap, JobReport, SegmentReport, Transcript, TranscriptSegment


@dataclass(frozen=True, slots=True)
class Decoded:
    """The decoder has written this much of the recording."""

    audio_s: float
    total_s: float | None
    """Duration the container declares, None when it does not say. Never trusted for limits."""
    finished: bool


@dataclass(frozen=True, slots=True)
class Planned:
    """A segment is ready for the workers."""

    segment: AudioSegment


@dataclass(frozen=True, slots=True)
class WorkersLoading:
    """The job waits for a model; ``text`` is one line for people."""

    text: str


@dataclass(frozen=True, slots=True)
class LanguageDecided:
    language: str
    probability: float


@dataclass(frozen=True, slots=True)
class SegmentStarted:
    index: int
    device: str
    """Label of the worker's slot: ``GPU 0``, ``CPU 1``."""


@dataclass(frozen=True, slots=True)
class SegmentFinished:
    """What one segment gave, on the recording's clock. Segments finish in any order.

    An engine makes it, and it goes as it is through the pool to the journal and the transcript.
    """

    segments: tuple[TranscriptSegment, ...]
    gaps: tuple[Gap, ...]
    """Speech in it that has no words."""
    report: SegmentReport

    @property
    def index(self) -> int:
        return self.report.index

    @property
    def device(self) -> str:
        return self.report.device


@dataclass(frozen=True, slots=True)
class SegmentFailed:
    """A segment was given up; its speech is the gap. The job goes on."""

    index: int
    device: str
    gap: Gap


SegmentEnd = SegmentFinished | SegmentFailed
"""How a segment ends, exactly once; what a journal keeps of it."""


@dataclass(frozen=True, slots=True)
class TranscriptSoFar:
    """What of the transcript is known, after each segment that finished or failed."""

    segments: tuple[TranscriptSegment, ...]
    """Text that is final: everything before the first segment that is still missing."""
    gaps: tuple[Gap, ...]
    """Of all segments that have ended, in the recording's order."""
    language: str | None = None
    """As far as it is known: asked for, heard, or the only one of the model."""


WORKER_INCIDENTS = (
    "worker_lost",
    "worker_hung",
    "segment_retried",
    "segment_split",
    "segment_given_up",
    "batch_halved",
    "worker_recycled",
    "machine_lost",
    "other_device",
    "device_out",
    "device_back",
    "no_device",
    "cpu_fallback",
    "memory_wait",
    "model_refused",
    "precision_changed",
    "endpoint_busy",
    "endpoint_wait",
    "failover",
)
"""Kinds of incident that the worker pool counts."""


@dataclass(frozen=True, slots=True)
class Incident:
    """Something went wrong and was dealt with, or is waited for: one line of the job's history.

    ``kind`` is for machines and counters: one of ``WORKER_INCIDENTS``, or
    ``reading_stopped``.
    """

    kind: str
    text: str
    """One line for people, with device, segment and times where they matter."""
    device: str | None = None
    index: int | None = None
    """Of the segment it is about."""


@dataclass(frozen=True, slots=True)
class Finished:
    transcript: Transcript
    report: JobReport


Event = (
    Decoded
    | Planned
    | WorkersLoading
    | LanguageDecided
    | SegmentStarted
    | SegmentFinished
    | SegmentFailed
    | TranscriptSoFar
    | Incident
    | Finished
)
