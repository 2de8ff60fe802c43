"""All workers of a pool: start them, hear them, bury them, give them work.

The supervisor's hands; used on its thread only. Nothing here waits for a worker.
When another model or slot is to come in, ``workers.cpu_fallback`` decides who leaves.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from time import monotonic

from core.errors import DeviceUnavailable, OutOfMemory
from core.models import find_model
from core.types import ModelSpec
from gpu.peaks import CPU, Peak
from workers.devices import Slot
from workers.incidents import Incidents
from workers.limits import PoolLimits
from workers.messages import (
    CancelTask,
    Decode,
    Heartbeat,
    LoadFailed,
    LoadModel,
    Message,
    ModelLoaded,
    Ready,
    Stop,
    TaskDone,
    WorkerSpec,
)
from workers.meter import MemoryPeak
from workers.pending import Task
from workers.result_handler import Outcomes
from workers.retry_policy import Faults
from workers.scheduler import Scheduler
from workers.worker import Worker
from workers.worker_slot import Seat, State

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """One worker as it was a moment ago."""

    label: str
    pid: int | None
    state: State
    model: str | None
    """Loaded or, in state ``loading``, being loaded."""
    segment: int | None
    """Lowest of the segments in work."""
    deaths: int
    """Workers of this slot that died in a row without finishing a segment."""
    heard_at_s: float | None
    """On the clock of ``time.monotonic``."""
    reason: str = ""
    """Why it is out or was, or which model it could not load; empty when nothing is wrong."""
    compute_type: str | None = None
    """In which the model is loaded."""
    unloaded: bool = False
    """Its model was given back to save memory; the next job loads it again."""

    @property
    def last_heard_s(self) -> float | None:
        """Seconds since the worker's last sign of life; None without a process."""
        return None if self.heard_at_s is None else monotonic() - self.heard_at_s

    @property
    def proven(self) -> bool:
        """A real inference was made with its model, which may have been given back since."""
        if self.unloaded:
            return self.pid is not None
        return self.state in ("idle", "busy") and self.model is not None


class Fleet:
    def __init__(
        self,
        seats: Sequence[Seat],
        spec_for: Callable[[Slot], WorkerSpec],
        limits: PoolLimits,
        scheduler: Scheduler,
        outcomes: Outcomes,
        faults: Faults,
        incidents: Incidents,
    ) -> None:
        self.seats = tuple(seats)
        self.on_freed: Callable[[], None] = lambda: None
        """Called when a worker let go of memory."""
        self.on_peak: Callable[[Peak], None] = lambda peak: None
        """Called when a worker has news of how much memory it took."""
        self._spec_for = spec_for
        self._limits = limits
        self._scheduler = scheduler
        self._outcomes = outcomes
        self._faults = faults
        self._incidents = incidents

    def waitables(self) -> list[Connection | int]:
        """Pipes and sentinels: whatever becomes readable needs a ``listen``."""
        found: list[Connection | int] = []
        for seat in self.seats:
            if seat.worker is not None:
                found.append(seat.worker.sentinel)
                if seat.worker.pipe_open:
                    found.append(seat.worker.connection)
        return found

    def listen(self, ready: Sequence[object]) -> None:
        """Take what workers said, then bury those that died: what arrived before counts."""
        for seat in self.seats:
            worker = seat.worker
            if worker is None:
                continue
            died = worker.sentinel in ready
            if died or worker.connection in ready:
                for message in worker.messages():
                    self._hear(seat, message, monotonic())
            if died:
                self._bury(seat, worker, monotonic())

    def start_due(self, now: float) -> None:
        """Spawn what is missing and not in back-off; let in again what was out long enough."""
        for seat in self.seats:
            if seat.breaker.let_in(now):
                log.info("[%s] is tried again: %s", seat.label, seat.breaker.reason)
                seat.refused.clear()
                seat.load_kills.clear()
                seat.respawn_s = now
            if seat.worker is None and seat.usable and now >= seat.respawn_s:
                try:
                    seat.worker = Worker(self._spec_for(seat.slot))
                except OSError as error:
                    log.error("[%s] cannot start a worker: %s", seat.label, error)
                    if seat.bury(f"cannot start: {error}", now, self._limits):
                        self._faults.taken_out(seat)

    def kill_overdue(self, now: float) -> None:
        for seat in self.seats:
            deadline = seat.deadline(self._limits)
            if deadline is None or seat.worker is None or now < deadline.at_s:
                continue
            if seat.worker.killed_s is not None:
                self._bury(seat, seat.worker, now)
                continue
            # A task that has to be cancelled by force says nothing against its slot.
            if seat.task is not None and seat.task.cancel_by_s is not None:
                seat.forgiven = True
            seat.hung = deadline.hung
            log.debug("[%s] killing worker %d: %s", seat.label, seat.worker.pid, deadline.reason)
            seat.worker.kill(deadline.reason)

    def forgive_pause(self, pause_s: float, now: float) -> None:
        """The pool's own thread was away for so long: nobody's silence is measured by it."""
        for seat in self.seats:
            if seat.worker is not None:
                seat.worker.heard_s = min(now, seat.worker.heard_s + pause_s)
                seat.worker.spawned_s = min(now, seat.worker.spawned_s + pause_s)
            if seat.task is not None:
                seat.task.heard_s = min(now, seat.task.heard_s + pause_s)
            seat.loading_since_s = min(now, seat.loading_since_s + pause_s)

    def wakeup_s(self) -> float | None:
        """When next a deadline, a back-off or the time of a slot that is out ends."""
        times = [
            deadline.at_s
            for seat in self.seats
            if (deadline := seat.deadline(self._limits)) is not None
        ]
        times += [s.respawn_s for s in self.seats if s.worker is None and s.usable]
        times += [t for s in self.seats if (t := s.breaker.out_until_s) is not None]
        return min(times, default=None)

    def dispatch(self, now: float) -> None:
        for seat in self.seats:
            if seat.worker is None or not seat.idle or not seat.usable:
                continue
            choice = self._scheduler.choose(seat, self.seats, now)
            if isinstance(choice, Task):
                self._give(seat, seat.worker, choice)
            elif choice is not None:
                seat.loading, seat.loading_since_s = seat.local(choice), now
                seat.worker.send(LoadModel(seat.local(choice)))

    def replace(self, seat: Seat, reason: str) -> None:
        """End a worker that has no task, for a reason that says nothing against its slot."""
        if seat.worker is not None and seat.worker.killed_s is None:
            seat.ready, seat.forgiven = False, True
            seat.worker.kill(reason)

    def remove_outs(self) -> None:
        """End the workers of slots that were taken out while they lived."""
        for seat in self.seats:
            if seat.breaker.out and seat.idle:
                self.replace(seat, "its slot was taken out")

    def recall_ending(self, now: float) -> None:
        """Take tasks of ending jobs back from their workers."""
        for seat in self.seats:
            task = seat.task
            if task is None or task.state.ending is None or task.cancel_by_s is not None:
                continue
            task.cancel_by_s = now + self._limits.cancel_grace_s
            if seat.worker is not None:
                seat.worker.send(CancelTask(task.task_id))

    def stop(self, by_s: float) -> None:
        """Ask all to leave; who is still there at that time is killed."""
        for seat in self.seats:
            seat.stop_by_s = by_s
            seat.forgiven = True
            if seat.worker is not None:
                seat.worker.send(Stop())

    def kill_all(self) -> None:
        """The last resort: returns when every process is gone."""
        for seat in self.seats:
            if seat.worker is not None:
                seat.worker.kill("pool closed")
        for seat in self.seats:
            if seat.worker is not None:
                seat.worker.reap()
                seat.worker = None

    def status(self) -> tuple[WorkerStatus, ...]:
        return tuple(_status(seat) for seat in self.seats if not seat.dormant)

    def refused(self, seat: Seat, model: ModelSpec, *, logged: bool = False) -> None:
        """Tell the jobs that want it that a slot does not load a model. ``model`` as it is there;
        ``logged``: the worker has written it down with its traceback."""
        jobs = [s for s in self._scheduler.jobs if model in seat.variants(s.model)]
        text = f"{seat.label} cannot load model {model.name}: {seat.refused[model].message}"
        going_on = [s for s in jobs if not seat.refuses(s.model)]
        if going_on:
            other = seat.local(going_on[0].model)
            self._incidents.tell(
                "precision_changed",
                f"{text} It goes on with {other.compute_type} instead of {model.compute_type}.",
                going_on,
                device=seat.label,
            )
        self._incidents.tell(
            "model_refused",
            text,
            [s for s in jobs if s not in going_on],
            device=seat.label,
            level=None if logged else logging.ERROR,
        )

    def _give(self, seat: Seat, worker: Worker, task: Task) -> None:
        seat.task = task
        job = task.state.job
        for entry in task.open.values():
            log.debug(
                "[%s] %s is given to the worker as task %d: attempt %d, %d windows, batches of %d,"
                " beam %d",
                *(seat.label, entry.name, task.task_id, entry.attempts, entry.windows),
                *(task.batch_size, task.state.options.beam_size),
                extra=task.state.about,
            )
        worker.send(
            Decode(
                task.task_id,
                seat.local(task.state.model),
                job.spec.spool,
                tuple(entry.segment for entry in task.open.values()),
                replace(task.state.options, batch_size=task.batch_size),
                task.language_windows,
                job.spec.job_id,
            )
        )

    def _hear(self, seat: Seat, message: Message, now: float) -> None:
        if isinstance(message, Heartbeat):
            return
        if isinstance(message, Ready):
            seat.ready = True
        elif isinstance(message, ModelLoaded):
            log.debug("[%s] ready in %.1fs", seat.label, message.elapsed_s)
            self._loaded(seat, message)
            seat.load_kills.pop(message.model, None)
        elif isinstance(message, LoadFailed):
            self._loaded(seat, message)
            self._load_failed(seat, message, now)
        elif seat.task is not None and seat.task.task_id == message.task_id:
            if isinstance(message, TaskDone) and message.peak is not None:
                self._measured(seat, message.peak)
            self._outcomes.take(seat, self.seats, seat.task, message, now)
            if seat.task is None and seat.recycle:
                self.replace(seat, "replaced after a failure")

    def _measured(self, seat: Seat, peak: MemoryPeak) -> None:
        info = find_model(peak.model.name)
        device = CPU if seat.slot.kind == "cpu" else seat.slot.name
        if info is None or not device:
            # A folder may be called anything, and a card without a name is no card to learn of.
            return
        self.on_peak(
            Peak(
                device=device,
                model=info.name,
                compute_type=peak.model.compute_type,
                batch_size=peak.batch_size,
                beam_size=peak.beam_size,
                peak_mib=peak.peak_mib,
            )
        )

    def _loaded(self, seat: Seat, message: ModelLoaded | LoadFailed) -> None:
        freed = set(seat.models) - set(message.models)
        seat.loading, seat.models, seat.unloaded = None, message.models, False
        if freed or isinstance(message, LoadFailed):
            self.on_freed()

    def _load_failed(self, seat: Seat, message: LoadFailed, now: float) -> None:
        if isinstance(message.error, DeviceUnavailable):
            # No model will load there; a later try may find the device again.
            if seat.breaker.condemn(message.error, now, self._limits):
                self._faults.taken_out(seat)
            return
        seat.refuse(message.model, message.error)
        self.refused(seat, message.model, logged=True)
        if isinstance(message.error, OutOfMemory):
            self.replace(seat, "replaced after running out of memory")

    def _bury(self, seat: Seat, worker: Worker, now: float) -> None:
        reason = worker.reap()
        task, model = seat.task, seat.loading
        leaving = seat.forgiven or seat.stop_by_s is not None
        if task is not None:
            self._outcomes.worker_lost(seat, self.seats, task, reason, now)
        elif not leaving:
            doing = f" while loading model {model.name}" if model is not None else ""
            self._incidents.tell(
                "worker_hung" if seat.hung else "worker_lost",
                f"The worker of {seat.label} died{doing} ({reason}).",
                [s for s in self._scheduler.jobs if model in seat.variants(s.model)],
                device=seat.label,
            )
        known = set(seat.refused)
        if seat.bury(reason, now, self._limits):
            self._faults.taken_out(seat)
        for refused in set(seat.refused) - known:
            self.refused(seat, refused)
        self.on_freed()


def _status(seat: Seat) -> WorkerStatus:
    model = seat.loading or next(iter(reversed(seat.models)), None)
    return WorkerStatus(
        label=seat.label,
        pid=None if seat.worker is None else seat.worker.pid,
        state=seat.state,
        model=None if model is None else model.name,
        compute_type=None if model is None else model.compute_type,
        segment=None if seat.task is None else min(seat.task.open, default=None),
        deaths=seat.breaker.deaths,
        heard_at_s=None if seat.worker is None else seat.worker.heard_s,
        reason=seat.reason,
        unloaded=seat.unloaded,
    )
