"""The one thread that owns all workers and all jobs.

    any thread ── post(call) ──► inbox + wake-up socket ─┐
    workers ──── messages ─────► one pipe each ──────────┼──► wait ──► turn: calls, messages,
    kernel ───── a death ──────► one sentinel each ──────┘             deaths, deadlines, tasks

What it touches has no locks, because no other thread touches it. It never waits for one worker.
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

from core.endpoints import Endpoint
from core.errors import Cancelled, SubtitleError, WorkerCrashed
from core.pool_job import JobEnded, PoolJob
from core.types import AudioSegment, ModelSpec
from gpu.peaks import Peak
from workers.admission import LoadAdmission
from workers.backend import SlotBackend
from workers.devices import Device
from workers.endpoint_faults import EndpointFaults
from workers.feasibility import Feasibility
from workers.fleet import Fleet, WorkerStatus
from workers.limits import PoolLimits
from workers.memory import Fits, PlanBatch
from workers.pending import PendingSegment, PoolJobState
from workers.pool_state import PoolState
from workers.result_handler import ResultHandler
from workers.retry_policy import RetryPolicy
from workers.scheduler import Scheduler
from workers.unloading import Answer, Unloader
from workers.worker_slot import WorkerSlot

log = logging.getLogger(__name__)

LONGEST_WAIT_S = 1.0
"""Between two looks at the clock when nothing happens."""


class Supervisor:
    """Started once, closed once; ``post`` is the only door for other threads."""

    def __init__(
        self,
        slots: list[WorkerSlot],
        start: Callable[[Device], SlotBackend],
        limits: PoolLimits,
        *,
        wait_for_devices: bool,
        fits: Fits | None,
        plan_batch: PlanBatch | None,
        on_peak: Callable[[Peak], None] | None,
    ) -> None:
        self.pool = PoolState(slots, limits)
        admission = LoadAdmission(self.pool, fits, plan_batch, patient=wait_for_devices)
        self._scheduler = Scheduler(limits, admission.may_load, admission.batch_of, self.pool.jobs)
        retries = RetryPolicy(self.pool, EndpointFaults(self.pool))
        self._results = ResultHandler(self.pool, retries)
        self._fleet = Fleet(self.pool, start, admission, self._scheduler, self._results, on_peak)
        self._unloader = Unloader(self.pool, self._scheduler)
        self._feasibility = Feasibility(self.pool, admission, wait_for_devices)
        self._draining: list[Future[None]] | None = None
        self._turned_s = 0.0
        """When the last turn was; 0.0 before the first."""
        self._waited_s = 0.0
        """How long the thread has slept since then as it meant to."""
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
        job submitted too late is still told that it ended.
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

    def release(self, done: Answer) -> None:
        if self._stopped:
            done.set_result(())
        else:
            self._unloader.release(done)

    def set_endpoints(self, endpoints: Sequence[Endpoint]) -> None:
        if not self._closing:
            self._fleet.set_endpoints(endpoints)
            self.status = self._fleet.status()

    def set_nodes(self, devices: Sequence[Device]) -> None:
        if not self._closing:
            self._fleet.set_nodes(devices)
            self.status = self._fleet.status()

    def trust_endpoint(self, endpoint_id: str) -> None:
        self._fleet.trust(endpoint_id)

    def submit(self, job: PoolJob) -> None:
        if self._closing:
            job.emit(JobEnded(Cancelled("The worker pool is closed.")))
            return
        self._forget_failures(job.request.model)
        wait = self.pool.limits.endpoints_wait
        self._scheduler.enter(PoolJobState(job, endpoints_wait=wait))

    def add(self, job: PoolJob, segments: tuple[AudioSegment, ...]) -> None:
        state = self._state(job)
        if state is not None and state.ending is None:
            self._scheduler.add(
                state, [PendingSegment(segment) for segment in segments], monotonic()
            )
            for segment in segments:
                log.debug("%s is queued for the workers", segment.name, extra=state.about)

    def finish_input(self, job: PoolJob) -> None:
        state = self._state(job)
        if state is not None:
            state.input_finished = True

    def cancel(self, job: PoolJob, error: SubtitleError | None) -> None:
        state = self._state(job)
        if state is not None and state.ending is None:
            state.ending = error or Cancelled()

    def drain(self, done: Future[None]) -> None:
        """Give no more tasks; answer when no worker has one."""
        if self._stopped:
            done.set_result(None)
        else:
            self._draining = [*(self._draining or ()), done]

    def preload(self, model: ModelSpec, future: Future[float]) -> None:
        if self._closing:
            future.set_exception(Cancelled("The worker pool is closed."))
            return
        for earlier in [entry for entry in self._preloads if entry[0] != model]:
            self._preloads.remove(earlier)
            earlier[1].set_exception(Cancelled("Another model was asked for."))
        self._forget_failures(model)
        self._scheduler.preload, self._scheduler.preload_pending = model, True
        self._preloads.append((model, future, monotonic()))

    def close(self, grace_s: float) -> None:
        if self._closing:
            return
        self._closing = True
        for state in self.pool.jobs:
            state.ending = state.ending or Cancelled("The worker pool was closed.")
        self._fleet.stop(monotonic() + grace_s)

    # The thread.

    def _run(self) -> None:
        error: SubtitleError = Cancelled("The worker pool was closed.")
        try:
            while True:
                self._turn()
                if self._closing and not any(slot.alive for slot in self.pool.slots):
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
        wait_s = max(0.0, min(time for time in times if time is not None) - now)
        ready = wait([self._wake_reader, *self._fleet.waitables()], wait_s)
        self._waited_s = min(wait_s, monotonic() - now)
        if self._wake_reader in ready:
            # Before the calls are taken: one that comes later wakes the next wait.
            self._wake_reader.recv(4096)
        self._fleet.listen(ready)

    def _turn(self) -> None:
        while self._calls:
            self._calls.popleft()()
        now = monotonic()
        self._notice_pause(now)
        self._fleet.kill_overdue(now)
        working = not self._closing and self._draining is None
        self._feasibility.look_after_reserve(now)
        self._unloader.make_room()
        if working:
            self._fleet.start_due(now)
        for state in list(self.pool.jobs):
            self._feasibility.judge(state)
            self._results.settle(state)
        self._fleet.recall_ending(now)
        self._fleet.remove_outs()
        if working:
            self._fleet.dispatch(now)
            self._fleet.take_back(now)
        for state in self.pool.jobs:
            self._feasibility.watch_loading(state, now)
        self._unloader.look(now)
        # Before the answers: with an answer comes the status that belongs to it.
        self.status = self._fleet.status()
        self._answer_preloads(now)
        self._answer_drains()
        self._unloader.answer(now)

    def _notice_pause(self, now: float) -> None:
        """A pool that was stopped together with its workers must not take them for dead."""
        away_s = now - self._turned_s - self._waited_s if self._turned_s else 0.0
        if away_s > self.pool.limits.pause_s:
            log.warning("The worker supervisor was away for %.1f s", away_s)
            self._fleet.forgive_pause(away_s, now)
        self._turned_s = now

    def _answer_drains(self) -> None:
        if self._draining and all(slot.task is None for slot in self.pool.slots):
            for done in self._draining:
                done.set_result(None)
            self._draining = []

    def discard(self) -> None:
        """Instead of ``start``: later calls find the pool closed."""
        self._closing = self._stopped = True

    def _end(self, error: SubtitleError) -> None:
        self._closing = True
        self._fleet.kill_all()
        for state in list(self.pool.jobs):
            self.pool.jobs.remove(state)
            state.job.emit(JobEnded(state.ending or error))
        for _, future, _ in self._preloads:
            future.set_exception(error)
        self._preloads.clear()
        for done in self._draining or ():
            done.set_result(None)
        self._unloader.answer(float("inf"))
        self.status = self._fleet.status()
        with self._gate:
            self._stopped = True
            self._wake_reader.close()
            self._wake_writer.close()
        while self._calls:
            self._calls.popleft()()

    def _state(self, job: PoolJob) -> PoolJobState | None:
        return next((state for state in self.pool.jobs if state.job is job), None)

    def _forget_failures(self, model: ModelSpec) -> None:
        """A new request is a new try, unless another job is just finding out."""
        if not any(state.model == model for state in self.pool.jobs):
            for slot in self.pool.slots:
                slot.forget_failures(model)

    def _answer_preloads(self, now: float) -> None:
        for entry in list(self._preloads):
            model, future, begun_s = entry
            error = self._feasibility.no_hope(model)
            # Other machines come and go: nobody waits for them to be ready.
            local = [s for s in self.pool.slots if s.endpoint is None and not s.device.node]
            pending = any(slot.may_serve(model) and not slot.has(model) for slot in local)
            if error is not None:
                future.set_exception(error)
            elif not pending:
                future.set_result(now - begun_s)
            else:
                continue
            self._preloads.remove(entry)
        self._scheduler.preload_pending = bool(self._preloads)
