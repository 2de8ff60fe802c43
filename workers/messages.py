"""Everything that is said over a worker's pipe. Plain frozen data, safe to unpickle in the parent.

Parent to worker: LoadModel, Decode, CancelTask, Stop.
Worker to parent: Ready, ModelLoaded, LoadFailed, Started, Progress, SegmentDone, SegmentError,
LanguageDetected, LanguageFailed, TaskDone, Heartbeat.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.errors import SubtitleError
from core.pcm import PcmSpool
from core.types import AudioSegment, DecodeOptions, ModelSpec, SegmentResult, Window
from workers.devices import Device
from workers.meter import MemoryPeak


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSpec:
    """All a worker process is told at birth."""

    device: Device
    engine: str
    threads: int
    log_level: str
    parent_pid: int
    heartbeat_s: float
    max_models: int = 1
    """Models kept loaded; the one unused for longest goes before another is loaded."""


@dataclass(frozen=True, slots=True)
class LoadModel:
    model: ModelSpec


@dataclass(frozen=True, slots=True)
class Decode:
    """One task: segments of one job. Audio stays in the spool; only times travel."""

    task_id: int
    model: ModelSpec
    spool: PcmSpool
    segments: tuple[AudioSegment, ...]
    options: DecodeOptions
    language_windows: tuple[Window, ...] = ()
    """Not empty: decide the job's language on these first, then decode in it."""
    job_id: str = ""
    """For the log."""


@dataclass(frozen=True, slots=True)
class CancelTask:
    task_id: int


@dataclass(frozen=True, slots=True)
class Stop:
    pass


@dataclass(frozen=True, slots=True)
class WorkerReady:
    """The process runs and takes commands; no model is loaded yet."""

    label: str
    pid: int


@dataclass(frozen=True, slots=True)
class ModelLoaded:
    """Loaded and warmed up by one real inference. ``models`` are all that are in memory now."""

    model: ModelSpec
    models: tuple[ModelSpec, ...]
    elapsed_s: float


@dataclass(frozen=True, slots=True)
class LoadFailed:
    model: ModelSpec
    models: tuple[ModelSpec, ...]
    error: SubtitleError


@dataclass(frozen=True, slots=True)
class Started:
    """Said before the work, so that a crash can be charged to the segment."""

    task_id: int
    index: int


@dataclass(frozen=True, slots=True)
class TaskProgress:
    """The engine came from one pass of the model to the next: it does not hang."""

    task_id: int


@dataclass(frozen=True, slots=True)
class SegmentDone:
    task_id: int
    result: SegmentResult


@dataclass(frozen=True, slots=True)
class SegmentError:
    task_id: int
    index: int
    error: SubtitleError
    traceback_text: str


@dataclass(frozen=True, slots=True)
class LanguageDetected:
    task_id: int
    language: str
    probability: float


@dataclass(frozen=True, slots=True)
class LanguageFailed:
    task_id: int
    error: SubtitleError
    traceback_text: str


@dataclass(frozen=True, slots=True)
class TaskDone:
    """The worker is idle again; every segment of the task was answered or the task cancelled."""

    task_id: int
    elapsed_s: float
    peak: MemoryPeak | None = None
    """The memory the process took at most, when there is news of it."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The process lives. No proof of progress: a stuck decode releases the interpreter lock."""


Command = LoadModel | Decode | CancelTask | Stop
Message = (
    WorkerReady
    | ModelLoaded
    | LoadFailed
    | Started
    | TaskProgress
    | SegmentDone
    | SegmentError
    | LanguageDetected
    | LanguageFailed
    | TaskDone
    | Heartbeat
)
