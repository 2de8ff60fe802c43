"""What the supervisor knows of the work: segments waiting, jobs running, tasks given out.

Mutable and unlocked: owned by the supervisor's thread.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field

from core.errors import SubtitleError
from core.types import AudioSegment, DecodeOptions, ModelSpec, Window
from workers.job import PoolJob
from workers.limits import PoolLimits


@dataclass(slots=True, eq=False)
class Entry:
    """A segment that has no answer yet, with its history."""

    segment: AudioSegment
    attempts: int = 0
    errors: int = 0
    kills: int = 0
    alone: bool = False
    """Once something went wrong a segment goes in a task of its own: if it is the killer, it
    takes no neighbour with it and is known."""
    avoid: set[str] = field(default_factory=set)
    """Labels of slots where it went wrong; another one is preferred."""

    @property
    def index(self) -> int:
        return self.segment.index

    @property
    def windows(self) -> int:
        return max(1, len(self.segment.windows))


@dataclass(slots=True, eq=False)
class JobState:
    """A job in the pool."""

    job: PoolJob
    options: DecodeOptions
    """With the language, once it is decided."""
    waiting: list[Entry] = field(default_factory=list)
    """In the recording's order."""
    tasks: int = 0
    """Given out and not yet taken back."""
    labels: set[str] = field(default_factory=set)
    """Slots that have worked on the job."""
    begun: bool = False
    input_finished: bool = False
    ending: SubtitleError | None = None
    """Set: the job ends with this as soon as no worker has a task of it."""
    served_s: float = 0.0
    """Audio seconds given out, the clock of fair sharing."""
    detecting: bool = False
    detections_failed: int = 0
    first_added_s: float | None = None
    unserved_since_s: float | None = None
    """Since when there is work and no worker has the model."""

    @property
    def model(self) -> ModelSpec:
        return self.job.spec.model

    @property
    def done(self) -> bool:
        return self.tasks == 0 and (
            self.ending is not None or (self.input_finished and not self.waiting)
        )

    def put(self, entry: Entry) -> None:
        bisect.insort(self.waiting, entry, key=lambda e: e.index)


@dataclass(slots=True, eq=False)
class Task:
    """Segments of one job, leased to one worker."""

    task_id: int
    state: JobState
    open: dict[int, Entry]
    """Segments without an answer yet."""
    language_windows: tuple[Window, ...]
    given_s: float
    heard_s: float
    """Last progress: given out, or a message that shows work."""
    started: set[int] = field(default_factory=set)
    cancel_by_s: float | None = None

    def silent_until_s(self, limits: PoolLimits) -> float:
        """When silence becomes a hang."""
        audio_s = sum(entry.segment.duration_s for entry in self.open.values())
        return self.heard_s + limits.hang_floor_s + limits.hang_factor * audio_s
