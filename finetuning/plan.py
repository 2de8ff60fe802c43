"""Chooses how to fine-tune a model in the memory there is, and says what each way would take.

Of everything the user did not fix, the least harmful is given up first: the size of the batch on
the card (accumulation keeps the effective batch), time (checkpointing), the precision of the
optimizer, training all weights, the precision of the frozen weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from core.errors import InvalidOption
from core.models import SIZES, shape_of
from finetuning.memory import CONTEXT_MIB, FinetuneEstimate, estimate_finetune
from finetuning.options import MAX_BATCH, Attention, FinetuneOptions, Method
from gpu.choice import Card
from gpu.estimate import Fit

AIM = 16
"""Effective batch size where none is given."""
EVALUATION_BATCHES = (8, 4, 2, 1)
KEEPS_BUSY = 4
"""Clips of 30 s that keep a GPU busy; fewer are worse than checkpointing, more are not needed."""

WAYS: tuple[tuple[Method, bool], ...] = (
    ("full", False),
    ("8bit", False),
    ("lora", False),
    ("lora", True),
)
"""Method and ``use_8bit``, by increasing harm."""

FIXED = (
    "base_model", "gpus", "fp16", "max_audio_len", "pad_to_30s", "label_tokens", "lora_rank",
    "attention",
)  # fmt: skip
"""Options that are never chosen: the wish is what is done."""

LADDER = ("large-v3", *reversed(SIZES))
"""Models that people fine-tune, by decreasing size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What is asked of a plan; None: choose."""

    base_model: str = "large-v3"
    gpu_memory_mib: float
    used_mib: float = 0.0
    """Held by others on the card."""
    gpus: int = 1
    method: Method | None = None
    per_device_train_batch_size: int | None = None
    per_device_eval_batch_size: int | None = None
    gradient_accumulation_steps: int | None = None
    use_8bit: bool | None = None
    gradient_checkpointing: bool | None = None
    fp16: bool = True
    max_audio_len: float = 30.0
    pad_to_30s: bool = True
    label_tokens: int = 0
    lora_rank: int = 32
    attention: Attention = "sdpa"

    @classmethod
    def on(cls, card: Card, **asked: Any) -> Wishes:
        """For a GPU as it is now."""
        return cls(gpu_memory_mib=card.total_mib, used_mib=card.total_mib - card.free_mib, **asked)

    def __post_init__(self) -> None:
        if not self.gpu_memory_mib > 0:
            raise InvalidOption("The GPU has no memory.", hint="Give its gigabytes, such as 12.")

    @property
    def free_mib(self) -> float:
        return max(0.0, self.gpu_memory_mib - self.used_mib)

    def fit(self, estimate: FinetuneEstimate) -> Fit:
        return estimate.fit(self.free_mib)


@dataclass(frozen=True)
class Way:
    """Options with what they take, and whether that fits."""

    name: str
    options: FinetuneOptions
    wishes: Wishes

    @cached_property
    def estimate(self) -> FinetuneEstimate:
        return estimate_finetune(self.options)

    @property
    def fit(self) -> Fit:
        return self.wishes.fit(self.estimate)


@dataclass(frozen=True, kw_only=True)
class FinetunePlan:
    """What to do, what it takes and what else there is."""

    wishes: Wishes
    chosen: Way
    levels: tuple[Way, ...]
    """The guide's three adjustments for this case: batch 4, batch 2, batch 1 with 8 bits."""
    other_checkpointing: Way
    """The same with checkpointing the other way round."""
    instead: tuple[Way, ...]
    """Where nothing fits: what would, nearest first."""

    @property
    def options(self) -> FinetuneOptions:
        return self.chosen.options

    @property
    def estimate(self) -> FinetuneEstimate:
        return self.chosen.estimate

    @property
    def fits(self) -> bool:
        return self.chosen.fit != "too large"


def plan_finetune(wishes: Wishes) -> FinetunePlan:
    """The best way that fits; where none does, the smallest there is and what would fit instead.

    Raises:
        InvalidOption, ModelError: wishes that contradict each other, or an unknown model.
    """
    chosen = _best(wishes)
    options = chosen.options
    other = replace(options, gradient_checkpointing=not options.gradient_checkpointing)
    return FinetunePlan(
        wishes=wishes,
        chosen=chosen,
        levels=_levels(chosen),
        other_checkpointing=Way("checkpointing", other, wishes),
        instead=_instead(wishes) if chosen.fit == "too large" else (),
    )


def recommend(wishes: Wishes, ways: tuple[Method, ...] = ("full", "8bit", "lora")) -> FinetunePlan:
    """The largest model that fits by one of these methods, and how; the smallest if none does."""
    plans = (
        plan_finetune(replace(wishes, base_model=model, method=method))
        for model in LADDER
        for method in ways
    )
    last = None
    for last in plans:
        if last.chosen.fit == "fits":
            return last
    assert last is not None, "there are models"
    return last


def _best(wishes: Wishes) -> Way:
    """The first way that fits, or else the first that is tight, or else the smallest."""
    tight = smallest = None
    for options in _ways(wishes):
        way = Way("plan", _with_evaluation(options, wishes), wishes)
        if way.fit == "fits":
            return way
        if way.fit == "tight" and tight is None:
            tight = way
        if smallest is None or way.estimate.total_mib < smallest.estimate.total_mib:
            smallest = way
    best = tight or smallest
    assert best is not None, "there is always a way to try"
    return best


def _ways(wishes: Wishes) -> Iterator[FinetuneOptions]:
    """Everything that agrees with the wishes, the least harmful first."""
    fixed: dict[str, Any] = {name: getattr(wishes, name) for name in FIXED}
    evaluation = wishes.per_device_eval_batch_size
    for method, use_8bit in _methods(wishes):
        for checkpointing, batch, steps in _batches(wishes, use_8bit):
            yield FinetuneOptions(
                **fixed,
                method=method,
                use_8bit=use_8bit,
                gradient_checkpointing=checkpointing,
                per_device_train_batch_size=batch,
                per_device_eval_batch_size=1 if evaluation is None else evaluation,
                gradient_accumulation_steps=steps,
            )


def _methods(wishes: Wishes) -> list[tuple[Method, bool]]:
    asked = [
        (method, use_8bit)
        for method, use_8bit in WAYS
        if wishes.method in (None, method) and wishes.use_8bit in (None, use_8bit)
    ]
    if not asked:
        # The options themselves say why a method cannot have weights in 8 bits.
        assert wishes.method is not None
        return [(wishes.method, bool(wishes.use_8bit))]
    return asked


def _batches(wishes: Wishes, use_8bit: bool) -> Iterator[tuple[bool, int, int]]:
    """Checkpointing, batch and accumulation, the fastest first."""
    sizes = list(_sizes(wishes))
    asked = wishes.gradient_checkpointing
    # Trainers switch checkpointing on where they load weights in 8 bits.
    if asked is not True and not use_8bit:
        yield from ((False, *size) for size in sizes if size[0] >= KEEPS_BUSY)
    if asked is not False:
        yield from ((True, *size) for size in sizes)
    if asked is not True:
        yield from ((False, *size) for size in sizes)


def _sizes(wishes: Wishes) -> Iterator[tuple[int, int]]:
    """Batches on one GPU with the accumulation that keeps the effective batch, largest first."""
    batch, steps, gpus = (
        wishes.per_device_train_batch_size,
        wishes.gradient_accumulation_steps,
        max(1, wishes.gpus),
    )
    if batch is not None:
        yield batch, steps if steps is not None else _steps(batch, gpus)
        return
    share = max(1, AIM // max(1, (steps or 1) * gpus))
    size = 1 << (share.bit_length() - 1)
    while size:
        yield size, steps if steps is not None else _steps(size, gpus)
        size //= 2


def _steps(batch: int, gpus: int) -> int:
    return math.ceil(AIM / max(1, batch * gpus))


def _with_evaluation(options: FinetuneOptions, wishes: Wishes) -> FinetuneOptions:
    """The largest batch for evaluation that makes nothing worse."""
    if wishes.per_device_eval_batch_size is not None:
        return options
    alone = estimate_finetune(options)
    fit = wishes.fit(alone)
    for size in EVALUATION_BATCHES:
        larger = replace(options, per_device_eval_batch_size=size)
        estimate = estimate_finetune(larger)
        if estimate.total_mib <= alone.total_mib or fit == wishes.fit(estimate) != "too large":
            return larger
    return options


def _levels(chosen: Way) -> tuple[Way, ...]:
    """Batch 4, 2 and 1 as in the guide, with the accumulation that keeps the effective batch."""
    options = chosen.options
    clips = options.per_device_train_batch_size * options.gradient_accumulation_steps

    def level(name: str, size: int, **other: Any) -> Way:
        batch = min(size, clips)
        steps = min(MAX_BATCH, math.ceil(clips / batch))
        changed = {"per_device_train_batch_size": batch, "gradient_accumulation_steps": steps}
        return Way(name, replace(options, **{**changed, **other}), chosen.wishes)

    evaluation = {"per_device_eval_batch_size": min(2, options.per_device_eval_batch_size)}
    eight_bits = {"method": "lora", "use_8bit": True, "gradient_checkpointing": True}
    return (
        level("slightly short of memory", 4),
        level("seriously short of memory", 2, **evaluation),
        level("extremely short of memory", 1, **evaluation, **eight_bits),
    )


def _instead(wishes: Wishes) -> tuple[Way, ...]:
    """What would fit if one wish or another were given up: first the settings, then the model."""
    free = dict.fromkeys(
        ("per_device_train_batch_size", "per_device_eval_batch_size",
         "gradient_accumulation_steps", "gradient_checkpointing")
    )  # fmt: skip
    eased: list[tuple[str, dict[str, Any]]] = [
        ("other batches or checkpointing", free),
        ("another method", {**free, "method": None, "use_8bit": None}),
    ]
    size = FinetuneOptions(base_model=wishes.base_model).shape.parameters
    smaller = [name for name in LADDER if shape_of(name).parameters < size]
    eased += [("a smaller model", {**eased[1][1], "base_model": name}) for name in smaller]
    found: dict[FinetuneOptions, Way] = {}
    for name, change in eased:
        best = _best(replace(wishes, **change))
        if best.fit != "too large":
            found.setdefault(best.options, Way(name, best.options, wishes))
    return tuple(found.values())[:3]


def least_mib(wishes: Wishes) -> float:
    """What the smallest way that agrees with the wishes takes."""
    tiny_card = replace(wishes, gpu_memory_mib=CONTEXT_MIB / 2, used_mib=0.0)
    return _best(tiny_card).estimate.total_mib
