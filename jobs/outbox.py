"""Writes to the database that must not be lost and must not hold a job up.

Journal and history are written from threads that also feed the workers; while the
database does not answer they go on, and the writes wait here, in order, until it does.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

from core.errors import DatabaseUnavailable, DiskFull, SubtitleError

log = logging.getLogger(__name__)

FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 1.0


class Outbox:
    """One thread that makes calls in the order they were put."""

    def __init__(self, name: str = "outbox") -> None:
        self._changed = threading.Condition()
        self._waiting: deque[Callable[[], None]] = deque()
        self._put = 0
        self._done = 0
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, call: Callable[[], None]) -> None:
        """Have it called soon. Raises RuntimeError when closed."""
        with self._changed:
            if self._closing:
                raise RuntimeError("the outbox is closed")
            self._waiting.append(call)
            self._put += 1
            self._changed.notify_all()

    def backlog(self) -> int:
        """Calls that are not done."""
        with self._changed:
            return self._put - self._done

    def flush(self, timeout_s: float) -> bool:
        """Wait until everything put so far is done; False when the time ran out first."""
        with self._changed:
            wanted = self._put
            return self._changed.wait_for(lambda: self._done >= wanted, timeout_s)

    def close(self, timeout_s: float) -> bool:
        """Take no more calls and wait for those that are left; False where some were not done."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        done = self.flush(timeout_s)
        with self._changed:
            lost = len(self._waiting)
            self._waiting.clear()
            self._changed.notify_all()
        if lost:
            log.error("%d entries were not written: the database did not answer in time.", lost)
        return done

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    return
                call = self._waiting[0]
            if not self._make(call):
                return
            with self._changed:
                if self._waiting:
                    self._waiting.popleft()
                self._done += 1
                self._changed.notify_all()

    def _make(self, call: Callable[[], None]) -> bool:
        """Make a call, again and again while the database does not answer; False once given up."""
        wait_s = FIRST_WAIT_S
        while True:
            try:
                call()
            except (DatabaseUnavailable, DiskFull) as error:
                if wait_s == FIRST_WAIT_S:
                    log.warning("Writing waits, and is tried again: %s", error)
            except SubtitleError as error:
                log.warning("Not written: %s", error)
                return True
            except Exception:
                log.exception("Not written, and given up")
                return True
            else:
                return True
            with self._changed:
                # close() removes the calls when its time is up.
                if self._changed.wait_for(lambda: not self._waiting, wait_s):
                    return False
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)
