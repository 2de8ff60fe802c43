from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidOption
from finetuning.memory import estimate_finetune
from finetuning.options import EFFECTIVE
from finetuning.plan import (
    LADDER,
    Wishes,
    least_mib,
    plan_finetune,
    recommend,
)
from finetuning.report import warnings

GB = 1024.0

maybe_batch = st.none() | st.sampled_from((1, 2, 3, 4, 8, 16))
wishes_of = st.builds(
    Wishes,
    base_model=st.sampled_from((*LADDER, "large-v3-turbo", "distil-small.en")),
    gpu_memory_mib=st.floats(2 * GB, 80 * GB),
    used_mib=st.sampled_from((0.0, 1500.0)),
    gpus=st.sampled_from((1, 2, 3, 4, 8)),
    method=st.sampled_from((None, "full", "8bit", "lora")),
    per_device_train_batch_size=maybe_batch,
    per_device_eval_batch_size=maybe_batch,
    gradient_accumulation_steps=maybe_batch,
    gradient_checkpointing=st.sampled_from((None, True, False)),
    fp16=st.booleans(),
)


def plan(gb: float, **wishes: Any) -> Any:
    return plan_finetune(Wishes(gpu_memory_mib=gb * GB, **wishes))


@given(wishes_of)
def test_a_plan_never_takes_more_than_is_free(wishes: Wishes) -> None:
    made = plan_finetune(wishes)
    assert made.fits == (made.estimate.total_mib <= wishes.free_mib)
    if made.chosen.fit == "fits":
        assert made.estimate.high_mib <= wishes.free_mib
    for way in made.instead:
        assert way.estimate.total_mib <= wishes.free_mib
    assert made.fits or least_mib(wishes) > wishes.free_mib


@given(wishes_of)
def test_everything_that_was_fixed_is_kept(wishes: Wishes) -> None:
    options = plan_finetune(wishes).options
    for name in (
        "method", "per_device_train_batch_size", "per_device_eval_batch_size",
        "gradient_accumulation_steps", "gradient_checkpointing",
    ):  # fmt: skip
        asked = getattr(wishes, name)
        assert asked is None or asked == getattr(options, name), name
    assert options.gpus == wishes.gpus
    assert options.fp16 == wishes.fp16


@given(wishes_of)
def test_the_effective_batch_stays_where_it_should(wishes: Wishes) -> None:
    options = plan_finetune(wishes).options
    batch, steps = wishes.per_device_train_batch_size, wishes.gradient_accumulation_steps
    if batch is None or steps is None:
        fixed = (batch or 1) * (steps or 1) * wishes.gpus
        assert options.effective_batch_size in EFFECTIVE or fixed not in EFFECTIVE
    if batch is None and steps is None:
        assert options.effective_batch_size in EFFECTIVE


@given(wishes_of)
def test_levels_keep_the_effective_batch(wishes: Wishes) -> None:
    made = plan_finetune(wishes)
    for level in made.levels:
        effective = level.options.effective_batch_size
        assert effective >= made.options.effective_batch_size
        assert effective < made.options.effective_batch_size + 4 * wishes.gpus


def test_levels_are_the_guides() -> None:
    # The guide begins with 8 clips in one step.
    made = plan(
        12, method="lora", use_8bit=False, per_device_train_batch_size=8,
        gradient_accumulation_steps=1, per_device_eval_batch_size=8,
    )  # fmt: skip
    first, second, third = (level.options for level in made.levels)
    batches = [
        (o.per_device_train_batch_size, o.per_device_eval_batch_size, o.gradient_accumulation_steps)
        for o in (first, second, third)
    ]
    assert batches == [(4, 8, 2), (2, 2, 4), (1, 2, 8)]
    assert [o.use_8bit for o in (first, second, third)] == [False, False, True]
    taken = [level.estimate.total_mib for level in made.levels]
    assert taken == sorted(taken, reverse=True)
    assert made.estimate.total_mib > taken[0]


@pytest.mark.parametrize(
    ("gb", "method", "use_8bit"),
    [(80, "full", False), (24, "8bit", False), (12, "lora", False), (8, "lora", True)],
)
def test_the_least_harmful_method_that_fits_is_chosen(
    gb: float, method: str, use_8bit: bool
) -> None:
    options = plan(gb).options
    assert (options.method, options.use_8bit) == (method, use_8bit)


def test_checkpointing_is_used_only_when_needed() -> None:
    assert not plan(80).options.gradient_checkpointing
    assert plan(40).options.gradient_checkpointing


def test_the_other_checkpointing_is_told_too() -> None:
    made = plan(12)
    other = made.other_checkpointing
    assert other.options == replace(made.options, gradient_checkpointing=False)
    assert other.estimate.total_mib > made.estimate.total_mib


def test_others_on_the_card_are_planned_around() -> None:
    alone, shared = plan(12), plan(12, used_mib=6000)
    assert shared.estimate.high_mib <= 12 * GB - 6000 < alone.estimate.high_mib
    assert any("6,000 MiB" in line for line in warnings(shared))


def test_what_would_fit_is_said_where_nothing_does() -> None:
    made = plan(8, method="full")
    assert not made.fits
    assert made.instead[0].options.base_model == "large-v3"
    assert made.instead[0].options.method == "lora"
    assert any(way.options.base_model == "medium" for way in made.instead)


def test_fixed_batches_are_given_up_before_the_method() -> None:
    made = plan(12, method="lora", per_device_train_batch_size=64, gradient_checkpointing=True)
    assert not made.fits
    assert made.instead[0].name == "other batches or checkpointing"
    assert made.instead[0].options.method == "lora"


def test_a_card_too_small_for_anything_gets_no_false_hope() -> None:
    made = plan(0.5, base_model="tiny")
    assert not made.fits
    assert made.instead == ()


def test_the_evaluation_is_as_large_as_it_does_no_harm() -> None:
    made = plan(8)
    options = made.options
    assert options.per_device_eval_batch_size == 8
    alone = replace(options, per_device_eval_batch_size=1)
    assert made.wishes.fit(estimate_finetune(alone)) == made.chosen.fit


@pytest.mark.parametrize(("gb", "model"), [(8, "small"), (12, "medium"), (24, "large-v3")])
def test_the_largest_model_with_all_weights(gb: float, model: str) -> None:
    made = recommend(Wishes(gpu_memory_mib=gb * GB), ("full", "8bit"))
    assert made.chosen.fit == "fits"
    assert made.options.base_model == model


@pytest.mark.parametrize(
    ("wishes", "word"),
    [
        ({"per_device_train_batch_size": 1, "gradient_accumulation_steps": 1}, "small"),
        ({"per_device_train_batch_size": 16, "gradient_accumulation_steps": 4}, "large"),
        ({"per_device_train_batch_size": 1}, "slow training"),
        ({"method": "lora", "use_8bit": True, "fp16": False}, "slower"),
        ({"method": "lora", "use_8bit": True}, "bitsandbytes"),
        ({"fp16": False}, "Without fp16"),
        ({"max_audio_len": 15}, "padded to 30 s"),
        ({"pad_to_30s": False}, "refuses"),
        ({"gpus": 2}, "whole copy"),
        ({"use_8bit": True, "gradient_checkpointing": False}, "by themselves"),
    ],
    ids=str,
)
def test_what_to_know_is_said(wishes: dict[str, Any], word: str) -> None:
    assert any(word in line for line in warnings(plan(80, **wishes)))


def test_a_plain_plan_has_nothing_to_warn_of() -> None:
    assert warnings(plan(80)) == []


def test_wishes_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(InvalidOption, match="8-bit weights cannot be trained"):
        plan(80, method="full", use_8bit=True)
    with pytest.raises(InvalidOption):
        plan(0)
