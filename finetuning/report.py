"""A fine-tuning plan as plain data and as sentences, which every front shows alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from finetuning.options import EFFECTIVE, WINDOW_S, FinetuneOptions
from finetuning.plan import FinetunePlan, Way, Wishes, least_mib, recommend
from gpu.estimate import Fit
from gpu.report import MIB_PER_GB

ORDER = (
    "Smaller batches come first: with more accumulation steps they train the same thing. Weights in"
    " 8 bits, which some guides take first, are less exact, and only adapters can be trained beside"
    " them. Shorter clips come last: padded to 30 s, they save next to nothing."
)
"""Why the levels are in this order."""

FITS: dict[Fit, str] = {"fits": "fits", "tight": "tight", "too large": "does not fit"}

DATA_HINT = (
    "How much transcribed speech a model needs: under 10 hours small or medium, 10 to 50 hours"
    " medium or large-v3, over 50 hours large-v3."
)

CARDS_GB = (8, 12, 16, 24, 40, 80)
"""Common cards."""


def verdict(plan: FinetunePlan) -> str:
    """Whether it fits, with the numbers."""
    estimate, free = plan.estimate, plan.wishes.free_mib
    needs = f"{estimate.total_mib:,.0f} MiB"
    peak = f"{needs} of {free:,.0f} MiB at the peak ({estimate.moment})"
    bar = f"{estimate.high_mib:,.0f} MiB if the estimate is {estimate.error:.0%} too low"
    if plan.chosen.fit == "fits":
        return f"Fits: {peak}; {bar}."
    if plan.chosen.fit == "tight":
        return f"Tight: {peak}, but {bar}. Try it; if memory runs out, use the next level."
    return f"Does not fit: {needs}, {estimate.total_mib - free:,.0f} MiB more than is free."


def advice(plan: FinetunePlan) -> list[str]:
    """What would fit where the plan does not."""
    if plan.fits:
        return []
    lines = [
        f"With {way.name}: {describe(way)}, {way.estimate.total_mib:,.0f} MiB"
        for way in plan.instead
    ]
    least = f"With these settings a GPU needs at least {least_mib(plan.wishes):,.0f} MiB."
    return [least, *lines, "More GPUs would not help: each holds a whole copy."]


def describe(way: Way) -> str:
    """``large-v3, LoRA adapters, batch 8 x 2, checkpointing``."""
    options = way.options
    batch = f"batch {options.per_device_train_batch_size} x {options.gradient_accumulation_steps}"
    gpus = f" x {options.gpus} GPUs" if options.gpus > 1 else ""
    checkpointing = ", checkpointing" if options.gradient_checkpointing else ""
    return f"{options.base_model}, {options.method_name}, {batch}{gpus}{checkpointing}"


def level_note(plan: FinetunePlan, level: Way) -> str:
    """Why a level does not help, where it does not."""
    if level.options == plan.options:
        return "as planned already"
    if level.estimate.total_mib < plan.estimate.total_mib:
        return ""
    return "not less than planned: accumulation keeps all gradients between its steps"


def checkpointing(plan: FinetunePlan) -> str:
    """What checkpointing changes here."""
    here, other = plan.estimate.total_mib, plan.other_checkpointing.estimate.total_mib
    on, off = (here, other) if plan.options.gradient_checkpointing else (other, here)
    return f"With gradient checkpointing {on:,.0f} MiB, without {off:,.0f} MiB."


def cards_table(wishes: Wishes) -> list[tuple[int, FinetunePlan, FinetunePlan]]:
    """For each common card: the largest model by adapters, and the largest with all weights."""
    rows = []
    for gb in CARDS_GB:
        card = Wishes(gpu_memory_mib=gb * MIB_PER_GB, gpus=wishes.gpus, fp16=wishes.fp16)
        rows.append((gb, recommend(card, ("lora",)), recommend(card, ("full", "8bit"))))
    return rows


def warnings(plan: FinetunePlan) -> list[str]:
    """What to know before it is started, the gravest first."""
    return [*_of_the_batch(plan.options), *_of_the_rest(plan.options, plan.wishes.used_mib)]


def _of_the_batch(options: FinetuneOptions) -> Iterator[str]:
    effective = options.effective_batch_size
    if effective not in EFFECTIVE:
        way = "small: training may be unstable" if effective < EFFECTIVE.start else "large"
        steps = "more" if effective < EFFECTIVE.start else "fewer"
        yield (
            f"The effective batch of {effective} is {way}. {EFFECTIVE.start} to"
            f" {EFFECTIVE.stop - 1} is usual: take {steps} accumulation steps."
        )
    if options.per_device_train_batch_size == 1:
        yield "One clip at a time leaves much of the GPU idle: expect slow training."


def _of_the_rest(options: FinetuneOptions, used_mib: float) -> Iterator[str]:
    if options.use_8bit and not options.fp16:
        yield "8-bit weights are multiplied in 16 bits: without fp16 they only get slower."
    elif not options.fp16:
        yield "Without fp16 activations take about 60 % more, and training is slower."
    if options.use_8bit or options.method == "8bit":
        yield "8 bits need the package bitsandbytes."
    if options.use_8bit and not options.gradient_checkpointing:
        yield "Trainers that load weights in 8 bits switch checkpointing on by themselves."
    if options.max_audio_len < WINDOW_S and options.pad_to_30s:
        yield (
            f"max_audio_len {options.max_audio_len:g} leaves longer clips out. The others are"
            " padded to 30 s all the same, so that only the shorter transcripts save memory."
        )
    if not options.pad_to_30s:
        yield "Shortened input needs a training program made for it: transformers refuses it."
    if options.gpus > 1:
        yield (
            "Each GPU holds a whole copy: more GPUs train faster, but each still needs the same"
            " memory."
        )
    if used_mib > 0:
        yield f"Other programs hold {used_mib:,.0f} MiB of the card; the plan leaves them that."


def plan_data(plan: FinetunePlan) -> dict[str, Any]:
    """JSON-serialisable, for programs."""
    wishes = plan.wishes
    return {
        "gpu_memory_mib": wishes.gpu_memory_mib,
        "used_by_others_mib": wishes.used_mib,
        "verdict": plan.chosen.fit,
        "message": verdict(plan),
        **way_data(plan.chosen),
        "moments_mib": _rounded(dict(plan.estimate.moments)),
        "trainable_parameters": plan.estimate.trainable,
        "with_other_checkpointing_mib": round(plan.other_checkpointing.estimate.total_mib, 1),
        "levels": [way_data(way) for way in plan.levels],
        "order_of_levels": ORDER,
        "instead": [way_data(way) for way in plan.instead],
        "advice": advice(plan),
        "warnings": warnings(plan),
    }


def way_data(way: Way) -> dict[str, Any]:
    return {
        "name": way.name,
        "fit": way.fit,
        "options": asdict(way.options),
        "effective_batch_size": way.options.effective_batch_size,
        "arguments": list(way.options.arguments()),
        "breakdown_mib": _rounded(dict(way.estimate.parts)),
        "total_mib": round(way.estimate.total_mib, 1),
        "error": way.estimate.error,
    }


def _rounded(numbers: dict[str, float]) -> dict[str, float]:
    return {name: round(number, 1) for name, number in numbers.items()}
