"""Memory given back: workers that nobody needs end with their model, and start again without one:
on request, after an idle time, and where a job waits for the memory.

Only the end of a process gives back everything: unloading inside it leaves the CUDA context on a
card (300-500 MiB) and the C library's heap in main memory. The new process is there before the
next job, and costs that job nothing but the load itself.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from time import monotonic

from gpu.manager import Released
from workers.admission import same_memory
from workers.fleet import Fleet
from workers.memory import held_mib
from workers.pending import PoolJobState
from workers.scheduler import Scheduler
from workers.worker_slot import ASLEEP, AT_WORK, WorkerSlot

log = logging.getLogger(__name__)

Answer = Future[tuple[Released, ...]]

ANSWER_S = 30.0
"""Longest wait for the new processes before the answer is given without their memory."""


@dataclass(slots=True)
class _Wish:
    """Somebody who wants memory back and waits for the answer."""

    answer: Answer
    by_s: float
    found: list[Released] = field(default_factory=list)
    held_mib: dict[str, float | None] = field(default_factory=dict)
    """By label, before the process ended; only of those that do."""


class Unloader:
    """The supervisor's thread calls it."""

    def __init__(self, fleet: Fleet, scheduler: Scheduler, after_s: float) -> None:
        self._fleet = fleet
        self._scheduler = scheduler
        self._after_s = after_s
        """Idle time after which models are unloaded; 0: never."""
        self._wishes: list[_Wish] = []

    def release(self, answer: Answer) -> None:
        """Unload what no job needs now; the answer is given when the new processes are there."""
        self._forget_preload()
        wish = _Wish(answer, monotonic() + ANSWER_S)
        for slot in self._fleet.slots:
            if slot.state in ASLEEP:
                continue
            model = slot.loading or next(iter(reversed(slot.models)), None)
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
        for slot in self._fleet.slots:
            if not self._unneeded(slot):
                slot.idle_since_s = None
            elif slot.idle_since_s is None:
                slot.idle_since_s = now
            elif self._after_s and now - slot.idle_since_s >= self._after_s:
                self._forget_preload()
                self._unload(slot, f"idle for {now - slot.idle_since_s:.0f} s")

    def make_room(self) -> None:
        """A job waits for memory, and an idle worker holds models no job wants: they go."""
        going_on = [state for state in self._scheduler.jobs if state.ending is None]
        for state in going_on:
            for slot in self._fleet.slots if state.waits_for_memory else ():
                near = any(
                    other is not slot and same_memory(other, slot) and other.may_serve(state.model)
                    for other in self._fleet.slots
                )
                if slot.idle and slot.models and near and not _wanted(slot, going_on):
                    log.info("[%s] unloads its model, a job waits for memory", slot.label)
                    self._fleet.replace(slot, "makes room for another model")

    def answer(self, now: float) -> None:
        """Answer those whose workers are back, and those who have waited long enough."""
        slots = {slot.label: slot for slot in self._fleet.slots}
        for wish in list(self._wishes):
            ended = [slots[label] for label in wish.held_mib]
            if now < wish.by_s and any(slot.alive and slot.state not in AT_WORK for slot in ended):
                continue
            self._wishes.remove(wish)
            freed = {slot.label: self._freed(slot, wish.held_mib[slot.label]) for slot in ended}
            wish.answer.set_result(
                tuple(replace(each, freed_mib=freed.get(each.device)) for each in wish.found)
            )

    def _unneeded(self, slot: WorkerSlot) -> bool:
        needed = self._scheduler.needs(slot, self._fleet.slots)
        return slot.idle and bool(slot.models) and not needed

    def _forget_preload(self) -> None:
        """It would load at once what was unloaded. Somebody who waits for it gets it first."""
        if not self._scheduler.preload_pending:
            self._scheduler.preload = None

    def _unload(self, slot: WorkerSlot, reason: str) -> None:
        names = ", ".join(model.name for model in slot.models)
        log.info("[%s] Unloading Whisper model: %s (%s)", slot.label, names, reason)
        slot.unloaded = True
        self._fleet.replace(slot, reason)

    def _held(self, slot: WorkerSlot) -> float | None:
        return None if slot.worker is None else held_mib(slot.device, slot.worker.pid)

    def _freed(self, slot: WorkerSlot, before_mib: float | None) -> float | None:
        """None where the memory cannot be read, or the new process is not there yet."""
        after_mib = self._held(slot) if slot.state in AT_WORK else None
        if before_mib is None or after_mib is None:
            return None
        return max(0.0, before_mib - after_mib)


def _wanted(slot: WorkerSlot, jobs: Sequence[PoolJobState]) -> bool:
    return any(slot.has(state.model) for state in jobs)
