"""One recording's work, as its owner sees it: in the pool, or alone with one engine.

The owner adds segments from any thread while they are being planned, and watches the events;
everything else is written by one thread of who decodes them: the pool's supervisor, or the one
that runs the engine.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from core.errors import SubtitleError
from core.events import (
    Incident,
    LanguageDecided,
    SegmentFailed,
    SegmentFinished,
    SegmentStarted,
    WorkersLoading,
)
from core.pcm import PcmSpool
from core.types import AudioSegment, DecodeOptions, ModelSpec, SegmentReport, SegmentResult

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class JobEnded:
    """The last event of a job: every segment is finished or failed, or ``error`` says why not.

    No worker touches the spool any more.
    """

    error: SubtitleError | None = None


PoolEvent = (
    WorkersLoading | LanguageDecided | SegmentStarted | SegmentFinished | SegmentFailed | Incident
)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    model: ModelSpec
    spool: PcmSpool
    options: DecodeOptions
    max_workers: int | None = None
    """Workers that may serve the job; None: all."""
    job_id: str = ""
    """For the log."""
    on_event: Callable[[PoolEvent | JobEnded], None] | None = None
    """Called on the decoding side's thread instead of filling ``events()``: must return at once,
    a queue's ``put`` for example. The last call is with :class:`JobEnded`."""


class JobSink(Protocol):
    """Who takes the owner's calls; all but ``post`` run through it."""

    def post(self, call: Callable[[], None]) -> None: ...

    def add(self, job: PoolJob, segments: tuple[AudioSegment, ...]) -> None: ...

    def finish_input(self, job: PoolJob) -> None: ...

    def cancel(self, job: PoolJob, error: SubtitleError | None) -> None: ...


class PoolJob:
    """Made by who decodes. Every method may be called from any thread."""

    def __init__(self, spec: JobSpec, sink: JobSink) -> None:
        self.spec = spec
        self.language: str | None = spec.options.language
        self.load_s = 0.0
        """Seconds the job had work while no worker had its model ready."""
        self.transcribe_s = 0.0
        """Worker seconds spent on the job, summed over workers."""
        self.error: SubtitleError | None = None
        """Set when the job ended early."""
        self._sink = sink
        self._reports: dict[int, SegmentReport] = {}
        self._events: queue.SimpleQueue[PoolEvent | JobEnded] = queue.SimpleQueue()
        self._ended = threading.Event()
        self._input_finished = False

    @property
    def reports(self) -> tuple[SegmentReport, ...]:
        """Of the segments finished so far, in the recording's order."""
        return tuple(report for _, report in sorted(self._reports.items()))

    def report_of(self, index: int) -> SegmentReport | None:
        """Of one segment; None unless it is finished."""
        return self._reports.get(index)

    @property
    def ended(self) -> bool:
        return self._ended.is_set()

    def add(self, segments: Iterable[AudioSegment]) -> None:
        """Queue segments; their audio must be in the spool already. Ignored once the job ended."""
        if self._input_finished:
            raise ValueError("add() after finish_input()")
        batch = tuple(segments)
        self._sink.post(lambda: self._sink.add(self, batch))

    def finish_input(self) -> None:
        """There are no more segments. Without this call a job never ends."""
        self._input_finished = True
        self._sink.post(lambda: self._sink.finish_input(self))

    def cancel(self, error: SubtitleError | None = None) -> None:
        """Stop. The job ends within two seconds, whatever its workers do: with Cancelled, or with
        the error that is the reason."""
        self._sink.post(lambda: self._sink.cancel(self, error))

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the end; False when the time ran out first."""
        return self._ended.wait(timeout_s)

    def events(self) -> Iterator[PoolEvent]:
        """Events as they come, until the job ended; raises the error of a job that failed or
        was cancelled. For one reader."""
        while not isinstance(event := self._events.get(), JobEnded):
            yield event
        # Whoever asks again is told the same and does not wait for ever.
        self._events.put(event)
        if event.error is not None:
            raise event.error

    # The rest is for the thread that decodes.

    def emit(self, event: PoolEvent | JobEnded) -> None:
        if isinstance(event, LanguageDecided):
            self.language = event.language
        elif isinstance(event, JobEnded):
            self.error = event.error
        if self.spec.on_event is None:
            self._events.put(event)
        else:
            try:
                self.spec.on_event(event)
            except Exception:
                # The owner's code must not take the pool, and every other job, with it.
                log.exception("A job's event handler failed")
                self.cancel()
        if isinstance(event, JobEnded):
            self._ended.set()

    def finish(
        self, segment: AudioSegment, device: str, result: SegmentResult, attempts: int = 1
    ) -> None:
        """A segment is done."""
        self._reports[segment.index] = SegmentReport(
            index=segment.index,
            start_s=segment.start_s,
            end_s=segment.end_s,
            windows=result.windows,
            device=device,
            texts=len(result.segments),
            elapsed_s=result.elapsed_s,
            redecoded_windows=result.redecoded_windows,
            attempts=attempts,
            reduced_batch=result.reduced_batch,
            compute_type=result.compute_type,
        )
        self.emit(
            SegmentFinished(segment.index, device, result.segments, result.gaps, result.elapsed_s)
        )
