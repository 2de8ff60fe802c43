"""Random kills of a service: which process, with what, when, and how soon it is back."""

from __future__ import annotations

import logging
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from bench.service import Service, signal_to

log = logging.getLogger(__name__)

Target = Literal["worker", "parent"]

How = Literal["SIGKILL", "SIGSEGV", "SIGSTOP"]
"""``SIGSTOP``: held still for a moment, then SIGKILL."""

SOONEST_S = 0.2
"""Between two kills; less would only be one kill of two processes."""

BACK_S = 120.0
"""Longest wait for a worker to live, and for the service to be back after the last kill."""

LOOK_EVERY_S = 0.05


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill as it is planned."""

    target: Target
    how: How
    after_s: float
    """Since the one before."""
    held_s: float = 0.0
    """Between SIGSTOP and SIGKILL."""


@dataclass(slots=True)
class Killed:
    """One kill as it happened. Times in seconds since the bench began."""

    target: Target
    how: How
    at_s: float
    pid: int
    ready: bool
    """The service was ready at that moment; False: it was still starting."""
    back_s: float | None = None
    """Until as many workers as before had the model again; for a parent, until the service was
    ready. None: not as long as it was watched."""
    watched_s: float = 0.0
    """Until it was back or the next kill came."""


def plan_kills(count: int, mean_s: float, rng: random.Random) -> list[Kill]:
    """Half workers, half the parent, in random order and at random distances.

    Distances are spread evenly from almost nothing to twice their mean, so that kills meet each
    other's recovery as well as quiet work.
    """
    targets: list[Target] = ["worker" if number % 2 == 0 else "parent" for number in range(count)]
    rng.shuffle(targets)
    return [_plan(target, mean_s, rng) for target in targets]


def _plan(target: Target, mean_s: float, rng: random.Random) -> Kill:
    after_s = rng.uniform(SOONEST_S, max(SOONEST_S, 2 * mean_s - SOONEST_S))
    if target == "parent":
        return Kill("parent", "SIGKILL", after_s)
    hows: tuple[How, ...] = ("SIGKILL", "SIGKILL", "SIGSEGV", "SIGSTOP")
    how = rng.choice(hows)
    return Kill("worker", how, after_s, rng.uniform(0.1, 2.0) if how == "SIGSTOP" else 0.0)


class Killer:
    """Carries a plan out on a running service. ``clock`` gives the seconds since the bench began.

    After each kill it watches the service until that is back or the next kill is due.
    """

    def __init__(self, service: Service, rng: random.Random, clock: Callable[[], float]) -> None:
        self._service = service
        self._rng = rng
        self._clock = clock
        self.killed: list[Killed] = []

    def run(self, plan: list[Kill], check: Callable[[], None]) -> None:
        """``check`` is called before each kill and raises when going on makes no sense."""
        due_s = self._clock()
        for number, kill in enumerate(plan, start=1):
            due_s += kill.after_s
            self._watch(due_s)
            check()
            log.info("Kill %d of %d: %s to a %s", number, len(plan), kill.how, kill.target)
            self._carry_out(kill)
            due_s = self._clock()
        self._watch(due_s + BACK_S, only_until_back=True)

    def _carry_out(self, kill: Kill) -> None:
        ready = self._service.ready()
        if kill.target == "parent":
            pid = self._service.parent.pid
            self._service.kill()
            self.killed.append(Killed("parent", kill.how, self._clock(), pid, ready))
            self._service.start()
            return
        pid = self._victim()
        if kill.how == "SIGSTOP":
            signal_to(pid, signal.SIGSTOP)
            # The fault itself: a process that stands still for so long.
            time.sleep(kill.held_s)
        number = signal.SIGSEGV if kill.how == "SIGSEGV" else signal.SIGKILL
        at_s = self._clock()
        signal_to(pid, number)
        self.killed.append(Killed("worker", kill.how, at_s, pid, ready))

    def _victim(self) -> int:
        end_s = self._clock() + BACK_S
        while not (workers := self._service.workers()):
            if self._clock() > end_s:
                raise TimeoutError(f"no worker has lived for {BACK_S:g} s")
            time.sleep(0.05)
        return self._rng.choice(workers)

    def _watch(self, until_s: float, *, only_until_back: bool = False) -> None:
        last = self.killed[-1] if self.killed else None
        while (left_s := until_s - self._clock()) > 0:
            if last is not None and last.back_s is None:
                back = self._is_back(last)
                last.watched_s = self._clock() - last.at_s
                last.back_s = last.watched_s if back else None
            if only_until_back and (last is None or last.back_s is not None):
                return
            time.sleep(min(LOOK_EVERY_S, left_s))

    def _is_back(self, killed: Killed) -> bool:
        if killed.target == "parent":
            return self._service.ready()
        # In this order: a replacement that lives was already in the states when it was started.
        living = [pid for pid in self._service.workers() if pid != killed.pid]
        states = self._service.worker_states()
        return len(living) >= len(states) > 0 and all(
            state["state"] in ("idle", "busy") and state["model"] for state in states
        )
