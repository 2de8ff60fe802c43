"""The guide's formula, worked by hand."""

from __future__ import annotations

from decimal import Decimal

import pytest

from core.errors import InvalidOption
from gpu.pytorch import BASE_GB, calculate, recommended, row_of, suggest


@pytest.mark.parametrize(
    ("model", "seconds", "batch", "precision", "parts"),
    [
        # medium float16: 2.5; 2.5 x 0.15 x 10 = 3.75; 0.2 + 3.75 = 3.95; (2.5 + 3.95) / 4.
        ("medium", 300, 1, "float16", "2.5 3.75 3.95 1.6125"),
        ("tiny", 30, 1, "float16", "0.8 0.12 0.32 0.28"),
        ("base", 30, 4, "int8", "0.5 0.075 0.5 0.25"),
        ("small", 30, 1, "float32", "3.0 0.45 0.65 0.9125"),
        # large int8: 2.5; 2.5 x 0.15 x 20 = 7.5; 0.2 + 15 = 15.2; 17.7 / 4.
        ("large", 600, 2, "int8", "2.5 7.5 15.2 4.425"),
        ("large-v2", 30, 1, "int4", "1.25 0.1875 0.3875 0.409375"),
    ],
)
def test_formula_to_the_digit(
    model: str, seconds: int, batch: int, precision: str, parts: str
) -> None:
    found = calculate(model, seconds, batch, precision)
    assert list(found.values()) == list(map(Decimal, parts.split()))
    assert list(found) == [
        "base_model", "audio_processing", "batch_processing", "pytorch_overhead",
    ]  # fmt: skip


def test_recommended_is_a_fifth_more() -> None:
    assert recommended("medium", 300, 1, "float16") == Decimal("14.175")
    assert recommended("large", 600, 2, "int8") == Decimal("35.55")


def test_base_memory_is_the_guides_table() -> None:
    assert {row: " ".join(map(str, sizes)) for row, sizes in BASE_GB.items()} == {
        "tiny": "1.5 0.8 0.4 0.2",
        "base": "2.0 1.0 0.5 0.25",
        "small": "3.0 1.5 0.75 0.375",
        "medium": "5.0 2.5 1.25 0.625",
        "large": "10.0 5.0 2.5 1.25",
    }


@pytest.mark.parametrize(
    ("model", "row"),
    [("large-v1", "large"), ("turbo", "large"), ("base.en", "base"), ("distil-large-v3", "medium"),
     ("distil-small.en", "small"), ("distil-medium.en", "medium")],
)  # fmt: skip
def test_models_the_guide_does_not_name_have_a_row(model: str, row: str) -> None:
    assert row_of(model) == row


def test_unknown_precision_is_an_error() -> None:
    with pytest.raises(InvalidOption, match="no precision 'float8'"):
        calculate("base", 30, 1, "float8")


def test_suggestions_are_the_least_changes_that_suffice() -> None:
    assert list(suggest("large", 30, 1, "float16", 8.0)) == [
        "Use int8: 5.1 GB.",
        "Use the model medium: 5.1 GB.",
    ]
    assert list(suggest("large", 600, 2, "float16", 24.0)) == [
        "Use segments of 120 s: 20.4 GB.",
        "Use the model small: 21.4 GB.",
    ]
    assert list(suggest("tiny", 30, 1, "int8", 0.1)) == []
