"""A slot's circuit breaker: a device that fails again and again is taken out, and tried again.

    working ── deaths or device errors in a row ──► out ── after a time ──► on trial
       ▲                                             ▲                         │
       │                                             └──── one more failure ───┤
       └──────────────── a finished segment ───────────────────────────────────┘

A remote endpoint that is busy pauses until the time it names, without a trial afterwards. One that
refuses the request is out until its configuration changes or a test of it succeeds.

Pure: no processes and no clock of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from core.errors import DeviceUnavailable, SubtitleError, WorkerCrashed
from workers.limits import PoolLimits

DEVICE_FAULTS = ("CUDA failed", "cuBLAS failed", "cuDNN failed", "CUBLAS_STATUS", "CUDNN_STATUS")
"""What CTranslate2 says when a GPU or its libraries fail, whatever was decoded."""


def blames_device(error: SubtitleError) -> bool:
    """Whether the error says by itself that the device failed and not the segment."""
    if isinstance(error, DeviceUnavailable):
        return True
    return any(words in error.message for words in DEVICE_FAULTS)


@dataclass(slots=True)
class Breaker:
    deaths: int = 0
    """Workers in a row that died without one finished segment between."""
    errors: int = 0
    """Errors of the device in a row, counted alike."""
    outs: int = 0
    """Times in a row the slot was taken out."""
    out_until_s: float | None = None
    """Set: taken out until then."""
    trial: bool = False
    """Let in again, and not yet proven."""
    reason: str = ""
    """Why it was taken out, in words."""
    error: SubtitleError | None = None
    """The same as jobs get it where no other slot is left."""
    paused: bool = False
    """Out because it said when to come back: no failure, and no trial afterwards."""

    @property
    def out(self) -> bool:
        return self.out_until_s is not None

    def died(self, reason: str, now: float, limits: PoolLimits) -> bool:
        """Count a death; True when the slot is out by it."""
        self.deaths += 1
        if not self.trial and self.deaths < limits.deaths_to_retire:
            return False
        if self.trial:
            text = f"its worker died again ({reason})"
        else:
            text = f"{self.deaths} workers in a row died before finishing a segment ({reason})"
        self.trip(text, WorkerCrashed(text), now, limits)
        return True

    def failed(self, error: SubtitleError, now: float, limits: PoolLimits) -> bool:
        """Count an error of the device; True when the slot is out by it."""
        if self.out:
            return False
        self.errors += 1
        if not self.trial and self.errors < limits.errors_to_retire:
            return False
        text = f"it failed {'again' if self.trial else f'{self.errors} times'}: {error.message}"
        self.trip(text, error, now, limits)
        return True

    def condemn(self, error: SubtitleError, now: float, limits: PoolLimits) -> bool:
        """The device itself cannot be used; True when the slot is out by it."""
        if self.out:
            return False
        self.trip(error.message, error, now, limits)
        return True

    def pause(self, error: SubtitleError, until_s: float) -> bool:
        """Leave an endpoint alone that is busy; True when that is news since it last worked."""
        news = not self.reason
        self.out_until_s, self.paused = until_s, True
        self.reason, self.error = error.message.rstrip("."), error
        return news

    def refuse(self, error: SubtitleError) -> None:
        """Out until somebody mends the setting: no try of ours can help."""
        self.outs += 1
        self.trial = self.paused = False
        self.out_until_s = math.inf
        self.reason, self.error = error.message.rstrip("."), error

    @property
    def refused(self) -> bool:
        return self.out_until_s == math.inf

    def trip(self, reason: str, error: SubtitleError, now: float, limits: PoolLimits) -> None:
        """Take the slot out now."""
        self.outs += 1
        self.trial = self.paused = False
        self.out_until_s = now + self.wait_s(limits)
        self.reason, self.error = reason.rstrip("."), error

    def wait_s(self, limits: PoolLimits) -> float:
        """How long the slot stays out this time."""
        doublings = min(self.outs - 1, 16)
        return min(limits.retry_out_max_s, limits.retry_out_s * 2.0**doublings)

    def succeeded(self) -> bool:
        """A segment was finished; True when that brings the slot back."""
        back = (self.out and not self.paused) or self.trial
        self.deaths = self.errors = self.outs = 0
        self.out_until_s, self.trial, self.reason, self.error = None, False, "", None
        self.paused = False
        return back

    def let_in(self, now: float) -> bool:
        """Begin a trial when its time has come; after a pause, go on as before it."""
        if self.out_until_s is None or now < self.out_until_s:
            return False
        self.out_until_s = None
        if self.paused:
            self.paused = False
            return True
        self.trial = True
        self.deaths = self.errors = 0
        return True
