"""Which model, compute type and batch a device uses if they are left open: the best that fit.

Quality goes first, then the model's own precision, then the batch: a smaller batch is only slower.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from core.models import BEST_FIRST, SIZES, find_model
from gpu import support
from gpu.estimate import Estimate, estimate
from gpu.nvml import GpuProcess
from gpu.peaks import CPU, Peaks
from gpu.physical import Setup
from gpu.support import Capability

BATCHES = (16, 12, 8, 6, 4, 3, 2, 1)
"""Batches worth trying, largest first. On an RTX 3090 16 windows together are 7 % faster than 8
with large-v2 and no faster with turbo (speaches#169), so only requests that ask for more get it."""

CPU_BATCH = 8
"""Windows together on a CPU, with which the README's speeds are measured; there only the searches
are batched, the encoder takes three windows at a time."""

TRANSCRIBERS = BEST_FIRST[1:]
"""For transcription, best first. large-v3 is not among them: turbo takes a third to a half of its
time (faster-whisper#1030, speaches#169) for about the same words, so it must be asked for."""
TRANSLATORS = ("large-v3", "large-v2", *reversed(SIZES))
"""For translation into English, which turbo never learned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """Where something is to run, as far as memory goes."""

    label: str
    """As people call it: ``GPU 0``."""
    free_mib: float
    total_mib: float
    name: str = ""
    """What measurements are kept under: NVML's name, or ``CPU``."""
    capability: Capability | None = None
    kind: Literal["cuda", "cpu"] = "cuda"
    holders: tuple[GpuProcess, ...] = ()
    """The processes with memory there, other programs' too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What fits."""

    setup: Setup
    estimate: Estimate

    @property
    def needs(self) -> str:
        return f"{self.estimate.total_mib:,.0f} MiB ±{self.estimate.error:.0%}"


Judge = Callable[[Setup], Estimate]


def judge(card: Card, peaks: Peaks | None) -> Judge:
    """Estimates for a card, with what was measured on its like."""
    name = CPU if card.kind == "cpu" else card.name
    return lambda setup: estimate(setup, peaks, name)


def on_card(setup: Setup, card: Card) -> Setup:
    """The set-up with the card's abilities."""
    return replace(setup, kind=card.kind, capability=card.capability)


def fits(card: Card, found: Estimate) -> bool:
    """With its whole error bar: what only may fit is not chosen by ourselves."""
    return found.fit(card.free_mib) == "fits"


def best_batch(
    setup: Setup, card: Card, peaks: Peaks | None = None, most: int = BATCHES[0]
) -> int | None:
    """The largest useful batch that fits, up to ``most``; None: not even one window does."""
    if card.kind == "cpu":
        most = min(most, CPU_BATCH)
    calculate, setup = judge(card, peaks), on_card(setup, card)
    sizes = (batch for batch in BATCHES if batch <= most)
    return next((n for n in sizes if fits(card, calculate(replace(setup, batch_size=n)))), None)


def compute_types(card: Card, asked: str) -> tuple[str, ...]:
    """What to try, best first: the one that was asked for, or all that the card is good at."""
    if asked != "auto":
        return (asked,)
    return ("int8",) if card.kind == "cpu" else support.preferred(card.capability)


def candidates(
    task: str = "transcribe", language: str | None = None, available: Sequence[str] | None = None
) -> tuple[str, ...]:
    """Models that can do a task and hear a language, best first; of ``available`` alone, if given.

    A language that is not known yet may be any.
    """
    order = TRANSLATORS if task == "translate" else TRANSCRIBERS
    if available is not None:
        order = (*order, *(name for name in available if name not in order))
    return tuple(name for name in order if _able(name, task, language, available))


def _able(name: str, task: str, language: str | None, available: Sequence[str] | None) -> bool:
    info = find_model(name)
    if info is None or (available is not None and name not in available):
        return False
    if task == "translate" and not info.can_translate:
        return False
    return language in info.languages if language else info.only_language is None


def choose(
    card: Card,
    models: Sequence[str],
    *,
    compute_type: str = "auto",
    batch_size: int = 0,
    beam_size: int = 5,
    peaks: Peaks | None = None,
) -> Choice | None:
    """The first model that fits, in its best compute type, with the largest batch (0: choose).

    None: none of them fits.
    """
    calculate = judge(card, peaks)
    for setup in _setups(card, models, compute_type, beam_size):
        batch = batch_size or best_batch(setup, card, peaks)
        if batch is None:
            continue
        setup = replace(setup, batch_size=batch)
        found = calculate(setup)
        if fits(card, found):
            return Choice(setup=setup, estimate=found)
    return None


def _setups(
    card: Card, models: Sequence[str], compute_type: str, beam_size: int
) -> Iterator[Setup]:
    for model in models:
        for kind in compute_types(card, compute_type):
            yield on_card(Setup(model=model, compute_type=kind, beam_size=beam_size), card)
