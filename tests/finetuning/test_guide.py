from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from finetuning.memory import ERROR, estimate_finetune
from finetuning.options import EFFECTIVE
from gpu.report import MIB_PER_GB
from scripts.finetune_guide import (
    GUIDE_GB,
    GUIDE_MODELS,
    MEASURED,
    Measured,
    guide_columns,
    guide_recommendation,
)
from scripts.finetune_tables import tables

PAGE = Path(__file__).resolve().parents[2] / "docs" / "fine-tuning-memory.md"


def named(run: Measured) -> str:
    return f"{run.what}, batch {run.options.per_device_train_batch_size}"


@pytest.mark.parametrize("run", [r for r in MEASURED if r.peak_mib and r.stated], ids=named)
def test_a_measured_run_with_everything_stated_is_within_the_bar(run: Measured) -> None:
    assert estimate_finetune(run.options).total_mib == pytest.approx(run.peak_mib, rel=ERROR)


@pytest.mark.parametrize("run", [r for r in MEASURED if r.card_mib and r.next_batch], ids=named)
def test_what_ran_on_a_card_fits_it_and_the_larger_batch_does_not(run: Measured) -> None:
    assert run.card_mib is not None
    assert run.next_batch is not None
    assert estimate_finetune(run.options).total_mib <= run.card_mib
    larger = replace(run.options, per_device_train_batch_size=run.next_batch)
    assert estimate_finetune(larger).total_mib > run.card_mib


@pytest.mark.parametrize("run", [r for r in MEASURED if not r.stated], ids=named)
def test_what_cannot_be_met_says_why(run: Measured) -> None:
    assert run.remark


@pytest.mark.parametrize("model", GUIDE_MODELS)
def test_the_guides_normal_mode_and_batch_1_are_met_within_a_third(model: str) -> None:
    normal, _, one = (estimate_finetune(options).total_mib for options in guide_columns(model))
    guide_normal, _, guide_one = (gb * MIB_PER_GB for gb in GUIDE_GB[model])
    assert normal == pytest.approx(guide_normal, rel=1 / 3)
    assert one == pytest.approx(guide_one, rel=1 / 3, abs=400)


def test_8_bits_halve_the_weights_of_large_models_but_not_the_logits_of_small_ones() -> None:
    def share(model: str) -> float:
        normal, eight_bits, _ = guide_columns(model)
        return estimate_finetune(eight_bits).total_mib / estimate_finetune(normal).total_mib

    assert share("large-v3") == pytest.approx(0.6, abs=0.03)
    assert share("tiny") > 0.9


@pytest.mark.parametrize("gb", [8, 12])
def test_the_guides_recommendation_fits_its_card(gb: int) -> None:
    options = guide_recommendation(gb)
    assert options is not None
    assert estimate_finetune(options).high_mib <= gb * MIB_PER_GB
    assert options.effective_batch_size in EFFECTIVE


def test_the_guides_recommendation_for_16_gb_needs_checkpointing() -> None:
    options = guide_recommendation(16)
    assert options is not None
    assert estimate_finetune(options).low_mib > 16 * MIB_PER_GB
    assert estimate_finetune(replace(options, gradient_checkpointing=True)).high_mib < 16 * 1024


def test_the_guide_has_nothing_for_smaller_cards() -> None:
    assert guide_recommendation(6) is None


def test_the_page_has_the_tables_as_they_are_calculated() -> None:
    lines = set(PAGE.read_text(encoding="utf-8").splitlines())
    missing = [line for table in tables().values() for line in table if line not in lines]
    assert missing == [], "run: python -m scripts.finetune_tables"
