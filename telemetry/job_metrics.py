"""What one job adds to the metrics."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from core.events import (
    Decoded,
    Event,
    SegmentEnd,
    SegmentFailed,
    SegmentFinished,
    SegmentStarted,
    TranscriptSoFar,
)
from core.types import Gap
from telemetry import metrics


@dataclass(slots=True, eq=False)
class JobMetrics:
    """A job that has just been queued, until it ends."""

    waiting: ClassVar[dict[JobMetrics, float]] = {}
    """Since when each job waits that does."""
    lock: ClassVar[threading.Lock] = threading.Lock()

    _state: str = "queued"
    _since_s: float = field(default_factory=time.monotonic)
    """Of its state."""
    _working: set[int] = field(default_factory=set)
    """Segments that a worker has begun: what an earlier run finished comes without a beginning."""
    _read_s: float = 0.0
    _replayed: bool = False
    _has_text: bool = False

    def __post_init__(self) -> None:
        metrics.JOBS.labels(self._state).inc()
        self._wait()

    def changed(self, fields: Mapping[str, Any]) -> None:
        """Fields of the job's record have new values."""
        if "state" in fields:
            self._enter(str(fields["state"]))
        report = fields.get("report")
        if report is not None and not self._replayed:
            metrics.SPEED.observe(report.speed)

    def saw(self, event: Event) -> None:
        """The job's run had this event."""
        match event:
            case Decoded(audio_s=audio_s):
                metrics.AUDIO_READ.inc(max(0.0, audio_s - self._read_s))
                self._read_s = audio_s
            case SegmentStarted(index=index, device=device):
                metrics.device_seen(device)
                self._working.add(index)
            case SegmentFinished() | SegmentFailed():
                self._ended(event)
            case TranscriptSoFar(segments=segments) if segments and not self._has_text:
                self._has_text = True
                if not self._replayed:
                    metrics.FIRST_CUE.observe(time.monotonic() - self._since_s)

    def _ended(self, event: SegmentEnd) -> None:
        if event.index not in self._working:
            self._replayed = True
            metrics.SEGMENTS.labels(event.device, "replayed").inc()
            return
        if isinstance(event, SegmentFailed):
            metrics.SEGMENTS.labels(event.device, "failed").inc()
            _count_gaps(event.gap)
            return
        device, report = event.device, event.report
        metrics.SEGMENTS.labels(device, "finished").inc()
        metrics.AUDIO_TRANSCRIBED.labels(device).inc(max(0.0, report.end_s - report.start_s))
        metrics.SEGMENT_SECONDS.labels(device).observe(report.elapsed_s)
        metrics.WINDOWS.labels(device).inc(report.windows)
        metrics.REDECODED.labels(device).inc(report.redecoded_windows)
        _count_gaps(*event.gaps)

    def _enter(self, state: str) -> None:
        left, lasted_s = self._state, time.monotonic() - self._since_s
        metrics.JOBS.labels(left).dec()
        if left == "queued":
            with self.lock:
                self.waiting.pop(self, None)
            if state in metrics.ACTIVE_STATES:
                metrics.JOB_WAIT.observe(lasted_s)
        elif left == "running" and state.startswith("complete"):
            metrics.JOB_SECONDS.observe(lasted_s)
        self._state, self._since_s = state, time.monotonic()
        if state in metrics.ACTIVE_STATES:
            metrics.JOBS.labels(state).inc()
        else:
            metrics.JOBS_ENDED.labels(state).inc()
        if state == "queued":
            self._wait()

    def _wait(self) -> None:
        with self.lock:
            self.waiting[self] = self._since_s


def _count_gaps(*gaps: Gap) -> None:
    metrics.GAPS.inc(sum(gap.duration_s for gap in gaps))


def _oldest_s() -> float:
    with JobMetrics.lock:
        since_s = min(JobMetrics.waiting.values(), default=None)
    return 0.0 if since_s is None else time.monotonic() - since_s


metrics.OLDEST.set_function(_oldest_s)
