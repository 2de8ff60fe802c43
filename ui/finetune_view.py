"""What the tab Fine-tuning shows of a plan: pure functions to markup, every value escaped."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from finetuning.plan import FinetunePlan, Way, Wishes
from finetuning.report import (
    DATA_HINT,
    FITS,
    ORDER,
    advice,
    cards_table,
    checkpointing,
    describe,
    level_note,
    warnings,
)
from finetuning.report import verdict as sentence
from gpu.choice import Card
from ui.markup import bullets, text
from ui.memory_bar import fit_class, memory_bar, mib, section, table, verdict


def plan_view(plan: FinetunePlan, card: Card) -> str:
    """Everything about a plan, the answer first."""
    wishes = plan.wishes
    bar = memory_bar(
        f"Memory of each GPU ({card.name or card.label})",
        plan.estimate.parts,
        wishes.gpu_memory_mib,
        used={"held by others": wishes.used_mib},
        error=plan.estimate.error,
    )
    return (
        f'<div class="finetune">{_answer(plan)}{bar}'
        f'<p class="note">{text(checkpointing(plan))}</p>'
        f"{section('Training options', _command(plan.chosen))}"
        f"{_listed('What would fit', advice(plan))}{_levels(plan)}"
        f"{_listed('Good to know', warnings(plan))}"
        f"{section('Common cards', _cards(wishes.gpus, wishes.fp16))}"
        f'<p class="note">{text(DATA_HINT)}</p></div>'
    )


def _answer(plan: FinetunePlan) -> str:
    effective = plan.options.effective_batch_size
    return (
        f"{verdict(plan.chosen.fit, sentence(plan))}"
        f"<p><strong>{text(describe(plan.chosen))}</strong>, effective batch {effective}</p>"
    )


def _listed(title: str, lines: Sequence[str]) -> str:
    return section(title, bullets(lines)) if lines else ""


def _command(way: Way) -> str:
    line = " ".join(way.options.arguments())
    options = " ".join(f"<span>{text(option)}</span>" for option in way.options.arguments())
    return (
        f'<div class="command"><code>{options}</code>'
        f'<button type="button" class="act" data-copy="{text(line)}">Copy</button></div>'
    )


def _levels(plan: FinetunePlan) -> str:
    rows = "".join(
        f"<li><p><strong>{text(level.name.capitalize())}</strong> {_numbers(level)}"
        f"{_note(level_note(plan, level))}</p>{_command(level)}</li>"
        for level in plan.levels
    )
    return section("When memory runs out", f'<ol class="levels">{rows}</ol><p>{text(ORDER)}</p>')


def _numbers(way: Way) -> str:
    said = f"{mib(way.estimate.total_mib)}, {FITS[way.fit]}"
    return f'<span class="fit {fit_class(way.fit)}">{text(said)}</span>'


def _note(words: str) -> str:
    return f' <span class="note">{text(words)}</span>' if words else ""


@lru_cache(maxsize=64)
def _cards(gpus: int, fp16: bool) -> str:
    """The largest models on common cards; the same for everyone, and slow to calculate."""
    heads = ("Card", "Largest model with adapters", "Largest model with all weights")
    wishes = Wishes(gpu_memory_mib=1, gpus=gpus, fp16=fp16)
    rows = {f"{gb} GB": map(_cell, plans) for gb, *plans in cards_table(wishes)}
    return table(heads, rows)


def _cell(plan: FinetunePlan) -> str:
    options = plan.options
    checkpoint = ", checkpointing" if options.gradient_checkpointing else ""
    batch = (
        f"batch {options.per_device_train_batch_size}\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}"
        f"{options.gradient_accumulation_steps}"
    )
    return (
        f"<strong>{text(options.base_model)}</strong>, {text(options.method_name)},"
        f" {text(batch)}{checkpoint}: {_numbers(plan.chosen)}"
    )
