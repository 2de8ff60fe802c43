"""One recording's segments on their way through the pool, or through one engine in this process.

The owner adds segments from any thread while they are being planned, and is told of events;
everything else is written by the thread that decodes: the pool's supervisor, or the engine's own.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from core.endpoints import LOCAL
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
from core.types import AudioSegment, DecodeOptions, ModelSpec

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class JobEnded:
    """The last event of a job: every segment is finished or failed, or ``error`` says why not.

    No worker touches the spool any more.
    """

    error: SubtitleError | None = None


PoolEvent = (
    WorkersLoading
    | LanguageDecided
    | SegmentStarted
    | SegmentFinished
    | SegmentFailed
    | Incident
    | JobEnded
)

OnEvent = Callable[[PoolEvent], None]
"""Called on the decoding thread: must return at once, a queue's ``put`` for example. The last call
is with :class:`JobEnded`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeRequest:
    """How a recording is to be decoded: all that a worker is told of the job."""

    model: ModelSpec
    options: DecodeOptions
    max_workers: int | None = None
    """Workers that may serve the job; None: all."""
    where: str = LOCAL
    """``local``, ``shared``, ``remote`` or the id of an endpoint: see ``core.endpoints``."""
    job_id: str = ""
    """For the log."""


class JobSink(Protocol):
    """What decodes. ``post`` runs the other calls on its thread."""

    def post(self, call: Callable[[], None]) -> None: ...

    def add(self, job: PoolJob, segments: tuple[AudioSegment, ...]) -> None: ...

    def finish_input(self, job: PoolJob) -> None: ...

    def cancel(self, job: PoolJob, error: SubtitleError | None) -> None: ...


class PoolJob:
    """Made by what decodes. Every method may be called from any thread."""

    def __init__(
        self, request: DecodeRequest, spool: PcmSpool, on_event: OnEvent, sink: JobSink
    ) -> None:
        self.request = request
        self.spool = spool
        self.language: str | None = request.options.language
        self.load_s = 0.0
        """Seconds the job had work while no worker had its model ready."""
        self.transcribe_s = 0.0
        """Worker seconds spent on the job, summed over workers."""
        self._on_event = on_event
        self._sink = sink
        self._ended = threading.Event()
        self._input_finished = False

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

    def emit(self, event: PoolEvent) -> None:
        """Tell the owner. For the thread that decodes."""
        if isinstance(event, LanguageDecided):
            self.language = event.language
        try:
            self._on_event(event)
        except Exception:
            # The owner's code must not take the pool, and every other job, with it.
            log.exception("A job's event handler failed")
            self.cancel()
        if isinstance(event, JobEnded):
            self._ended.set()


Submit = Callable[[DecodeRequest, PcmSpool, OnEvent], PoolJob]
"""Begins a job: ``WorkerPool.submit``, or one engine's."""
