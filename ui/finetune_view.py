"""What the tab Fine-tuning shows of a plan: pure functions to markup, every value escaped."""

from __future__ import annotations

from functools import lru_cache

from finetuning.plan import FinetunePlan, Way, Wishes
from finetuning.report import (
    ORDER,
    advice,
    cards_table,
    checkpointing,
    describe,
    level_note,
    verdict,
)
from finetuning.warnings import DATA_HINT, method_name
from gpu.choice import Card
from ui.markup import bullets, text
from ui.memory_bar import memory_bar, mib

_FITS = {"fits": "Fits", "tight": "Tight", "too large": "Does not fit"}


def plan_view(plan: FinetunePlan, card: Card) -> str:
    """Everything about a plan, the answer first."""
    wishes = plan.wishes
    used = {"held by others": wishes.used_mib} if wishes.used_mib > 0 else {}
    bar = memory_bar(
        plan.estimate.parts,
        wishes.gpu_memory_mib,
        used=used,
        title=f"Memory of each GPU ({card.name or card.label})",
        error=plan.estimate.error,
    )
    return (
        f'<div class="finetune">{_answer(plan)}{bar}'
        f'<p class="note">{text(checkpointing(plan))}</p>'
        f"{_section('Training options', _command(plan.chosen))}"
        f"{_instead(plan)}{_levels(plan)}{_warnings(plan)}"
        f"{_section('Common cards', _cards(wishes.gpus, wishes.fp16))}"
        f'<p class="note">{text(DATA_HINT)}</p></div>'
    )


def _answer(plan: FinetunePlan) -> str:
    effective = plan.options.effective_batch_size
    return (
        f'<p class="plan-verdict fit-{_slug(plan.chosen)}" role="status">{text(verdict(plan))}</p>'
        f"<p><strong>{text(describe(plan.chosen))}</strong>, effective batch {effective}</p>"
    )


def _section(title: str, body: str) -> str:
    return f"<section><h3>{text(title)}</h3>{body}</section>"


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
    return _section("When memory runs out", f'<ol class="levels">{rows}</ol><p>{text(ORDER)}</p>')


def _instead(plan: FinetunePlan) -> str:
    lines = advice(plan)
    return _section("What would fit", bullets(lines)) if lines else ""


def _warnings(plan: FinetunePlan) -> str:
    return _section("Good to know", bullets(plan.warnings)) if plan.warnings else ""


def _numbers(way: Way) -> str:
    said = f"{mib(way.estimate.total_mib)}, {_FITS[way.fit].lower()}"
    return f'<span class="fit fit-{_slug(way)}">{text(said)}</span>'


def _note(words: str) -> str:
    return f' <span class="note">{text(words)}</span>' if words else ""


def _slug(way: Way) -> str:
    return way.fit.replace(" ", "-")


@lru_cache(maxsize=64)
def _cards(gpus: int, fp16: bool) -> str:
    """The largest models on common cards; the same for everybody, and costs a moment."""
    heads = ("Card", "Largest model with adapters", "Largest model with all weights")
    rows = "".join(
        f"<tr><th scope='row'>{gb} GB</th><td>{_cell(adapters)}</td><td>{_cell(whole)}</td></tr>"
        for gb, adapters, whole in cards_table(Wishes(gpu_memory_mib=1, gpus=gpus, fp16=fp16))
    )
    head = "".join(f'<th scope="col">{text(name)}</th>' for name in heads)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f'<div class="table">{table}</div>'


def _cell(plan: FinetunePlan) -> str:
    options = plan.options
    checkpoint = ", checkpointing" if options.gradient_checkpointing else ""
    batch = (
        f"batch {options.per_device_train_batch_size}\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}"
        f"{options.gradient_accumulation_steps}"
    )
    return (
        f"<strong>{text(options.base_model)}</strong>, {text(method_name(options))},"
        f" {text(batch)}{checkpoint}: {_numbers(plan.chosen)}"
    )
