"""What a service does beside its jobs: show that it lives, take over what dead services left,
hear of cancellations from elsewhere, forget what is old."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from core.errors import CapacityError

log = logging.getLogger(__name__)

TICK_S = 0.5
"""Between two looks for cancellations: the user is promised an end within two seconds."""


@dataclass(slots=True)
class PeriodicTask:
    """Something done again and again. ``call`` may raise CapacityError."""

    every_s: float
    call: Callable[[], None]
    due_s: float = 0.0


class PeriodicThread:
    """One thread that does the chores until it is closed."""

    def __init__(self, tasks: list[PeriodicTask]) -> None:
        self._chores = tasks
        self._closed = threading.Event()
        self._away = False
        self._thread = threading.Thread(target=self._run, name="job upkeep", daemon=True)
        self._thread.start()

    def close(self, timeout_s: float) -> None:
        self._closed.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._closed.is_set():
            now = time.monotonic()
            for chore in self._chores:
                if now >= chore.due_s and not self._closed.is_set():
                    chore.due_s = now + chore.every_s
                    self._do(chore)
            self._closed.wait(TICK_S)

    def _do(self, chore: PeriodicTask) -> None:
        try:
            chore.call()
        except CapacityError as error:
            if not self._away:
                log.error("%s Running jobs go on; their results are written later.", error.message)
            self._away = True
        except Exception:
            # The next round may do better, and without this thread nothing is ever taken over.
            log.exception("A periodic task of the job service failed")
        else:
            if self._away:
                log.info("The job database answers again")
            self._away = False
