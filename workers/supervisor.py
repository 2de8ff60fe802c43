"""The one thread that owns all workers and all jobs.

    any thread ── post(call) ──► inbox + wake-up socket ─┐
    workers ──── messages ─────► one pipe each ──────────┼──► wait ──► turn: calls, messages,
    kernel ───── a death ──────► one sentinel each ──────┘             deaths, deadlines, tasks

What it touches has no locks, because nobody else touches it. It never waits for one worker.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from multiprocessing.connection import wait
from time import monotonic

from core.errors import Cancelled, SubtitleError, WorkerCrashed
from core.events import WorkersLoading
from core.types import AudioSegment, ModelSpec
from workers.devices import Slot
from workers.fleet import Fleet, WorkerStatus
from workers.job import JobEnded, PoolJob
from workers.limits import PoolLimits
from workers.messages import WorkerSpec
from workers.outcomes import Outcomes
from workers.scheduler import Scheduler
from workers.tasks import Entry, JobState

log = logging.getLogger(__name__)

LONGEST_WAIT_S = 1.0
"""Between two looks at the clock when nothing happens."""


class Supervisor:
    """Started once, closed once; ``post`` is the only door for other threads."""

    def __init__(
        self, slots: Sequence[Slot], spec_for: Callable[[Slot], WorkerSpec], limits: PoolLimits
    ) -> None:
        self._scheduler = Scheduler(limits)
        self._outcomes = Outcomes(self._scheduler, limits)
        self._fleet = Fleet(slots, spec_for, limits, self._scheduler, self._outcomes)
        self._preloads: list[tuple[ModelSpec, Future[float], float]] = []
        self._closing = False
        # Re-entrant, because a signal handler may cancel a job in the middle of another call.
        self._gate = threading.RLock()
        self._calls: deque[Callable[[], None]] = deque()
        self._stopped = False
        self.status: tuple[WorkerStatus, ...] = self._fleet.status()
        """Replaced as a whole after every turn, so any thread may read it."""
        self.thread = threading.Thread(target=self._run, name="worker supervisor", daemon=True)

    def start(self) -> None:
        """Descriptors are opened only here, so that an unused pool needs no closing."""
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self.thread.start()

    def post(self, call: Callable[[], None]) -> None:
        """Run the call on the supervisor's thread, in the order of posting. From any thread.

        After the end it runs here and now: nothing is left then that needs that thread, and a
        job submitted too late still hears that it ended.
        """
        with self._gate:
            stopped = self._stopped
            if not stopped:
                self._calls.append(call)
                try:
                    self._wake_writer.send(b"!")
                except BlockingIOError:
                    log.debug("The wake-up socket is full; the supervisor is awake anyway")
        if stopped:
            call()

    # Posted calls.

    def submit(self, job: PoolJob) -> None:
        if self._closing:
            job.emit(JobEnded(Cancelled("The worker pool is closed.")))
            return
        self._forget_failures(job.spec.model)
        self._scheduler.enter(JobState(job, job.spec.options))

    def add(self, job: PoolJob, segments: tuple[AudioSegment, ...]) -> None:
        state = self._state(job)
        if state is not None and state.ending is None:
            self._scheduler.add(state, [Entry(segment) for segment in segments], monotonic())

    def finish_input(self, job: PoolJob) -> None:
        state = self._state(job)
        if state is not None:
            state.input_finished = True

    def cancel(self, job: PoolJob) -> None:
        state = self._state(job)
        if state is not None and state.ending is None:
            state.ending = Cancelled()

    def preload(self, model: ModelSpec, future: Future[float]) -> None:
        if self._closing:
            future.set_exception(Cancelled("The worker pool is closed."))
            return
        for earlier in [entry for entry in self._preloads if entry[0] != model]:
            self._preloads.remove(earlier)
            earlier[1].set_exception(Cancelled("Another model was asked for."))
        self._forget_failures(model)
        self._scheduler.preload = model
        self._preloads.append((model, future, monotonic()))

    def close(self, grace_s: float) -> None:
        if self._closing:
            return
        self._closing = True
        for state in self._scheduler.jobs:
            state.ending = state.ending or Cancelled("The worker pool was closed.")
        self._fleet.stop(monotonic() + grace_s)

    # The thread.

    def _run(self) -> None:
        error: SubtitleError = Cancelled("The worker pool was closed.")
        try:
            while True:
                self._turn()
                if self._closing and not any(seat.alive for seat in self._fleet.seats):
                    break
                self._wait()
        except Exception:
            # Nothing would ever answer the jobs again: better all of them fail, and loudly.
            log.exception("The worker supervisor failed")
            error = WorkerCrashed("The worker pool failed.", hint="See the log for the reason.")
        finally:
            self._end(error)

    def _wait(self) -> None:
        now = monotonic()
        times = [now + LONGEST_WAIT_S, self._fleet.wakeup_s(), self._scheduler.wakeup_s(now)]
        until = min(time for time in times if time is not None)
        ready = wait([self._wake_reader, *self._fleet.waitables()], max(0.0, until - now))
        if self._wake_reader in ready:
            # Before the calls are taken: one that comes later wakes the next wait.
            self._wake_reader.recv(4096)
        self._fleet.listen(ready)

    def _turn(self) -> None:
        while self._calls:
            self._calls.popleft()()
        now = monotonic()
        self._fleet.kill_overdue(now)
        if not self._closing:
            self._fleet.start_due(now)
        for state in list(self._scheduler.jobs):
            self._fail_hopeless(state)
            self._outcomes.settle(state)
        self._fleet.recall_ending(now)
        if not self._closing:
            self._fleet.dispatch(now)
        for state in self._scheduler.jobs:
            self._watch_loading(state, now)
        self._answer_preloads(now)
        self.status = self._fleet.status()

    def discard(self) -> None:
        """Instead of ``start``: whoever posts later hears that the pool is closed."""
        self._closing = self._stopped = True

    def _end(self, error: SubtitleError) -> None:
        self._closing = True
        self._fleet.kill_all()
        for state in list(self._scheduler.jobs):
            self._scheduler.jobs.remove(state)
            state.job.emit(JobEnded(state.ending or error))
        for _, future, _ in self._preloads:
            future.set_exception(error)
        self._preloads.clear()
        self.status = self._fleet.status()
        with self._gate:
            self._stopped = True
            self._wake_reader.close()
            self._wake_writer.close()
        while self._calls:
            self._calls.popleft()()

    def _state(self, job: PoolJob) -> JobState | None:
        return next((state for state in self._scheduler.jobs if state.job is job), None)

    def _forget_failures(self, model: ModelSpec) -> None:
        """A new request is a new try, unless another job is just finding out."""
        if not any(state.model == model for state in self._scheduler.jobs):
            for seat in self._fleet.seats:
                seat.forget_failures(model)

    def _no_hope(self, model: ModelSpec) -> SubtitleError | None:
        """Why no worker will ever serve this model; None while one may."""
        left = [seat for seat in self._fleet.seats if not seat.retired]
        if not left:
            causes = "; ".join(f"{seat.label}: {seat.last_death}" for seat in self._fleet.seats)
            return WorkerCrashed(
                f"No worker is left, all died again and again ({causes}).",
                hint="See the log. In a script of your own, call the transcriber under"
                " `if __name__ == '__main__':`.",
            )
        errors = [seat.refused[model] for seat in left if model in seat.refused]
        return errors[0] if len(errors) == len(left) else None

    def _fail_hopeless(self, state: JobState) -> None:
        if state.ending is None:
            state.ending = self._no_hope(state.model)

    def _watch_loading(self, state: JobState, now: float) -> None:
        """Keep the clock of the time a job has work and no worker has its model."""
        seats = self._fleet.seats
        blocked = bool(state.waiting) and not any(state.model in seat.models for seat in seats)
        if blocked and state.unserved_since_s is None:
            state.unserved_since_s = now
            labels = ", ".join(seat.label for seat in seats if not seat.retired)
            state.job.emit(WorkersLoading(f"Loading model {state.model.name} ({labels})"))
        elif not blocked and state.unserved_since_s is not None:
            state.job.load_s += now - state.unserved_since_s
            state.unserved_since_s = None

    def _answer_preloads(self, now: float) -> None:
        for entry in list(self._preloads):
            model, future, begun_s = entry
            error = self._no_hope(model)
            pending = any(
                not seat.retired and model not in seat.refused and model not in seat.models
                for seat in self._fleet.seats
            )
            if error is not None:
                future.set_exception(error)
            elif not pending:
                future.set_result(now - begun_s)
            else:
                continue
            self._preloads.remove(entry)
        self._scheduler.preload_pending = bool(self._preloads)
