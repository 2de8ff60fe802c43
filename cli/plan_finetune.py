"""``plan-finetune``: what fine-tuning takes of a GPU's memory, and the settings that fit.

The exit code says whether a plan could be made, not whether it fits: that is its content, and
``verdict`` in ``--json``.
"""

from __future__ import annotations

import argparse
import json
import textwrap

from cli.bars import part_bars
from cli.cards import asked_cards
from core.logs import one_line
from finetuning.plan import FinetunePlan, Way, Wishes, plan_finetune
from finetuning.report import (
    ORDER,
    advice,
    checkpointing,
    describe,
    level_note,
    plan_data,
    verdict,
)
from finetuning.warnings import DATA_HINT
from gpu.choice import Card

WIDTH = 100
"""Columns of a paragraph."""


def show_plan(args: argparse.Namespace) -> int:
    card = asked_cards(args.gpu_memory)[0]
    plan = plan_finetune(_wishes(args, card))
    if args.json:
        print(json.dumps(plan_data(plan), indent=2, ensure_ascii=False))
    else:
        print("\n".join(_lines(plan, card)))
    return 0


def _wishes(args: argparse.Namespace, card: Card) -> Wishes:
    return Wishes(
        base_model=args.base_model,
        gpu_memory_mib=card.total_mib,
        used_mib=card.total_mib - card.free_mib,
        gpus=args.gpus,
        method=None if args.method == "auto" else args.method,
        per_device_train_batch_size=args.per_device_train_batch_size,
        per_device_eval_batch_size=args.per_device_eval_batch_size,
        gradient_accumulation_steps=args.gradient_accumulation_steps,
        use_8bit=args.use_8bit,
        gradient_checkpointing=args.gradient_checkpointing,
        fp16=args.fp16,
        max_audio_len=args.max_audio_len,
        pad_to_30s=args.pad_to_30s,
        label_tokens=args.label_tokens,
        lora_rank=args.lora_rank,
        attention=args.attention,
    )


def _lines(plan: FinetunePlan, card: Card) -> list[str]:
    effective = plan.options.effective_batch_size
    where = one_line(card.name or card.label)
    lines = [
        f"{describe(plan.chosen)}: effective batch {effective}, on {where}",
        verdict(plan),
        "",
        *_bar(plan),
        "",
        checkpointing(plan),
        "",
        "Training options",
        *_command(plan.chosen),
        "",
        "When memory runs out",
    ]
    for number, level in enumerate(plan.levels, 1):
        note = level_note(plan, level)
        says = f"{_says(level)} ({note})" if note else _says(level)
        lines += [f"  {number}. {level.name.capitalize()}: {says}", *_command(level)]
    lines += ["", *textwrap.wrap(ORDER, WIDTH, initial_indent="  ", subsequent_indent="  ")]
    others = advice(plan)
    if others:
        lines += ["", "What would fit", *(f"  {line}" for line in others)]
    if plan.warnings:
        lines += ["", "Good to know", *(f"  {line}" for line in plan.warnings)]
    return [*lines, "", DATA_HINT]


def _bar(plan: FinetunePlan) -> list[str]:
    wishes = plan.wishes
    parts = {"held by others": wishes.used_mib} if wishes.used_mib > 0 else {}
    whole = wishes.gpu_memory_mib
    return part_bars(parts | dict(plan.estimate.parts), whole, whole)


def _command(way: Way) -> list[str]:
    return [f"     {' '.join(way.options.arguments())}"]


def _says(way: Way) -> str:
    fits = {"fits": "fits", "tight": "tight", "too large": "does not fit"}[way.fit]
    return f"{way.estimate.total_mib:,.0f} MiB, {fits}"
