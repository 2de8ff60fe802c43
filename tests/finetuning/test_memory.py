from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidOption, ModelError
from core.models import MODELS
from finetuning.memory import (
    ACTIVATIONS,
    ADAPTERS,
    BUCKETS,
    CONTEXT,
    COPIES,
    END,
    EVALUATING,
    GRADIENTS,
    LOGIT_PART,
    LOSS,
    OPTIMIZER,
    PARTS,
    RESERVE,
    WEIGHTS,
    estimate_finetune,
)
from finetuning.options import METHODS, FinetuneOptions
from scripts.finetune_tables import alive_mib, counted

MIB = 1024 * 1024
LARGE_V3 = 1_543_490_560
"""Parameters of large-v3."""


def parts_of(**options: Any) -> dict[str, float]:
    return dict(estimate_finetune(FinetuneOptions(**options)).parts)


def options_of(**fixed: Any) -> st.SearchStrategy[FinetuneOptions]:
    small = st.integers(1, 64)
    free: dict[str, st.SearchStrategy[Any]] = {
        "base_model": st.sampled_from(sorted(MODELS)),
        "method": st.sampled_from(tuple(METHODS)),
        "per_device_train_batch_size": small,
        "per_device_eval_batch_size": small,
        "gradient_accumulation_steps": st.integers(1, 32),
        "gpus": st.integers(1, 8),
        "fp16": st.booleans(),
        "gradient_checkpointing": st.booleans(),
        "max_audio_len": st.floats(1, 30),
        "pad_to_30s": st.booleans(),
        "label_tokens": st.integers(0, 448),
        "attention": st.sampled_from(("sdpa", "eager")),
    }
    chosen = free | {name: st.just(value) for name, value in fixed.items()}
    return st.builds(FinetuneOptions, **chosen)


@pytest.mark.parametrize(
    ("options", "peak_mib"),
    [pytest.param(*row, id=" ".join(row[0].arguments())) for row in counted()],
)
def test_a_counted_training_step_is_met(options: FinetuneOptions, peak_mib: float) -> None:
    # The smallest steps are mostly the embedding's gradient, which comes in pieces.
    assert alive_mib(estimate_finetune(options)) == pytest.approx(peak_mib, rel=0.01, abs=60)


def test_full_training_takes_16_bytes_a_parameter_before_anything_is_calculated() -> None:
    estimate = estimate_finetune(
        FinetuneOptions(
            base_model="large-v3",
            gradient_checkpointing=True,
            per_device_train_batch_size=1,
            per_device_eval_batch_size=1,
        )
    )
    assert estimate.moment == END
    assert estimate.trainable == LARGE_V3
    assert estimate.parts[WEIGHTS] == pytest.approx(4 * LARGE_V3 / MIB)
    assert estimate.parts[OPTIMIZER] == pytest.approx(8 * LARGE_V3 / MIB)
    assert estimate.parts[GRADIENTS] == pytest.approx(4 * LARGE_V3 / MIB)


def test_states_of_8_bits_take_a_quarter() -> None:
    parts = parts_of(base_model="large-v3", method="8bit", gradient_checkpointing=True)
    assert parts[OPTIMIZER] == pytest.approx(2.03 * LARGE_V3 / MIB)


def test_adapters_are_those_of_the_published_run() -> None:
    # fast-whisper-finetuning prints: trainable params: 15728640 for rank 32 on q and v.
    estimate = estimate_finetune(FinetuneOptions(base_model="large-v2", method="lora"))
    assert estimate.trainable == 15_728_640
    assert estimate.parts[ADAPTERS] == 60.0
    assert estimate.parts[OPTIMIZER] == 120.0


def test_weights_in_8_bits_keep_embedding_norms_and_biases_in_32() -> None:
    # 32 encoder layers of 12 and 32 decoder layers of 16 squares of 1280, of 1,543,304,960 in all.
    matrices = 32 * (12 + 16) * 1280**2
    others = 1_543_304_960 - matrices
    parts = parts_of(base_model="large-v2", method="lora", use_8bit=True)
    assert parts[WEIGHTS] == pytest.approx((matrices + 4 * others) / MIB)


def test_activations_and_logits_by_hand() -> None:
    # tiny: width 384, 4 + 4 layers. Eight clips of 1500 positions, 100 tokens.
    states, tokens = 8 * 1500 * 384, 8 * 100 * 384
    features = 8 * 3000 * 80 * 4
    front, encoder = features + 14.5 * states, 4 * 42 * states
    decoder = 4 * (54 * tokens + 8 * states)
    estimate = estimate_finetune(
        FinetuneOptions(
            base_model="tiny",
            per_device_train_batch_size=8,
            per_device_eval_batch_size=1,
            label_tokens=100,
        )
    )
    assert estimate.moment == LOSS
    assert estimate.parts[ACTIVATIONS] == pytest.approx((front + encoder + decoder) / MIB)
    assert estimate.parts[LOGIT_PART] == pytest.approx(12 * 8 * 100 * 51865 / MIB)
    assert estimate.parts[COPIES] == pytest.approx(2 * (112 * 384**2 + 51865 * 384) / MIB)
    come_and_go = sum(estimate.parts[part] for part in (ACTIVATIONS, LOGIT_PART, COPIES))
    assert estimate.parts[RESERVE] == pytest.approx(0.05 * come_and_go)
    assert estimate.parts[CONTEXT] == 500


def test_checkpointing_keeps_a_layers_input_alone() -> None:
    parts = parts_of(
        base_model="large-v3", method="lora", gradient_checkpointing=True, label_tokens=1,
        per_device_train_batch_size=1, per_device_eval_batch_size=1,
    )  # fmt: skip
    states = 1500 * 1280
    front = 3000 * 128 * 4 + 18.5 * states
    assert parts[ACTIVATIONS] * MIB == pytest.approx(front + 32 * 4 * states, rel=0.01)


def test_logits_are_half_of_what_a_small_model_takes() -> None:
    parts = parts_of(base_model="tiny", method="lora", gradient_checkpointing=True)
    assert parts[LOGIT_PART] > sum(parts.values()) / 2


def test_padded_clips_take_the_same_whatever_their_length() -> None:
    long = FinetuneOptions(base_model="large-v3", label_tokens=100)
    short = replace(long, max_audio_len=15)
    assert estimate_finetune(short).parts == estimate_finetune(long).parts


def test_input_that_is_really_shortened_takes_less() -> None:
    long = FinetuneOptions(base_model="large-v3", label_tokens=100)
    half = replace(long, max_audio_len=15, pad_to_30s=False)
    assert half.positions == 750
    ratio = estimate_finetune(half).parts[ACTIVATIONS] / estimate_finetune(long).parts[ACTIVATIONS]
    assert ratio == pytest.approx(0.5, abs=0.05), "the transcripts are as long"


def test_shorter_clips_have_shorter_transcripts() -> None:
    assert FinetuneOptions(max_audio_len=30).tokens == 225
    assert FinetuneOptions(max_audio_len=20).tokens == 150


def test_a_large_evaluation_is_the_peak() -> None:
    options = FinetuneOptions(
        base_model="large-v3", method="lora", use_8bit=True, gradient_checkpointing=True,
        per_device_train_batch_size=1, per_device_eval_batch_size=64,
    )  # fmt: skip
    estimate = estimate_finetune(options)
    assert estimate.moment == EVALUATING
    assert GRADIENTS not in estimate.parts


def test_more_gpus_take_more_of_each() -> None:
    one = FinetuneOptions(base_model="small")
    alone, together = estimate_finetune(one), estimate_finetune(replace(one, gpus=4))
    assert together.parts[BUCKETS] == pytest.approx(4 * one.shape.parameters / MIB)
    assert together.total_mib > alone.total_mib


def test_accumulation_keeps_the_gradients() -> None:
    once = FinetuneOptions(base_model="large-v3", gradient_checkpointing=True)
    often = replace(once, gradient_accumulation_steps=2)
    assert estimate_finetune(often).moments[LOSS] > estimate_finetune(once).moments[LOSS]


@given(options_of(), st.integers(1, 64))
def test_a_larger_batch_never_takes_less(options: FinetuneOptions, more: int) -> None:
    larger = replace(
        options, per_device_train_batch_size=options.per_device_train_batch_size + more
    )
    assert estimate_finetune(larger).total_mib >= estimate_finetune(options).total_mib


@given(options_of(gradient_checkpointing=False))
def test_checkpointing_never_takes_more(options: FinetuneOptions) -> None:
    with_it = replace(options, gradient_checkpointing=True)
    # It keeps the input of the encoder's first layer twice, which the smallest models feel.
    slack = 1.001
    assert estimate_finetune(with_it).total_mib <= estimate_finetune(options).total_mib * slack


@given(options_of(method="lora"))
def test_8_bits_never_take_more(options: FinetuneOptions) -> None:
    in_8_bits = replace(options, use_8bit=True)
    assert estimate_finetune(in_8_bits).total_mib <= estimate_finetune(options).total_mib


@given(options_of())
def test_parts_are_named_ordered_and_complete(options: FinetuneOptions) -> None:
    estimate = estimate_finetune(options)
    assert [part for part in PARTS if part in estimate.parts] == list(estimate.parts)
    assert all(mib > 0 for mib in estimate.parts.values())
    assert sum(estimate.parts.values()) == pytest.approx(estimate.total_mib)
    assert estimate.total_mib == max(estimate.moments.values())
    assert estimate.low_mib < estimate.total_mib < estimate.high_mib


@pytest.mark.parametrize(
    "wrong",
    [
        {"per_device_train_batch_size": 0},
        {"gradient_accumulation_steps": 100_000},
        {"gpus": 0},
        {"max_audio_len": 31},
        {"label_tokens": 449},
        {"lora_rank": 0},
        {"method": "qlora"},
        {"attention": "flash"},
        {"method": "full", "use_8bit": True},
        {"method": "8bit", "use_8bit": True},
        {"max_audio_len": float("nan")},
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption):
        FinetuneOptions(**wrong)


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(ModelError):
        FinetuneOptions(base_model="openai/whisper-huge")


@pytest.mark.parametrize("name", ["large-v3", "whisper-large-v3", "openai/whisper-large-v3"])
def test_models_are_known_by_every_spelling(name: str) -> None:
    assert FinetuneOptions(base_model=name) == FinetuneOptions(base_model="large-v3")
