from __future__ import annotations

import json
from typing import Any

import pytest

from finetuning.plan import FinetunePlan, Wishes, plan_finetune
from finetuning.report import (
    advice,
    cards_table,
    checkpointing,
    describe,
    level_note,
    plan_data,
    verdict,
)


def plan(gb: float, **wishes: Any) -> FinetunePlan:
    return plan_finetune(Wishes(gpu_memory_mib=gb * 1024, **wishes))


def test_the_verdict_has_both_numbers() -> None:
    made = plan(12)
    assert made.chosen.fit == "fits"
    assert verdict(made).startswith(f"Fits: {made.estimate.total_mib:,.0f} MiB of 12,288 MiB")
    assert f"{made.estimate.high_mib:,.0f} MiB" in verdict(made)


def test_what_fits_without_its_error_bar_alone_is_tight() -> None:
    # The row of the V100: 14,451 MiB with eager attention, 16,160 on the card.
    made = plan(16_160 / 1024, base_model="medium", method="full", per_device_train_batch_size=2)
    assert made.chosen.fit == "tight"
    assert made.fits
    assert verdict(made).startswith("Tight")


def test_what_does_not_fit_says_by_how_much_and_what_would() -> None:
    made = plan(8, method="full")
    too_much = made.estimate.total_mib - 8192
    assert f"{too_much:,.0f} MiB more" in verdict(made)
    lines = advice(made)
    assert "needs at least" in lines[0]
    assert any("another method" in line for line in lines)
    assert "More GPUs" in lines[-1]
    assert advice(plan(12)) == []


def test_a_level_that_does_not_help_says_so() -> None:
    made = plan(24)
    assert made.options.gradient_accumulation_steps == 1
    assert "keeps all gradients" in level_note(made, made.levels[0])
    assert level_note(made, made.levels[2]) == ""
    smallest = plan(8, per_device_train_batch_size=4, per_device_eval_batch_size=8)
    assert level_note(smallest, smallest.levels[0]) == "as planned already"


def test_checkpointing_is_told_in_one_order() -> None:
    for gb in (12, 80):
        made = plan(gb)
        both = (made.estimate.total_mib, made.other_checkpointing.estimate.total_mib)
        assert f"With gradient checkpointing {min(both):,.0f} MiB" in checkpointing(made)


def test_a_way_is_described_in_a_line() -> None:
    made = plan(8, gpus=2)
    assert describe(made.chosen) == (
        "large-v3, LoRA adapters, weights in 8 bits, batch 8 x 1 x 2 GPUs, checkpointing"
    )


def test_every_common_card_gets_two_rows() -> None:
    rows = cards_table(Wishes(gpu_memory_mib=1))
    assert [gb for gb, _, _ in rows] == [8, 12, 16, 24, 40, 80]
    for gb, adapters, whole in rows:
        assert adapters.options.method == "lora"
        assert whole.options.method != "lora"
        assert adapters.estimate.high_mib <= gb * 1024
        assert whole.estimate.high_mib <= gb * 1024


def test_a_plan_is_data_for_programs() -> None:
    made = plan(8, method="full", used_mib=100)
    data = json.loads(json.dumps(plan_data(made)))
    assert data["verdict"] == "too large"
    assert data["used_by_others_mib"] == 100
    assert data["options"]["base_model"] == "large-v3"
    assert data["total_mib"] == pytest.approx(sum(data["breakdown_mib"].values()), abs=1)
    assert len(data["levels"]) == 3
    # Batches before 8 bits, as the sentence says.
    levels = [level["options"] for level in data["levels"]]
    assert [level["per_device_train_batch_size"] for level in levels] == [4, 2, 1]
    assert [level["use_8bit"] for level in levels] == [False, False, True]
    assert "Smaller batches come first" in data["order_of_levels"]
    assert data["instead"][0]["arguments"][0] == "--base_model=openai/whisper-large-v3"
