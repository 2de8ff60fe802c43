"""All workers of a pool: start them, listen to them, clear up after them, give them work.

The supervisor's hands; used on its thread only. Nothing here waits for a worker.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from time import monotonic

from core.endpoints import Endpoint
from core.errors import DeviceUnavailable, OutOfMemory
from gpu.peaks import Peak
from workers.admission import LoadAdmission
from workers.backend import SlotBackend
from workers.breaker import Breaker
from workers.devices import Device, endpoint_devices
from workers.messages import (
    Heartbeat,
    LoadEnded,
    Message,
    TaskDone,
    WorkerReady,
)
from workers.pending import Task
from workers.pool_state import PoolState, list_of
from workers.result_handler import ResultHandler
from workers.scheduler import Scheduler
from workers.slot_state import SlotEvent
from workers.worker_slot import ASLEEP, ENDING, EXCUSED, Shown, WorkerSlot

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
    starts: int = 0
    """Workers that were started in this slot, and models that they loaded."""
    loads: int = 0
    endpoint: str | None = None
    """Id of the remote server behind it; None: a device of this machine."""
    node: str = ""
    """Name of its machine in the cluster; empty: this machine."""

    @property
    def alive(self) -> bool:
        """There is a worker, in a process of this machine (``pid``) or of another one."""
        return self.pid is not None or (bool(self.node) and self.heard_at_s is not None)

    @property
    def last_heard_s(self) -> float | None:
        """Seconds since the worker's last sign of life; None without a process."""
        return None if self.heard_at_s is None else monotonic() - self.heard_at_s

    @property
    def proven(self) -> bool:
        """A real inference was made with its model, which may have been given back since."""
        if self.unloaded:
            return self.alive
        return self.state in ("idle", "busy") and self.model is not None


@dataclass(frozen=True, slots=True)
class Fleet:
    pool: PoolState
    start: Callable[[Device], SlotBackend]
    admission: LoadAdmission
    scheduler: Scheduler
    results: ResultHandler
    on_peak: Callable[[Peak], None] | None
    """Called when a worker has news of how much memory it took."""

    def waitables(self) -> list[Connection | int]:
        """Whatever becomes ready needs a ``listen``."""
        workers = [slot.worker for slot in self.pool.slots if slot.worker is not None]
        return [each for worker in workers for each in worker.waitables()]

    def listen(self, ready: Sequence[object]) -> None:
        """Take what workers sent, then clear up after those that died: what arrived before
        counts."""
        for slot in self.pool.slots:
            worker = slot.worker
            if worker is None or not any(each in ready for each in worker.waitables()):
                continue
            ended = worker.ended
            for message in worker.messages():
                self._handle(slot, message, monotonic())
            if ended:
                self._bury(slot, worker, monotonic())

    def start_due(self, now: float) -> None:
        """Start what is missing and not in back-off; try again what was out long enough."""
        for slot in self.pool.slots:
            if slot.breaker.let_in(now):
                # An endpoint's log line is that of the segment it is tried with.
                level = logging.INFO if slot.endpoint is None else logging.DEBUG
                log.log(level, "[%s] is tried again: %s", slot.label, slot.breaker.reason)
                slot.refused.clear()
                slot.load_kills.clear()
                slot.respawn_s = now
            if slot.worker is None and slot.usable and now >= slot.respawn_s:
                slot.on(SlotEvent.STARTED)
                try:
                    slot.worker = self.start(slot.device)
                    slot.starts += 1
                except OSError as error:
                    log.error("[%s] cannot start a worker: %s", slot.label, error)
                    if slot.bury(f"cannot start: {error}", now, self.pool.limits):
                        self.pool.taken_out(slot)

    def kill_overdue(self, now: float) -> None:
        for slot in self.pool.slots:
            deadline = slot.deadline(self.pool.limits)
            if deadline is None or slot.worker is None or now < deadline.at_s:
                continue
            if slot.worker.killed_s is not None:
                self._bury(slot, slot.worker, now)
                continue
            if slot.state not in ENDING:
                slot.on(deadline.event)
            log.debug("[%s] killing worker %s: %s", slot.label, slot.worker.pid, deadline.reason)
            slot.worker.kill(deadline.reason)

    def forgive_pause(self, pause_s: float, now: float) -> None:
        """The pool's own thread was away for so long: no worker's silence is measured by it."""
        for slot in self.pool.slots:
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
            for slot in self.pool.slots
            if (deadline := slot.deadline(self.pool.limits)) is not None
        ]
        times += [s.respawn_s for s in self.pool.slots if s.worker is None and s.usable]
        times += [t for s in self.pool.slots if (t := s.breaker.out_until_s) is not None]
        return min(times, default=None)

    def dispatch(self, now: float) -> None:
        for slot in self.pool.slots:
            if not slot.idle or not slot.usable:
                continue
            choice = self.scheduler.choose(slot, self.pool.slots, now)
            if isinstance(choice, Task):
                self._give(slot, choice)
            elif choice is not None:
                slot.load(slot.local(choice), now)

    def remove_outs(self) -> None:
        """End the workers of slots that were taken out while they lived, and forget the slots of
        removed endpoints. The worker of an endpoint that is out is not to blame, and stays."""
        for slot in self.pool.slots:
            if slot.breaker.out and slot.idle and slot.endpoint is None:
                slot.replace("its slot was taken out")
        self.pool.slots[:] = [s for s in self.pool.slots if s.alive or not s.removed]

    def set_endpoints(self, endpoints: Sequence[Endpoint]) -> None:
        """Slots for these and for no others. One that changed starts over: breaker and speed."""
        wanted = {device.endpoint: device for device in endpoint_devices(endpoints)}
        old = [slot for slot in self.pool.slots if slot.endpoint is not None and not slot.removed]
        for slot in old:
            device = wanted.pop(slot.endpoint, None)
            if device is not None:
                slot.device = device
            else:
                self._remove(slot, "its endpoint was switched off or changed")
        self._add(wanted.values())

    def set_nodes(self, devices: Sequence[Device]) -> None:
        """Slots for these devices of other machines, and for no others there."""
        wanted = {device.label: device for device in devices}
        old = [slot for slot in self.pool.slots if slot.device.node and not slot.removed]
        for slot in old:
            if wanted.pop(slot.label, None) is None:
                self._remove(slot, "its machine has left the cluster")
        self._add(wanted.values())

    def _add(self, devices: Iterable[Device]) -> None:
        threads = self.pool.slots[0].threads
        self.pool.slots += [WorkerSlot(device, threads) for device in devices]

    def _remove(self, slot: WorkerSlot, reason: str) -> None:
        """Its work goes elsewhere, and it is forgotten when its worker has ended."""
        log.info("[%s] is gone: %s", slot.label, reason)
        slot.removed = True
        slot.replace(reason)

    def trust(self, endpoint_id: str) -> None:
        """A test of the endpoint succeeded: whatever it was out for is over."""
        for slot in self.pool.slots:
            if slot.endpoint is not None and slot.endpoint.id == endpoint_id:
                slot.breaker = Breaker()

    def take_back(self, now: float) -> None:
        """Tasks that other slots are much sooner done with go back to the queue."""
        for slot in self.scheduler.given_back(self.pool.slots, now):
            assert slot.task is not None, "a task is taken back from who has one"
            task, entries = slot.task, list(slot.task.open.values())
            log.info(
                "[%s] %s: others are sooner done",
                *(slot.label, f"{list_of(entries)} taken back"),
                extra=task.state.about,
            )
            slot.too_slow(task, now - task.given_s)
            for entry in entries:
                entry.avoid.add(slot.label)
            slot.recall(task, now + self.pool.limits.cancel_grace_s)

    def recall_ending(self, now: float) -> None:
        """Take tasks of ending jobs back from their workers."""
        for slot in self.pool.slots:
            task = slot.task
            if task is not None and task.state.ending is not None and task.cancel_by_s is None:
                slot.recall(task, now + self.pool.limits.cancel_grace_s)

    def stop(self, by_s: float) -> None:
        """Ask all to leave; those still there at that time are killed."""
        for slot in self.pool.slots:
            if slot.alive:
                slot.leave(SlotEvent.LET_GO, by_s)

    def kill_all(self) -> None:
        """The last resort: returns when every process is gone."""
        for slot in self.pool.slots:
            if slot.worker is not None:
                slot.worker.kill("pool closed")
        for slot in self.pool.slots:
            if slot.worker is not None:
                slot.worker.reap()
                slot.worker = None
                slot.on(SlotEvent.DIED)

    def status(self) -> tuple[WorkerStatus, ...]:
        return tuple(_status(slot) for slot in self.pool.slots if slot.state not in ASLEEP)

    def _give(self, slot: WorkerSlot, task: Task) -> None:
        command = task.command
        for entry in task.open.values():
            log.debug(
                "[%s] %s is given to the worker as task %d: attempt %d, %d windows, batches of %d,"
                " beam %d",
                *(slot.label, entry.name, command.task_id, entry.attempts, entry.windows),
                *(task.batch_size, command.request.options.beam_size),
                extra=task.state.about,
            )
        slot.give(task)

    def _handle(self, slot: WorkerSlot, message: Message, now: float) -> None:
        if isinstance(message, Heartbeat):
            return
        if isinstance(message, WorkerReady):
            slot.on(SlotEvent.READY)
        elif isinstance(message, LoadEnded):
            self._load_ended(slot, message, now)
        elif slot.task is not None and slot.task.command.task_id == message.task_id:
            if isinstance(message, TaskDone) and message.peak is not None and self.on_peak:
                self.on_peak(message.peak)
            if self.results.take(slot, slot.task, message, now):
                slot.replace("replaced after a failure")

    def _load_ended(self, slot: WorkerSlot, message: LoadEnded, now: float) -> None:
        error = message.error
        if error is not None or slot.model not in (None, message.model):
            self.admission.changed()
        slot.load_ended(None if error else message.model)
        if slot.endpoint is not None:
            if error is not None:
                self.results.retries.endpoints.charge(slot, error, now)
        elif error is None:
            slot.loads += 1
            log.debug("[%s] ready in %.1fs", slot.label, message.elapsed_s)
            slot.load_kills.pop(message.model, None)
        elif isinstance(error, DeviceUnavailable):
            # No model will load there; a later try may find the device again.
            if slot.breaker.condemn(error, now, self.pool.limits):
                self.pool.taken_out(slot)
        else:
            slot.refuse(message.model, error)
            self.pool.model_refused(slot, message.model, logged=True)
            if isinstance(error, OutOfMemory):
                slot.replace("replaced after running out of memory")

    def _bury(self, slot: WorkerSlot, worker: SlotBackend, now: float) -> None:
        reason = worker.reap()
        task, model = slot.task, slot.loading
        if worker.lost and slot.state not in EXCUSED:
            self._machine_lost(slot, reason)
        excused = slot.state in EXCUSED
        if task is not None:
            excused |= self.results.worker_lost(slot, task, reason, now)
        elif not excused:
            doing = f" while loading model {model.name}" if model is not None else ""
            self.pool.tell(
                "worker_hung" if slot.hung else "worker_lost",
                f"The worker of {slot.label} died{doing} ({reason}).",
                [s for s in self.pool.jobs if model in slot.variants(s.model)],
                slot=slot,
            )
        known = set(slot.refused)
        if slot.bury(reason, now, self.pool.limits, excused=excused):
            self.pool.taken_out(slot)
        for refused in set(slot.refused) - known:
            self.pool.model_refused(slot, refused)
        self.admission.changed()

    def _machine_lost(self, slot: WorkerSlot, reason: str) -> None:
        """Whatever its worker did is done by others; nothing and nobody is suspected."""
        task = slot.task
        entries = [] if task is None else list(task.open.values())
        doing = f" with {list_of(entries)} in work, which others do" if entries else ""
        self.pool.tell(
            "machine_lost",
            f"{slot.label} is lost{doing} ({reason}).",
            [] if task is None else [task.state],
            slot=slot,
            segments=entries,
        )
        slot.on(SlotEvent.LET_GO)


def _status(slot: WorkerSlot) -> WorkerStatus:
    model = slot.loading or slot.model
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
        starts=slot.starts,
        loads=slot.loads,
        endpoint=None if slot.endpoint is None else slot.endpoint.id,
        node=slot.device.node,
    )
