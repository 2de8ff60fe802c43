"""The rule of thumb for openai-whisper on PyTorch, as the owner's guide gives it, to the digit.

    audio    = base x 0.15 x segment seconds / 30
    batch    = 0.2 GB + audio x batch size
    overhead = (base + batch) x 0.25
    total    = base + audio + batch + overhead;  recommended = total x 1.2

It is not what our engine takes (``gpu.physical`` is): PyTorch keeps more around a model, and
CTranslate2's memory does not grow with a segment, because a window is never longer than 30 s.
Decimal arithmetic, so that sums come out as on paper.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from core.errors import InvalidOption
from core.models import SIZES, named_model, shape_of

PRECISIONS = ("float32", "float16", "int8", "int4")

BASE_GB: dict[str, tuple[Decimal, ...]] = {
    name: tuple(map(Decimal, row.split()))
    for name, row in {
        "tiny": "1.5 0.8 0.4 0.2",
        "base": "2.0 1.0 0.5 0.25",
        "small": "3.0 1.5 0.75 0.375",
        "medium": "5.0 2.5 1.25 0.625",
        "large": "10.0 5.0 2.5 1.25",
    }.items()
}
"""Memory of the model itself, in the order of ``PRECISIONS``."""

AUDIO_SHARE = Decimal("0.15")
BATCH_FIXED_GB = Decimal("0.2")
OVERHEAD_SHARE = Decimal("0.25")
MARGIN = Decimal("1.2")
WINDOW_S = Decimal(30)


def row_of(model_name: str) -> str:
    """The guide's row of a model: all large ones share one; distilled ones, which it does not know,
    take the row with the next larger number of parameters.

    Raises:
        ModelError: the model is unknown.
    """
    name = named_model(model_name).name
    if name.startswith("large"):
        return "large"
    plain = name.removesuffix(".en")
    if plain in BASE_GB:
        return plain
    parameters = shape_of(name).parameters
    return next((row for row in SIZES if shape_of(row).parameters >= parameters), "large")


def calculate(
    model_name: str, segment_duration: float, batch_size: int, precision: str
) -> dict[str, Decimal]:
    """GB by part, in the guide's order: base_model, audio_processing, batch_processing,
    pytorch_overhead.

    Raises:
        ModelError, InvalidOption: a model or precision the guide's table does not have.
    """
    if precision not in PRECISIONS:
        raise InvalidOption(
            f"The rule for PyTorch has no precision {precision!r}.",
            hint=f"Choose from: {', '.join(PRECISIONS)}.",
        )
    base = BASE_GB[row_of(model_name)][PRECISIONS.index(precision)]
    audio = base * AUDIO_SHARE * Decimal(str(segment_duration)) / WINDOW_S
    batch = BATCH_FIXED_GB + audio * batch_size
    return {
        "base_model": base,
        "audio_processing": audio,
        "batch_processing": batch,
        "pytorch_overhead": (base + batch) * OVERHEAD_SHARE,
    }


def recommended(
    model_name: str, segment_duration: float, batch_size: int, precision: str
) -> Decimal:
    """GB with the guide's margin."""
    parts = calculate(model_name, segment_duration, batch_size, precision)
    return sum(parts.values(), Decimal(0)) * MARGIN


SEGMENTS_S = (600, 300, 120, 60, 30)
SMALLER = ("large", *reversed(SIZES))
"""The guide's models, largest first."""


def suggest(
    model_name: str, segment_duration: float, batch_size: int, precision: str, free_gb: float
) -> Iterator[str]:
    """What the guide advises where memory is short, in its order, each with its numbers: shorter
    segments, a smaller batch, a lower precision, a smaller model; those alone that suffice."""
    asked: dict[str, Any] = {
        "model_name": model_name,
        "segment_duration": segment_duration,
        "batch_size": batch_size,
        "precision": precision,
    }
    shorter = [seconds for seconds in SEGMENTS_S if seconds < segment_duration]
    row, place = SMALLER.index(row_of(model_name)), PRECISIONS.index(precision)
    changes: tuple[tuple[str, str, Sequence[float | str]], ...] = (
        ("Use segments of {} s", "segment_duration", shorter),
        ("Use a batch of {}", "batch_size", [size for size in (8, 4, 2, 1) if size < batch_size]),
        ("Use {}", "precision", PRECISIONS[place + 1 : -1]),
        ("Use the model {}", "model_name", SMALLER[row + 1 :]),
    )
    for text, setting, values in changes:
        for value in values:
            needed = recommended(**asked | {setting: value})
            if needed <= Decimal(str(free_gb)):
                yield f"{text.format(value)}: {needed:.1f} GB."
                break
