"""Slow down guessing of passwords, for each address and for each user.

A few slips cost nothing. Then every further failure doubles the wait: up to a quarter of an hour
for an address, but only a minute for a user, so that a stranger who guesses from many addresses
can delay a user but not lock them out. It is kept in memory: a restart forgives.
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

FREE_TRIES = 5
LONGEST_WAIT_S = {"address": 900.0, "user": 60.0}
FORGIVEN_AFTER_S = 900.0
MAX_REMEMBERED = 10_000


@dataclass(slots=True)
class _Tries:
    failures: int = 0
    last: float = 0.0


class Throttle:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._tries: OrderedDict[tuple[str, str], _Tries] = OrderedDict()

    def admit(self, address: str, user: str) -> int:
        """Seconds to wait before a try, or 0 for one that may be made now.

        A try that is admitted counts as a failure until :meth:`succeeded`: of many at the same
        moment no more get through than of as many after each other.
        """
        with self._lock:
            now = self._clock()
            keys = _keys(address, user)
            wait_s = max(self._wait_s(key, now) for key in keys)
            if wait_s > 0:
                return math.ceil(wait_s)
            for key in keys:
                tries = self._tries.setdefault(key, _Tries())
                tries.failures += 1
                tries.last = now
                self._tries.move_to_end(key)
            while len(self._tries) > MAX_REMEMBERED:
                self._tries.popitem(last=False)
            return 0

    def succeeded(self, address: str, user: str) -> None:
        """The admitted try was right. The user's failures are forgiven, the address's are not:
        the owner of one account must not get free tries at others with it."""
        by_address, by_user = _keys(address, user)
        with self._lock:
            self._tries.pop(by_user, None)
            if tries := self._tries.get(by_address):
                tries.failures -= 1

    def _wait_s(self, key: tuple[str, str], now: float) -> float:
        tries = self._tries.get(key)
        if tries is None:
            return 0.0
        if now - tries.last > FORGIVEN_AFTER_S:
            del self._tries[key]
            return 0.0
        if tries.failures < FREE_TRIES:
            return 0.0
        pause_s = min(2.0 ** min(tries.failures - FREE_TRIES, 20), LONGEST_WAIT_S[key[0]])
        return tries.last + pause_s - now


def _keys(address: str, user: str) -> tuple[tuple[str, str], tuple[str, str]]:
    return ("address", _network(address)), ("user", user)


def _network(address: str) -> str:
    """A single home or server has 2^64 IPv6 addresses."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if ip.version == 6:
        return str(ipaddress.ip_network((ip, 64), strict=False))
    return address
