"""Everything that is said over a worker's pipe: plain frozen data, safe to unpickle in the parent.

Commands go from the parent to the worker, messages from the worker to the parent.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.errors import SubtitleError
from core.events import SegmentFinished
from core.logs import LogFormat
from core.pcm import PcmSpool
from core.pool_job import DecodeRequest
from core.types import AudioSegment, ModelSpec, Window
from gpu.peaks import Peak
from workers.devices import Device


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSpec:
    """All that a worker process is told at its start."""

    device: Device
    engine: str
    threads: int
    log_level: str
    log_format: LogFormat = "plain"
    parent_pid: int
    heartbeat_s: float


@dataclass(frozen=True, slots=True)
class LoadModel:
    model: ModelSpec


@dataclass(frozen=True, slots=True)
class Decode:
    """One task: segments of one job. Audio stays in the spool; only times travel."""

    task_id: int
    request: DecodeRequest
    """The job's, with the model, batch and compute type of this worker."""
    spool: PcmSpool
    segments: tuple[AudioSegment, ...]
    language_windows: tuple[Window, ...] = ()
    """Not empty: decide the job's language on these first, then decode in it."""

    @property
    def windows(self) -> int:
        """Encoder passes the whole task needs at least."""
        return max(1, sum(len(segment.windows) for segment in self.segments))

    @property
    def speech_s(self) -> float:
        return sum(segment.speech_s for segment in self.segments)


@dataclass(frozen=True, slots=True)
class CancelTask:
    task_id: int


@dataclass(frozen=True, slots=True)
class Stop:
    pass


@dataclass(frozen=True, slots=True)
class WorkerReady:
    """The process runs and takes commands; no model is loaded yet."""


@dataclass(frozen=True, slots=True)
class LoadEnded:
    """Loaded and warmed up by one real inference, or failed: then the worker has no model."""

    model: ModelSpec
    elapsed_s: float
    error: SubtitleError | None = None


@dataclass(frozen=True, slots=True)
class Started:
    """Sent before the work, so that a crash can be charged to the segment."""

    task_id: int
    index: int


@dataclass(frozen=True, slots=True)
class TaskProgress:
    """The engine came from one pass of the model to the next: it does not hang."""

    task_id: int


@dataclass(frozen=True, slots=True)
class SegmentDone:
    task_id: int
    result: SegmentFinished


@dataclass(frozen=True, slots=True)
class LanguageDetected:
    task_id: int
    language: str
    probability: float


@dataclass(frozen=True, slots=True)
class TaskError:
    """A segment failed, or without an index the detection of the language."""

    task_id: int
    error: SubtitleError
    index: int | None = None


@dataclass(frozen=True, slots=True)
class TaskDone:
    """The worker is idle again; every segment of the task was answered or the task cancelled."""

    task_id: int
    elapsed_s: float
    peak: Peak | None = None
    """The most memory the process has taken, when that is news."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The process lives. No proof of progress: a stuck decode releases the interpreter lock."""


Command = LoadModel | Decode | CancelTask | Stop
TaskMessage = Started | TaskProgress | SegmentDone | LanguageDetected | TaskError | TaskDone
Message = WorkerReady | LoadEnded | TaskMessage | Heartbeat
