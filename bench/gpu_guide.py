"""The owner's guides' tables and decision tree, and what the calculation says in their place.

The guides were written for openai-whisper on PyTorch; ``docs/gpu-memory.md`` shows both side by
side, and ``tests/gpu/test_guide.py`` explains each difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from gpu import pytorch
from gpu.choice import choose
from gpu.plan import PlanQuery, card_of_size, plan_memory

MEMORY_GB: dict[str, tuple[float, float]] = {
    "tiny": (1.5, 1.0),
    "base": (1.5, 1.0),
    "small": (2.5, 1.5),
    "medium": (5.0, 3.0),
    "large": (10.0, 6.0),
    "large-v3": (10.0, 6.0),
}
"""The memory guide's table: float32 and float16."""

FITS_8_GB = {"tiny": True, "base": True, "small": True, "medium": True, "large-v3": False}
"""Its last column, for an RTX 4060: "may run out of memory" is no."""


@dataclass(frozen=True, slots=True)
class CardAdvice:
    """A row of the calculation guide: what a card is good for."""

    name: str
    memory_gb: int
    model: str
    longest_segment_s: int
    tasks: tuple[int, int]
    """At least and at most so many at once."""


CARDS = (
    CardAdvice("GTX 1660", 6, "small", 300, (1, 1)),
    CardAdvice("RTX 3060", 8, "medium", 300, (1, 1)),
    CardAdvice("RTX 3070", 8, "medium", 600, (1, 1)),
    CardAdvice("RTX 3080", 10, "medium", 600, (1, 2)),
    CardAdvice("RTX 3090", 24, "large", 600, (2, 3)),
    CardAdvice("RTX 4090", 24, "large", 1200, (2, 3)),
)

SEGMENTS_S = (1200, 600, 300, 120, 60, 30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the calculation says of a card."""

    model: str
    """The best model for transcription, ``auto``'s choice."""
    compute_type: str
    batch_size: int
    tasks: int
    """How many of the guide's model at once, one window at a time."""
    largest: str
    """The largest model that fits."""


def our_answer(memory_gb: float, model: str) -> Answer:
    """For a card of that size and the model the guide names for it."""
    card = card_of_size(memory_gb)
    best = plan_memory(PlanQuery(), card)
    named = plan_memory(PlanQuery(model=model, batch_size=1), card)
    largest = choose(card, ["large-v3", "medium", "small", "base", "tiny"])
    return Answer(
        model=best.setup.model,
        compute_type=best.setup.compute_type,
        batch_size=best.setup.batch_size,
        tasks=named.tasks_at_once,
        largest="none" if largest is None else largest.setup.model,
    )


def longest_segment_s(memory_gb: float, model: str) -> int | None:
    """What the guide's own formula admits on a card; None: not even 30 s."""
    for seconds in SEGMENTS_S:
        if pytorch.recommended(model, seconds, 1, "float16") <= Decimal(str(memory_gb)):
            return seconds
    return None


def decide(memory_gb: float, *, highest_quality: bool) -> str:
    """The decision tree, calculated: the model and compute type for a card, or ``cpu``.

    The guide's: from 8 GB medium with float16 for the highest quality and small for speed, below
    that the CPU or tiny.
    """
    card = card_of_size(memory_gb)
    if highest_quality:
        choice = choose(card, ["large-v3", "large-v3-turbo", "medium", "small", "base", "tiny"])
    else:
        choice = choose(card, ["large-v3-turbo", "small", "base", "tiny"])
    if choice is None:
        return "cpu"
    return f"{choice.setup.model} {choice.setup.compute_type}"
