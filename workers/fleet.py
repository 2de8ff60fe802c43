"""All workers of a pool: start them, hear them, bury them, give them work.

The supervisor's hands; used on its thread only. Nothing here waits for a worker.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from time import monotonic

from workers.devices import Slot
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
    WorkerSpec,
)
from workers.outcomes import Outcomes
from workers.scheduler import Scheduler
from workers.seat import Seat, State
from workers.tasks import Task
from workers.worker import Worker

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

    @property
    def last_heard_s(self) -> float | None:
        """Seconds since the worker's last sign of life; None without a process."""
        return None if self.heard_at_s is None else monotonic() - self.heard_at_s


class Fleet:
    def __init__(
        self,
        slots: Sequence[Slot],
        spec_for: Callable[[Slot], WorkerSpec],
        limits: PoolLimits,
        scheduler: Scheduler,
        outcomes: Outcomes,
    ) -> None:
        self.seats = tuple(Seat(slot) for slot in slots)
        self._spec_for = spec_for
        self._limits = limits
        self._scheduler = scheduler
        self._outcomes = outcomes

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
        """Spawn what is missing and not in back-off."""
        for seat in self.seats:
            if seat.worker is None and not seat.retired and now >= seat.respawn_s:
                try:
                    seat.worker = Worker(self._spec_for(seat.slot))
                except OSError as error:
                    log.error("[%s] cannot start a worker: %s", seat.label, error)
                    seat.bury(f"cannot start: {error}", now, self._limits)

    def kill_overdue(self, now: float) -> None:
        for seat in self.seats:
            deadline = seat.deadline(self._limits)
            if deadline is None or seat.worker is None or now < deadline[0]:
                continue
            if seat.worker.killed_s is not None:
                self._bury(seat, seat.worker, now)
                continue
            # A task that has to be cancelled by force says nothing against its slot.
            if seat.task is not None and seat.task.cancel_by_s is not None:
                seat.forgiven = True
            log.debug("[%s] killing worker %d: %s", seat.label, seat.worker.pid, deadline[1])
            seat.worker.kill(deadline[1])

    def wakeup_s(self) -> float | None:
        """When next a deadline or a back-off ends."""
        times = [
            deadline[0]
            for seat in self.seats
            if (deadline := seat.deadline(self._limits)) is not None
        ]
        times += [s.respawn_s for s in self.seats if s.worker is None and not s.retired]
        return min(times, default=None)

    def dispatch(self, now: float) -> None:
        for seat in self.seats:
            if seat.worker is None or not seat.idle:
                continue
            choice = self._scheduler.choose(seat, self.seats, now)
            if isinstance(choice, Task):
                self._give(seat, seat.worker, choice)
            elif choice is not None:
                seat.loading, seat.loading_since_s = choice, now
                seat.worker.send(LoadModel(choice))

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
        return tuple(_status(seat) for seat in self.seats)

    def _give(self, seat: Seat, worker: Worker, task: Task) -> None:
        seat.task = task
        job = task.state.job
        worker.send(
            Decode(
                task.task_id,
                task.state.model,
                job.spec.spool,
                tuple(entry.segment for entry in task.open.values()),
                task.state.options,
                task.language_windows,
            )
        )

    def _hear(self, seat: Seat, message: Message, now: float) -> None:
        if isinstance(message, Heartbeat):
            return
        if isinstance(message, Ready):
            seat.ready = True
        elif isinstance(message, ModelLoaded):
            log.debug("[%s] ready in %.1fs", seat.label, message.elapsed_s)
            seat.loading, seat.models = None, message.models
            seat.load_kills.pop(message.model, None)
        elif isinstance(message, LoadFailed):
            seat.loading, seat.models = None, message.models
            seat.refused[message.model] = message.error
        elif seat.task is not None and seat.task.task_id == message.task_id:
            self._outcomes.take(seat, seat.task, message, now)
            if seat.task is None and seat.recycle and seat.worker is not None:
                seat.ready, seat.forgiven = False, True
                seat.worker.kill("replaced after running out of memory")

    def _bury(self, seat: Seat, worker: Worker, now: float) -> None:
        reason = worker.reap()
        task = seat.task
        if seat.stop_by_s is None:
            log.warning("[%s] worker %d died: %s", seat.label, worker.pid, reason)
        if task is not None:
            self._outcomes.worker_lost(seat, task, reason, now)
        seat.bury(reason, now, self._limits)


def _status(seat: Seat) -> WorkerStatus:
    model = seat.loading or next(iter(reversed(seat.models)), None)
    return WorkerStatus(
        label=seat.label,
        pid=None if seat.worker is None else seat.worker.pid,
        state=seat.state,
        model=None if model is None else model.name,
        segment=None if seat.task is None else min(seat.task.open, default=None),
        deaths=seat.deaths,
        heard_at_s=None if seat.worker is None else seat.worker.heard_s,
    )
