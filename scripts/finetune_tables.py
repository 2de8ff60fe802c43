"""Prints the tables of ``docs/fine-tuning-memory.md``; a test holds the page to them.

python -m scripts.finetune_tables
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from finetuning.memory import CONTEXT, RESERVE, FinetuneEstimate, estimate_finetune
from finetuning.options import FinetuneOptions
from finetuning.plan import FinetunePlan, Wishes
from finetuning.report import cards_table
from gpu.report import MIB_PER_GB
from scripts.finetune_guide import (
    GUIDE_CARDS_GB,
    GUIDE_GB,
    GUIDE_MODELS,
    MEASURED,
    Measured,
    guide_columns,
    guide_recommendation,
)

COUNTED = Path(__file__).resolve().parent.parent / "tests" / "data" / "finetune_counted.json"


def counted() -> list[tuple[FinetuneOptions, float]]:
    """Options of each counted step, and the MiB it had alive at its peak."""
    found = []
    for row in json.loads(COUNTED.read_text(encoding="utf-8")):
        peak, accumulating = row.pop("peak_mib"), row.pop("accumulating")
        steps = 2 if accumulating else 1
        options = FinetuneOptions(
            **row, gradient_accumulation_steps=steps, per_device_eval_batch_size=1
        )
        found.append((options, float(peak)))
    return found


def alive_mib(estimate: FinetuneEstimate) -> float:
    """What tensors take, without the allocator and the CUDA context."""
    return sum(mib for part, mib in estimate.parts.items() if part not in (RESERVE, CONTEXT))


def counted_table() -> list[str]:
    rows = []
    for options, peak in counted():
        ours = alive_mib(estimate_finetune(options))
        rows.append((_setup(options), _mib(peak), _mib(ours), f"{ours / peak - 1:+.1%}"))
    return _table(("step", "counted MiB", "calculated", "difference"), rows)


def measured_table() -> list[str]:
    rows = []
    for run in MEASURED:
        estimate = estimate_finetune(run.options)
        rows.append((_what(run), _seen(run), _mib(estimate.total_mib), _outcome(run), run.remark))
    return _table(("run", "reported", "calculated MiB", "outcome", "remark"), rows)


def guide_table() -> list[str]:
    rows = []
    for model in GUIDE_MODELS:
        said = GUIDE_GB[model]
        ours = [estimate_finetune(options).total_mib for options in guide_columns(model)]
        pairs = zip(said, ours, strict=True)
        rows.append((model, *(f"{gb:g} / {mib / MIB_PER_GB:.1f}" for gb, mib in pairs)))
    heads = ("model", "normal: guide / here, GB", "8-bit: guide / here", "batch 1: guide / here")
    return _table(heads, rows)


def recommendation_table() -> list[str]:
    rows = []
    for gb, adapters, whole in cards_table(Wishes(gpu_memory_mib=1)):
        guide = guide_recommendation(gb) if gb in GUIDE_CARDS_GB else None
        theirs = ""
        if guide is not None:
            theirs = f"{_setup(guide)}: {_mib(estimate_finetune(guide).total_mib)} MiB"
        rows.append((f"{gb} GB", theirs, _plan(adapters), _plan(whole)))
    heads = ("card", "the guide's, calculated", "here, adapters", "here, all weights")
    return _table(heads, rows)


def tables() -> dict[str, list[str]]:
    return {
        "counted": counted_table(),
        "measured": measured_table(),
        "guide": guide_table(),
        "recommendations": recommendation_table(),
    }


def _what(run: Measured) -> str:
    options = run.options
    steps = options.gradient_accumulation_steps
    accumulation = f" x {steps}" if steps > 1 else ""
    return f"{run.what}, batch {options.per_device_train_batch_size}{accumulation} ({run.source})"


def _seen(run: Measured) -> str:
    if run.peak_mib is not None:
        return f"{_mib(run.peak_mib)} MiB"
    return f"ran in {_mib(run.card_mib or 0)} MiB"


def _outcome(run: Measured) -> str:
    total = estimate_finetune(run.options).total_mib
    if run.peak_mib is not None:
        return f"{total / run.peak_mib - 1:+.0%}" + ("" if run.stated else ", not all stated")
    assert run.card_mib is not None
    assert run.next_batch is not None
    larger = replace(run.options, per_device_train_batch_size=run.next_batch)
    fits = "fits" if total <= run.card_mib else "too large"
    then = estimate_finetune(larger).total_mib
    return f"{fits}; batch {run.next_batch} would need {_mib(then)}"


def _plan(plan: FinetunePlan) -> str:
    return f"{_setup(plan.options)}: {_mib(plan.estimate.total_mib)} MiB"


def _setup(options: FinetuneOptions) -> str:
    steps = options.gradient_accumulation_steps
    words = [
        f"{options.base_model}, {options.method_name}",
        f"batch {options.per_device_train_batch_size} x {steps}",
        *(["checkpointing"] if options.gradient_checkpointing else []),
        *(["eager attention"] if options.attention == "eager" else []),
        *(["32 bits"] if not options.fp16 else []),
        *([f"{options.label_tokens} tokens"] if options.label_tokens else []),
    ]
    return ", ".join(words)


def _mib(value: float) -> str:
    return f"{value:,.0f}"


def _table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    lines = [heads, ["---"] * len(heads), *rows]
    return [f"| {' | '.join(map(str, line))} |" for line in lines]


def main() -> int:
    for name, lines in tables().items():
        sys.stdout.write("\n".join([f"<!-- {name} -->", *lines, "", ""]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
