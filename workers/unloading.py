"""Memory given back: workers that no job needs end, and start again without a model: on request,
after an idle time, and where a job waits for the memory.

Only the end of a process gives back everything: unloading inside it leaves the CUDA context on a
card (300-500 MiB) and the C library's heap in main memory. The new process is there before the
next job, and costs that job nothing but the load itself.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from time import monotonic

from gpu.manager import Released
from workers.admission import same_memory
from workers.memory import held_mib
from workers.pool_state import PoolState
from workers.scheduler import Scheduler
from workers.worker_slot import ASLEEP, AT_WORK, WorkerSlot

log = logging.getLogger(__name__)

Answer = Future[tuple[Released, ...]]

ANSWER_S = 30.0
"""Longest wait for the new processes before the answer is given without their memory."""


@dataclass(slots=True)
class _Wish:
    """A request for memory that waits for its answer."""

    answer: Answer
    by_s: float
    found: list[Released] = field(default_factory=list)
    held_mib: dict[str, float | None] = field(default_factory=dict)
    """By label, before the process ended; only of those that do."""


@dataclass(slots=True, eq=False)
class Unloader:
    """The supervisor's thread calls it."""

    pool: PoolState
    scheduler: Scheduler
    _wishes: list[_Wish] = field(default_factory=list)

    def release(self, answer: Answer) -> None:
        """Unload what no job needs now; the answer is given when the new processes are there."""
        self._forget_preload()
        wish = _Wish(answer, monotonic() + ANSWER_S)
        for slot in self.pool.slots:
            if slot.state in ASLEEP or slot.removed:
                continue
            model = slot.loading or slot.model
            if model is None or slot.state not in AT_WORK:
                wish.found.append(Released(slot.label, "empty"))
            elif self._unneeded(slot):
                wish.held_mib[slot.label] = self._held(slot)
                wish.found.append(Released(slot.label, "unloaded", model.name))
                self._unload(slot, "its memory is wanted back")
            else:
                wish.found.append(Released(slot.label, "busy", model.name))
        self._wishes.append(wish)

    def look(self, now: float) -> None:
        """Watch how long workers have been idle. At the end of a turn, when tasks are given out."""
        for slot in self.pool.slots:
            if not self._unneeded(slot):
                slot.idle_since_s = None
            elif slot.idle_since_s is None:
                slot.idle_since_s = now
            elif 0 < self.pool.limits.unload_after_s <= now - slot.idle_since_s:
                self._forget_preload()
                self._unload(slot, f"idle for {now - slot.idle_since_s:.0f} s")

    def make_room(self) -> None:
        """A job waits for memory, and an idle worker holds a model that no job wants: it goes."""
        going_on = [state for state in self.pool.jobs if state.ending is None]
        for state in going_on:
            for slot in self.pool.slots if state.waits_for_memory else ():
                wanted = any(slot.has(other.model) for other in going_on)
                near = any(
                    other is not slot and same_memory(other, slot) and other.may_serve(state.model)
                    for other in self.pool.slots
                )
                if slot.idle and slot.model and near and not wanted:
                    log.info("[%s] unloads its model, a job waits for memory", slot.label)
                    slot.replace("makes room for another model")

    def answer(self, now: float) -> None:
        """Answer the requests whose workers are back, and those that have waited long enough."""
        slots = {slot.label: slot for slot in self.pool.slots}
        for wish in list(self._wishes):
            # An endpoint may have been switched off since.
            ended = [slots[label] for label in wish.held_mib if label in slots]
            if now < wish.by_s and any(slot.alive and slot.state not in AT_WORK for slot in ended):
                continue
            self._wishes.remove(wish)
            freed = {slot.label: self._freed(slot, wish.held_mib[slot.label]) for slot in ended}
            wish.answer.set_result(
                tuple(replace(each, freed_mib=freed.get(each.device)) for each in wish.found)
            )

    def _unneeded(self, slot: WorkerSlot) -> bool:
        needed = self.scheduler.needs(slot, self.pool.slots)
        return slot.idle and slot.model is not None and not needed

    def _forget_preload(self) -> None:
        """It would load at once what was unloaded. A preload that is waited for comes first."""
        if not self.scheduler.preload_pending:
            self.scheduler.preload = None

    def _unload(self, slot: WorkerSlot, reason: str) -> None:
        assert slot.model is not None, "only a loaded model is unloaded"
        log.info("[%s] Unloading Whisper model: %s (%s)", slot.label, slot.model.name, reason)
        slot.unloaded = True
        slot.replace(reason)

    def _held(self, slot: WorkerSlot) -> float | None:
        return None if slot.worker is None else held_mib(slot.device, slot.worker.pid)

    def _freed(self, slot: WorkerSlot, before_mib: float | None) -> float | None:
        """None where the memory cannot be read, or the new process is not there yet."""
        after_mib = self._held(slot) if slot.state in AT_WORK else None
        if before_mib is None or after_mib is None:
            return None
        return max(0.0, before_mib - after_mib)
