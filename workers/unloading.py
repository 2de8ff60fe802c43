"""Memory given back: workers that nobody needs end with their model, and start again without one.

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
from workers.fleet import Fleet
from workers.memory import held_mib
from workers.scheduler import Scheduler
from workers.worker_slot import Seat

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
        for seat in self._fleet.seats:
            if seat.dormant:
                continue
            model = seat.loading or next(iter(reversed(seat.models)), None)
            if model is None or not seat.ready:
                wish.found.append(Released(seat.label, "empty"))
            elif self._unneeded(seat):
                wish.held_mib[seat.label] = self._held(seat)
                wish.found.append(Released(seat.label, "unloaded", model.name))
                self._unload(seat, "its memory is wanted back")
            else:
                wish.found.append(Released(seat.label, "busy", model.name))
        self._wishes.append(wish)

    def look(self, now: float) -> None:
        """Watch how long workers have been idle. At the end of a turn, when tasks are given out."""
        for seat in self._fleet.seats:
            if not self._unneeded(seat):
                seat.idle_since_s = None
            elif seat.idle_since_s is None:
                seat.idle_since_s = now
            elif self._after_s and now - seat.idle_since_s >= self._after_s:
                self._forget_preload()
                self._unload(seat, f"idle for {now - seat.idle_since_s:.0f} s")

    def answer(self, now: float) -> None:
        """Answer those whose workers are back, and those who have waited long enough."""
        seats = {seat.label: seat for seat in self._fleet.seats}
        for wish in list(self._wishes):
            ended = [seats[label] for label in wish.held_mib]
            if now < wish.by_s and any(seat.alive and not seat.ready for seat in ended):
                continue
            self._wishes.remove(wish)
            freed = {seat.label: self._freed(seat, wish.held_mib[seat.label]) for seat in ended}
            wish.answer.set_result(
                tuple(replace(each, freed_mib=freed.get(each.device)) for each in wish.found)
            )

    def _unneeded(self, seat: Seat) -> bool:
        needed = self._scheduler.needs(seat, self._fleet.seats)
        return seat.idle and bool(seat.models) and not needed

    def _forget_preload(self) -> None:
        """It would load at once what was unloaded. Somebody who waits for it gets it first."""
        if not self._scheduler.preload_pending:
            self._scheduler.preload = None

    def _unload(self, seat: Seat, reason: str) -> None:
        names = ", ".join(model.name for model in seat.models)
        log.info("[%s] Unloading Whisper model: %s (%s)", seat.label, names, reason)
        seat.unloaded = True
        self._fleet.replace(seat, reason)

    def _held(self, seat: Seat) -> float | None:
        return None if seat.worker is None else held_mib(seat.slot, seat.worker.pid)

    def _freed(self, seat: Seat, before_mib: float | None) -> float | None:
        """None where the memory cannot be read, or the new process is not there yet."""
        after_mib = self._held(seat) if seat.ready else None
        if before_mib is None or after_mib is None:
            return None
        return max(0.0, before_mib - after_mib)
