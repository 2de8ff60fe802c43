"""``plan``: how much GPU memory a model takes, and what fits, with or without a GPU here."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from cli.options import build_settings
from core.errors import InvalidOption
from core.logs import one_line
from core.types import WINDOW_S
from gpu.choice import Card
from gpu.manager import gpu_manager
from gpu.nvml import read_gpus
from gpu.physical import SEGMENT_NOTE, Setup
from gpu.plan import MemoryPlan, PlanQuery, card_of_size, plan_memory
from jobs.cards import gpus_here
from jobs.peaks import load_learned

WIDTH = 40
"""Columns of the longest bar."""


def plan(args: argparse.Namespace) -> int:
    """0: the plan was made; whether it fits is its content, ``fits`` in ``--json``."""
    if args.backend == "pytorch":
        return _by_the_guide(args)
    load_learned(build_settings({}))
    question = PlanQuery(
        model=args.model,
        compute_type=args.precision,
        batch_size=args.batch_size or 0,
        beam_size=args.beam_size,
        task=args.task,
        tasks=args.tasks,
    )
    plans = [
        plan_memory(question, card, peaks=gpu_manager.peaks)
        for card in asked_cards(args.gpu_memory)
    ]
    if args.json:
        print(json.dumps([plan_data(each) for each in plans], indent=2, ensure_ascii=False))
        return 0
    print("\n\n".join("\n".join(_lines(each)) for each in plans))
    if args.segment_duration is not None:
        print(f"\n{SEGMENT_NOTE}")
    return 0


def asked_cards(gigabytes: float | None) -> list[Card]:
    """A card of so many GB; None: those of this machine, with the processes that use them.

    Raises:
        InvalidOption: no card has that size, or there is none here.
    """
    if gigabytes is not None:
        return [card_of_size(gigabytes)]
    found = list(gpus_here(build_settings({})))
    if not found:
        problem = one_line(read_gpus().problem).rstrip(".")
        raise InvalidOption(
            f"There is no GPU here to plan for{f' ({problem})' if problem else ''}.",
            hint="Say how much memory the GPU has, such as --gpu-memory 12.",
        )
    return found


def part_bars(parts: Mapping[str, float], free_mib: float, whole_mib: float) -> list[str]:
    """One line a part, and one for what is left of ``free_mib`` or is missing; bars are shares of
    the whole card, or of the sum where that is more."""
    rest = free_mib - sum(parts.values())
    rows = {name: mib for name, mib in parts.items() if mib >= 0.5}
    rows["free" if rest >= 0 else "too much"] = abs(rest)
    longest = max(whole_mib, sum(parts.values()), 1.0)
    names = max(map(len, rows))
    return [
        f"  {name:{names}}  {mib:>9,.0f} MiB  {'█' * round(WIDTH * mib / longest) or '▏'}".rstrip()
        for name, mib in rows.items()
    ]


def _lines(found: MemoryPlan) -> list[str]:
    estimate, card = found.estimate, found.card
    parts = {part: mib * found.tasks for part, mib in estimate.parts.items()}
    held = card.total_mib - card.free_mib
    if held > 0:
        parts = {"held by others": held, **parts}
    lines = [
        found.verdict,
        f"  {estimate.total_mib:,.0f} MiB ±{estimate.error:.0%} each ({estimate.source});"
        f" {card.free_mib:,.0f} of {card.total_mib:,.0f} MiB are free.",
        "",
        *part_bars(parts, card.total_mib, card.total_mib),
        "",
        f"At once: {found.tasks_at_once} of these on this card.",
    ]
    if found.fits:
        lines.append(f"Beside it: {', '.join(map(_name, found.beside)) or 'nothing'}.")
    if found.advice:
        lines += ["", "What would fit:", *(f"  {advice.text}" for advice in found.advice)]
    return lines


def _name(setup: Setup) -> str:
    return f"{setup.model} ({setup.compute_type})"


def plan_data(found: MemoryPlan) -> dict[str, Any]:
    """The plan as plain values."""
    estimate, setup = found.estimate, found.setup
    return {
        "card": {
            "label": found.card.label,
            "name": found.card.name,
            "free_mib": found.card.free_mib,
            "total_mib": found.card.total_mib,
        },
        **_settings(setup),
        "beam_size": setup.beam_size,
        "tasks": found.tasks,
        "verdict": found.verdict,
        "fits": found.fits,
        "may_fit": found.may_fit,
        "estimate": {
            "total_mib": round(estimate.total_mib, 1),
            "error": estimate.error,
            "source": estimate.source,
            "parts_mib": {part: round(mib, 1) for part, mib in estimate.parts.items()},
        },
        "tasks_at_once": found.tasks_at_once,
        "beside": [{"model": s.model, "compute_type": s.compute_type} for s in found.beside],
        "advice": [
            {"kind": advice.kind, "text": advice.text, "tasks": advice.tasks}
            | ({} if advice.setup is None else _settings(advice.setup))
            for advice in found.advice
        ],
        "others": [asdict(process) for process in found.card.holders],
    }


def _settings(setup: Setup) -> dict[str, Any]:
    return {
        "model": setup.model,
        "compute_type": setup.compute_type,
        "batch_size": setup.batch_size,
    }


def _by_the_guide(args: argparse.Namespace) -> int:
    """The rule for openai-whisper, whose numbers are GB."""
    found = gpu_manager.calculate_memory_usage(
        "large" if args.model == "auto" else args.model,
        WINDOW_S if args.segment_duration is None else args.segment_duration,
        args.batch_size or 1,
        "float16" if args.precision == "auto" else args.precision,
        backend="pytorch",
    )
    free = asked_cards(args.gpu_memory)[0].free_mib / 1024
    fits = found["recommended"] * args.tasks <= free
    if args.json:
        print(json.dumps({**found, "gpu_memory": free, "fits": fits}, indent=2))
        return 0
    for part, gigabytes in found["breakdown"].items():
        print(f"  {part.replace('_', ' '):18} {gigabytes:8.3f} GB")
    print(f"  {'total':18} {found['total_required']:8.3f} GB")
    print(f"  {'recommended':18} {found['recommended']:8.3f} GB ({args.tasks} at once)")
    print(f"{'Fits' if fits else 'Does not fit'} {free:.1f} GB, by {found['source']}.")
    for note in found["notes"]:
        print(note)
    return 0
