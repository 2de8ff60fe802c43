"""All workers of a pool: start them, hear them, bury them, give them work.

The supervisor's hands; used on its thread only. Nothing here waits for a worker.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from time import monotonic

from core.errors import DeviceUnavailable, OutOfMemory
from core.models import find_model
from gpu.peaks import CPU, Peak
from workers.admission import LoadAdmission
from workers.backend import SlotBackend, StartBackend
from workers.devices import Device
from workers.incidents import Incidents
from workers.limits import PoolLimits
from workers.messages import (
    Decode,
    Heartbeat,
    LoadFailed,
    Message,
    ModelLoaded,
    TaskDone,
    WorkerReady,
    WorkerSpec,
)
from workers.meter import MemoryPeak
from workers.pending import Task
from workers.result_handler import ResultHandler
from workers.retry_policy import RetryPolicy
from workers.scheduler import Scheduler
from workers.slot_state import SlotEvent
from workers.worker_slot import ASLEEP, ENDING, EXCUSED, Deadline, Shown, WorkerSlot

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """One worker as it was a moment ago."""

    label: str
    pid: int | None
    state: Shown
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
        slots: Sequence[WorkerSlot],
        start: StartBackend,
        spec_for: Callable[[Device], WorkerSpec],
        limits: PoolLimits,
        admission: LoadAdmission,
        scheduler: Scheduler,
        results: ResultHandler,
        retries: RetryPolicy,
        incidents: Incidents,
        on_peak: Callable[[Peak], None] | None,
    ) -> None:
        """``on_peak``: called when a worker has news of how much memory it took."""
        self.slots = tuple(slots)
        self._start = start
        self._spec_for = spec_for
        self._limits = limits
        self._admission = admission
        self._scheduler = scheduler
        self._results = results
        self._retries = retries
        self._incidents = incidents
        self._on_peak = on_peak

    def waitables(self) -> list[Connection | int]:
        """Whatever becomes ready needs a ``listen``."""
        return [each for s in self.slots if s.worker is not None for each in s.worker.waitables()]

    def listen(self, ready: Sequence[object]) -> None:
        """Take what workers said, then bury those that died: what arrived before counts."""
        for slot in self.slots:
            worker = slot.worker
            if worker is None or not any(each in ready for each in worker.waitables()):
                continue
            ended = worker.ended
            for message in worker.messages():
                self._hear(slot, message, monotonic())
            if ended:
                self._bury(slot, worker, monotonic())

    def start_due(self, now: float) -> None:
        """Spawn what is missing and not in back-off; let in again what was out long enough."""
        for slot in self.slots:
            if slot.breaker.let_in(now):
                log.info("[%s] is tried again: %s", slot.label, slot.breaker.reason)
                slot.refused.clear()
                slot.load_kills.clear()
                slot.respawn_s = now
            if slot.worker is None and slot.usable and now >= slot.respawn_s:
                slot.on(SlotEvent.STARTED)
                try:
                    slot.worker = self._start(self._spec_for(slot.device))
                except OSError as error:
                    log.error("[%s] cannot start a worker: %s", slot.label, error)
                    if slot.bury(f"cannot start: {error}", now, self._limits):
                        self._retries.taken_out(slot)

    def kill_overdue(self, now: float) -> None:
        for slot in self.slots:
            deadline = slot.deadline(self._limits)
            if deadline is None or slot.worker is None or now < deadline.at_s:
                continue
            if slot.worker.killed_s is not None:
                self._bury(slot, slot.worker, now)
                continue
            if slot.state not in ENDING:
                slot.on(_why_killed(slot, deadline))
            log.debug("[%s] killing worker %s: %s", slot.label, slot.worker.pid, deadline.reason)
            slot.worker.kill(deadline.reason)

    def forgive_pause(self, pause_s: float, now: float) -> None:
        """The pool's own thread was away for so long: nobody's silence is measured by it."""
        for slot in self.slots:
            if slot.worker is not None:
                slot.worker.heard_s = min(now, slot.worker.heard_s + pause_s)
                slot.worker.spawned_s = min(now, slot.worker.spawned_s + pause_s)
            if slot.task is not None:
                slot.task.heard_s = min(now, slot.task.heard_s + pause_s)
            slot.loading_since_s = min(now, slot.loading_since_s + pause_s)

    def wakeup_s(self) -> float | None:
        """When next a deadline, a back-off or the time of a slot that is out ends."""
        times = [
            deadline.at_s
            for slot in self.slots
            if (deadline := slot.deadline(self._limits)) is not None
        ]
        times += [s.respawn_s for s in self.slots if s.worker is None and s.usable]
        times += [t for s in self.slots if (t := s.breaker.out_until_s) is not None]
        return min(times, default=None)

    def dispatch(self, now: float) -> None:
        for slot in self.slots:
            if slot.worker is None or not slot.idle or not slot.usable:
                continue
            choice = self._scheduler.choose(slot, self.slots, now)
            if isinstance(choice, Task):
                self._give(slot, choice)
            elif choice is not None:
                slot.load(slot.local(choice), now)

    def replace(self, slot: WorkerSlot, reason: str) -> None:
        """End a worker for a reason that says nothing against its slot."""
        if slot.worker is not None and slot.worker.killed_s is None:
            slot.on(SlotEvent.LET_GO)
            slot.worker.kill(reason)

    def remove_outs(self) -> None:
        """End the workers of slots that were taken out while they lived."""
        for slot in self.slots:
            if slot.breaker.out and slot.idle:
                self.replace(slot, "its slot was taken out")

    def recall_ending(self, now: float) -> None:
        """Take tasks of ending jobs back from their workers."""
        for slot in self.slots:
            task = slot.task
            if task is not None and task.state.ending is not None and task.cancel_by_s is None:
                slot.recall(task, now + self._limits.cancel_grace_s)

    def stop(self, by_s: float) -> None:
        """Ask all to leave; who is still there at that time is killed."""
        for slot in self.slots:
            if slot.alive:
                slot.leave(SlotEvent.LET_GO, by_s)

    def kill_all(self) -> None:
        """The last resort: returns when every process is gone."""
        for slot in self.slots:
            if slot.worker is not None:
                slot.worker.kill("pool closed")
        for slot in self.slots:
            if slot.worker is not None:
                slot.worker.reap()
                slot.worker = None
                slot.on(SlotEvent.DIED)

    def status(self) -> tuple[WorkerStatus, ...]:
        return tuple(_status(slot) for slot in self.slots if slot.state not in ASLEEP)

    def _give(self, slot: WorkerSlot, task: Task) -> None:
        job = task.state.job
        for entry in task.open.values():
            log.debug(
                "[%s] %s is given to the worker as task %d: attempt %d, %d windows, batches of %d,"
                " beam %d",
                *(slot.label, entry.name, task.task_id, entry.attempts, entry.windows),
                *(task.batch_size, task.state.options.beam_size),
                extra=task.state.about,
            )
        slot.give(
            task,
            Decode(
                task.task_id,
                slot.local(task.state.model),
                job.spec.spool,
                tuple(entry.segment for entry in task.open.values()),
                replace(task.state.options, batch_size=task.batch_size),
                task.language_windows,
                job.spec.job_id,
            ),
        )

    def _hear(self, slot: WorkerSlot, message: Message, now: float) -> None:
        if isinstance(message, Heartbeat):
            return
        if isinstance(message, WorkerReady):
            slot.on(SlotEvent.READY)
        elif isinstance(message, ModelLoaded):
            log.debug("[%s] ready in %.1fs", slot.label, message.elapsed_s)
            self._loaded(slot, message)
            slot.load_kills.pop(message.model, None)
        elif isinstance(message, LoadFailed):
            self._loaded(slot, message)
            self._load_failed(slot, message, now)
        elif slot.task is not None and slot.task.task_id == message.task_id:
            if isinstance(message, TaskDone) and message.peak is not None:
                self._measured(slot, message.peak)
            if self._results.take(slot, self.slots, slot.task, message, now):
                self.replace(slot, "replaced after a failure")

    def _measured(self, slot: WorkerSlot, peak: MemoryPeak) -> None:
        if self._on_peak is None:
            return
        info = find_model(peak.model.name)
        device = CPU if slot.device.kind == "cpu" else slot.device.name
        if info is None or not device:
            # A folder may be called anything, and a card without a name is no card to learn of.
            return
        self._on_peak(
            Peak(
                device=device,
                model=info.name,
                compute_type=peak.model.compute_type,
                batch_size=peak.batch_size,
                beam_size=peak.beam_size,
                peak_mib=peak.peak_mib,
            )
        )

    def _loaded(self, slot: WorkerSlot, message: ModelLoaded | LoadFailed) -> None:
        freed = set(slot.models) - set(message.models)
        slot.loaded(message.models)
        if freed or isinstance(message, LoadFailed):
            self._admission.changed()

    def _load_failed(self, slot: WorkerSlot, message: LoadFailed, now: float) -> None:
        if isinstance(message.error, DeviceUnavailable):
            # No model will load there; a later try may find the device again.
            if slot.breaker.condemn(message.error, now, self._limits):
                self._retries.taken_out(slot)
            return
        slot.refuse(message.model, message.error)
        self._incidents.model_refused(slot, message.model, logged=True)
        if isinstance(message.error, OutOfMemory):
            self.replace(slot, "replaced after running out of memory")

    def _bury(self, slot: WorkerSlot, worker: SlotBackend, now: float) -> None:
        reason = worker.reap()
        task, model = slot.task, slot.loading
        excused = slot.state in EXCUSED
        if task is not None:
            excused |= self._results.worker_lost(slot, self.slots, task, reason, now)
        elif not excused:
            doing = f" while loading model {model.name}" if model is not None else ""
            self._incidents.tell(
                "worker_hung" if slot.hung else "worker_lost",
                f"The worker of {slot.label} died{doing} ({reason}).",
                [s for s in self._scheduler.jobs if model in slot.variants(s.model)],
                device=slot.label,
            )
        known = set(slot.refused)
        if slot.bury(reason, now, self._limits, excused=excused):
            self._retries.taken_out(slot)
        for refused in set(slot.refused) - known:
            self._incidents.model_refused(slot, refused)
        self._admission.changed()


def _why_killed(slot: WorkerSlot, deadline: Deadline) -> SlotEvent:
    if slot.task is not None and slot.task.cancel_by_s is not None:
        # A task that has to be cancelled by force says nothing against its slot.
        return SlotEvent.LET_GO
    return SlotEvent.HANGS if deadline.hung else SlotEvent.OVERDUE


def _status(slot: WorkerSlot) -> WorkerStatus:
    model = slot.loading or next(iter(reversed(slot.models)), None)
    return WorkerStatus(
        label=slot.label,
        pid=None if slot.worker is None else slot.worker.pid,
        state=slot.shown,
        model=None if model is None else model.name,
        compute_type=None if model is None else model.compute_type,
        segment=None if slot.task is None else min(slot.task.open, default=None),
        deaths=slot.breaker.deaths,
        heard_at_s=None if slot.worker is None else slot.worker.heard_s,
        reason=slot.reason,
        unloaded=slot.unloaded,
    )
