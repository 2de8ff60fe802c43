"""The most memory that workers took, by what they ran: what estimates learn from.

Held in memory here; ``jobs.peaks`` keeps it in the project's database.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

CPU = "CPU"
"""Name of the device of CPU workers: their memory depends on the machine little."""


class Key(NamedTuple):
    """What memory depends on, on one device."""

    model: str
    compute_type: str
    batch_size: int
    beam_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """The most one worker process was seen to take with one set-up."""

    device: str
    """The card's name as NVML has it, or ``CPU``."""
    model: str
    compute_type: str
    batch_size: int
    """Windows of the largest batch it decoded."""
    beam_size: int
    peak_mib: float
    runs: int = 1
    """Worker processes that were measured."""

    @property
    def key(self) -> Key:
        return Key(self.model, self.compute_type, self.batch_size, self.beam_size)


class Peaks:
    """Thread-safe. A set-up's peak is the highest that was seen."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_device: dict[str, dict[Key, Peak]] = {}
        self._listeners: list[Callable[[Peak], None]] = []

    def add(self, peak: Peak) -> None:
        """Take a measurement."""
        with self._lock:
            known = self._by_device.setdefault(peak.device, {})
            before = known.get(peak.key)
            if before is None:
                known[peak.key] = peak
            else:
                known[peak.key] = _higher(before, peak, runs=before.runs + peak.runs)
            listeners = tuple(self._listeners)
        for listener in listeners:
            listener(peak)

    def load(self, peaks: Iterable[Peak]) -> None:
        """Take what was kept of measurements; some may be known already. No callback is called."""
        with self._lock:
            for peak in peaks:
                known = self._by_device.setdefault(peak.device, {})
                before = known.get(peak.key, peak)
                known[peak.key] = _higher(before, peak, runs=max(before.runs, peak.runs))

    def listen(self, listener: Callable[[Peak], None]) -> Callable[[], None]:
        """Have every measurement told as it comes, on the thread that brings it. Returns the call
        that ends this."""
        with self._lock:
            self._listeners.append(listener)

        def end() -> None:
            with self._lock:
                self._listeners.remove(listener)

        return end

    def of_device(self, name: str) -> dict[Key, Peak]:
        """Everything measured on devices of that name."""
        with self._lock:
            return dict(self._by_device.get(name, {}))

    def all(self) -> list[Peak]:
        with self._lock:
            return [peak for known in self._by_device.values() for peak in known.values()]


def _higher(one: Peak, other: Peak, *, runs: int) -> Peak:
    """Two measurements of the same set-up as one."""
    return replace(one, peak_mib=max(one.peak_mib, other.peak_mib), runs=runs)
