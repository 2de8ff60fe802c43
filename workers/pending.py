"""What the supervisor knows of the work: segments waiting, jobs running, tasks given out.

Mutable and unlocked: owned by the supervisor's thread.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field

from core.endpoints import LOCAL, SHARED
from core.errors import SubtitleError
from core.events import SegmentFailed, SegmentFinished
from core.pool_job import PoolJob
from core.types import AudioSegment, Gap, ModelSpec, SegmentReport
from workers.messages import Decode


@dataclass(slots=True, eq=False)
class Split:
    """A segment that failed as a whole: its windows go one by one, and are put together again."""

    segment: AudioSegment
    attempts: int
    """Of the whole and of all parts."""
    open: int = 0
    """Parts without an answer yet."""
    results: dict[int, SegmentFinished] = field(default_factory=dict)
    gaps: dict[int, Gap] = field(default_factory=dict)

    def parts(self) -> list[PendingSegment]:
        """One entry for each window."""
        self.open = len(self.segment.windows)
        index = self.segment.index
        return [
            PendingSegment(
                AudioSegment(index, window.start_s, window.end_s, (window,)),
                alone=True,
                part=part,
                split=self,
            )
            for part, window in enumerate(self.segment.windows)
        ]

    def joined(self, device: str) -> SegmentFinished | SegmentFailed:
        """How the whole segment ended, from all of its parts."""
        gaps = [self.gaps[part] for part in sorted(self.gaps)]
        if not self.results:
            reasons = dict.fromkeys(gap.reason for gap in gaps)
            return SegmentFailed(self.segment.index, device, _gap(self.segment, "; ".join(reasons)))
        results = [self.results[part] for part in sorted(self.results)]
        reports = [result.report for result in results]
        texts = [text for result in results for text in result.segments]
        gaps = [gap for result in results for gap in result.gaps] + gaps
        reduced = [report.reduced_batch for report in reports if report.reduced_batch]
        report = SegmentReport(
            index=self.segment.index,
            start_s=self.segment.start_s,
            end_s=self.segment.end_s,
            windows=sum(report.windows for report in reports),
            device=device,
            texts=len(texts),
            elapsed_s=sum(report.elapsed_s for report in reports),
            redecoded_windows=sum(report.redecoded_windows for report in reports),
            attempts=self.attempts,
            reduced_batch=min(reduced, default=0),
            compute_type=", ".join(dict.fromkeys(report.compute_type for report in reports)),
        )
        return SegmentFinished(
            tuple(sorted(texts, key=lambda text: text.start_s)),
            tuple(sorted(gaps, key=lambda gap: gap.start_s)),
            report,
        )


@dataclass(slots=True, eq=False)
class PendingSegment:
    """A segment, or one window of it, that has no answer yet, with its history."""

    segment: AudioSegment
    attempts: int = 0
    errors: int = 0
    device_errors: int = 0
    """Those of ``errors``' kind that were charged to the device and not to the segment."""
    kills: int = 0
    out_of_memory: int = 0
    alone: bool = False
    """Once something went wrong a segment goes in a task of its own: if it is the killer, it
    takes no neighbour with it and is known."""
    avoid: set[str] = field(default_factory=set)
    """Labels of slots where it went wrong; another one is preferred."""
    bound: str | None = None
    """Label of the slot it is to be tried on next, while that slot can be used."""
    endpoint_finished: dict[str, int] = field(default_factory=dict)
    """What an endpoint had finished when this failed there first: if it finished more and this
    fails again, that is hardly the endpoint."""
    failed_on: dict[str, SubtitleError] = field(default_factory=dict)
    """Slots where it raised: if it succeeds elsewhere, that was their fault."""
    part: int = 0
    split: Split | None = None
    """Set: this is one window of that segment."""
    speech_s: float = field(init=False)
    """The segment's, which is asked for again and again."""

    def __post_init__(self) -> None:
        self.speech_s = self.segment.speech_s

    @property
    def index(self) -> int:
        return self.segment.index

    @property
    def windows(self) -> int:
        return len(self.segment.windows)

    @property
    def divisible(self) -> bool:
        return self.split is None and self.windows > 1

    @property
    def name(self) -> str:
        """For people and the log: a segment with its times, or the part of one that is tried
        alone."""
        if self.split is None:
            return self.segment.name
        times = f"{self.segment.start_s:.1f}-{self.segment.end_s:.1f}s"
        return f"segment {self.index}, window {self.part + 1} ({times})"


@dataclass(slots=True, eq=False)
class PoolJobState:
    """A job in the pool. Each of its segments gets exactly one answer: ``finished``, or ``failed``
    with a gap."""

    job: PoolJob
    waiting: list[PendingSegment] = field(default_factory=list)
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
    waits_for_memory: bool = False
    """It has work, and no worker can load its model for lack of memory. Its owner has been told."""
    waits_for_device: bool = False
    """No device is left. Its owner has been told."""
    endpoints_wait: bool = False
    """It waits while no endpoint that it was sent to can be used, instead of being decoded here."""
    route: str | None = None
    """Where a job that was sent to endpoints is decoded now, as its owner was told last."""

    @property
    def model(self) -> ModelSpec:
        return self.job.request.model

    @property
    def where(self) -> str:
        return self.job.request.where

    @property
    def sent(self) -> bool:
        """To endpoints alone, or to one of them."""
        return self.where not in (LOCAL, SHARED)

    @property
    def about(self) -> dict[str, str]:
        """``extra`` of a log line about the job; one thread logs for all of them."""
        return {"job": self.job.request.job_id}

    @property
    def done(self) -> bool:
        return self.tasks == 0 and (
            self.ending is not None or (self.input_finished and not self.waiting)
        )

    def put(self, entry: PendingSegment) -> None:
        bisect.insort(self.waiting, entry, key=lambda e: (e.index, e.part))

    def finished(self, entry: PendingSegment, result: SegmentFinished) -> None:
        """A worker decoded the segment, or one window of a segment that was divided."""
        if entry.split is None:
            self.job.emit(result)
        else:
            entry.split.results[entry.part] = result
            self._close_part(entry, entry.split, result.device)

    def failed(self, entry: PendingSegment, label: str, reason: str) -> None:
        """The segment, or the window, is given up: its speech is a gap."""
        gap = _gap(entry.segment, reason)
        if entry.split is None:
            self.job.emit(SegmentFailed(entry.index, label, gap))
        else:
            entry.split.gaps[entry.part] = gap
            self._close_part(entry, entry.split, label)

    def _close_part(self, entry: PendingSegment, split: Split, label: str) -> None:
        split.open -= 1
        split.attempts += entry.attempts
        if not split.open:
            self.job.emit(split.joined(label))


@dataclass(slots=True, eq=False)
class Task:
    """Segments of one job, leased to one worker."""

    command: Decode
    state: PoolJobState
    open: dict[int, PendingSegment]
    """Segments without an answer yet."""
    given_s: float
    heard_s: float
    """Last progress: given out, or a message that shows work."""
    started: set[int] = field(default_factory=set)
    finished: int = 0
    """Segments that came back with a result."""
    failed: list[tuple[PendingSegment, SubtitleError]] = field(default_factory=list)
    """Segments that came back with an error; judged when the task is over."""
    reduced_batch: int = 0
    cancel_by_s: float | None = None
    speech_s: float = field(init=False)
    """The command's."""

    def __post_init__(self) -> None:
        self.speech_s = self.command.speech_s

    @property
    def model(self) -> ModelSpec:
        """As the worker runs it."""
        return self.command.request.model

    @property
    def batch_size(self) -> int:
        """Windows this worker decodes at a time."""
        return self.command.request.options.batch_size

    @property
    def batch(self) -> int:
        """Windows in the largest batch of it: between two batches a worker shows progress."""
        return max(min(self.command.windows, self.batch_size), len(self.command.language_windows))


def _gap(segment: AudioSegment, reason: str) -> Gap:
    """Over the speech, from its first span to its last; silence around it misses nothing."""
    spans = [span for window in segment.windows for span in window.spans]
    start_s = min((span.start_s for span in spans), default=segment.start_s)
    end_s = max((span.end_s for span in spans), default=segment.end_s)
    return Gap(start_s, end_s, reason, segment.index)
