"""``plan-finetune``: how much GPU memory fine-tuning takes, and the settings that fit.

The exit code says whether a plan could be made, not whether it fits: that is its content, and
``verdict`` in ``--json``.
"""

from __future__ import annotations

import argparse
import json
import textwrap
from dataclasses import fields

from cli.plan import asked_cards, part_bars
from core.logs import one_line
from finetuning.options import FinetuneOptions
from finetuning.plan import FinetunePlan, Way, Wishes, plan_finetune
from finetuning.report import (
    DATA_HINT,
    FITS,
    ORDER,
    advice,
    checkpointing,
    describe,
    level_note,
    plan_data,
    verdict,
    warnings,
)
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
    asked = {each.name: getattr(args, each.name) for each in fields(FinetuneOptions)}
    if args.method == "auto":
        asked["method"] = None
    return Wishes.on(card, **asked)


def _lines(plan: FinetunePlan, card: Card) -> list[str]:
    effective = plan.options.effective_batch_size
    wishes = plan.wishes
    parts = {"held by others": wishes.used_mib, **plan.estimate.parts}
    where = one_line(card.name or card.label)
    lines = [
        f"{describe(plan.chosen)}: effective batch {effective}, on {where}",
        verdict(plan),
        "",
        *part_bars(parts, wishes.gpu_memory_mib, wishes.gpu_memory_mib),
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
    if known := warnings(plan):
        lines += ["", "Good to know", *(f"  {line}" for line in known)]
    return [*lines, "", DATA_HINT]


def _command(way: Way) -> list[str]:
    return [f"     {' '.join(way.options.arguments())}"]


def _says(way: Way) -> str:
    return f"{way.estimate.total_mib:,.0f} MiB, {FITS[way.fit]}"
