"""What a model takes of a device's memory: calculated, then corrected by what was measured there.

    gpu/physical.py   parts from the model's measures      +-10..20 %
    gpu/peaks.py      what workers measured on that card   the nearer the measurement, the less

An estimate never hides where it comes from: ``source`` says it, ``error`` is its bar.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from core.models import MODELS
from gpu.peaks import Peak, Peaks
from gpu.physical import Setup, calculate, calibrated_error

Fit = Literal["fits", "tight", "too large"]
"""fits: with the error bar. tight: without it."""

CONTEXT = "context and libraries"
"""The part that differs most between drivers and cards, so corrections go into it."""

SAME_SETUP_ERROR = 0.03
SAME_MODEL_ERROR = 0.06
SAME_CARD_ERROR = 0.10
"""Bars of estimates that rest on measurements of the very same set-up, of the same model and
compute type with another batch or beam, and of another model on the same card."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Memory of one worker process with one model."""

    parts: Mapping[str, float]
    """MiB by part, in order; their sum is the total."""
    total_mib: float
    error: float
    """Share of the total it may be off: 0.1 is 10 % either way."""
    source: str
    """Where it comes from, as a phrase for people."""

    @property
    def high_mib(self) -> float:
        """The total with its error bar: what has to be free to be sure."""
        return self.total_mib * (1 + self.error)

    @property
    def low_mib(self) -> float:
        return self.total_mib * (1 - self.error)

    def fit(self, free_mib: float) -> Fit:
        if self.high_mib <= free_mib:
            return "fits"
        return "tight" if self.total_mib <= free_mib else "too large"


def estimate(setup: Setup, peaks: Peaks | None = None, device_name: str = "") -> Estimate:
    """The best there is to say of a set-up on a device.

    Args:
        peaks: what was measured so far; None: calculate only.
        device_name: as NVML has it, or ``gpu.peaks.CPU``; empty: any card of that kind.
    """
    parts = calculate(setup)
    total = sum(parts.values())
    plain = Estimate(
        parts=parts, total_mib=total, error=calibrated_error(setup), source="calculated"
    )
    if peaks is None or not device_name:
        return plain
    known = peaks.of_device(device_name)
    exact = known.get(setup.key)
    if exact is not None:
        source = f"measured here {_times(exact.runs)}"
        return _corrected(plain, exact.peak_mib - total, SAME_SETUP_ERROR, source)
    near = [peak for peak in known.values() if _same_model(peak, setup)]
    if near:
        nearest = min(near, key=lambda peak: abs(peak.batch_size - setup.batch_size))
        source = f"calculated, corrected by batches of {nearest.batch_size} measured here"
        return _corrected(plain, _difference(nearest, setup), SAME_MODEL_ERROR, source)
    # Nothing can be calculated for a model outside the table whose files are not at hand.
    others = [peak for peak in known.values() if peak.model in MODELS]
    if others:
        differences = sorted(_difference(peak, setup) for peak in others)
        middle = differences[len(differences) // 2]
        source = "calculated, corrected by other models measured here"
        return _corrected(plain, middle, min(SAME_CARD_ERROR, plain.error), source)
    return plain


def _same_model(peak: Peak, setup: Setup) -> bool:
    return (peak.model, peak.compute_type) == (setup.model, setup.compute_type)


def _difference(peak: Peak, setup: Setup) -> float:
    """How much more a measured set-up took than was calculated for it."""
    measured = replace(setup, **peak.key._asdict())
    return peak.peak_mib - sum(calculate(measured).values())


def _corrected(plain: Estimate, difference: float, error: float, source: str) -> Estimate:
    parts = dict(plain.parts)
    # A large negative correction comes out of the other parts too: none may be less than nothing.
    missing = parts[CONTEXT] + difference
    parts[CONTEXT] = max(0.0, missing)
    rest = sum(parts.values()) - parts[CONTEXT]
    if missing < 0 and rest > 0:
        shrink = max(0.0, 1 + missing / rest)
        parts = {name: size if name == CONTEXT else size * shrink for name, size in parts.items()}
    return Estimate(parts=parts, total_mib=sum(parts.values()), error=error, source=source)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"
