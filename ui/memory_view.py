"""What the tab Memory shows of a plan: pure functions to markup, every value escaped."""

from __future__ import annotations

from collections.abc import Sequence

from core.models import SIZES
from gpu.choice import Card, judge, on_card
from gpu.estimate import Estimate, Fit
from gpu.manager import Released
from gpu.peaks import Peaks
from gpu.physical import SEGMENT_NOTE, Setup
from gpu.plan import MemoryPlan
from gpu.support import supports
from ui.markup import bullets
from ui.memory_bar import fit_class, memory_bar, mib, section, table, verdict

TABLE_TYPES = ("float16", "int8_float16")
TABLE_BATCHES = (1, 8)
TABLE_MODELS = (*SIZES, "large-v3", "large-v3-turbo",
                "distil-small.en", "distil-medium.en", "distil-large-v3")  # fmt: skip
"""One of each size: English-only models take as much as the others."""


def plan_view(plan: MemoryPlan, guide_gb: float | None, peaks: Peaks | None) -> str:
    """Everything about a plan, the answer first. ``guide_gb``: what the rule for openai-whisper
    says; None: it does not know this precision."""
    card, estimate = plan.card, plan.estimate
    held = card.total_mib - card.free_mib
    names = ", ".join(f"{p.name or 'a process'} (pid {p.pid})" for p in card.holders)
    bar = memory_bar(
        f"Memory of {card.label}{f' ({card.name})' if card.name else ''}",
        {part: size * plan.tasks for part, size in estimate.parts.items() if size >= 0.5},
        card.total_mib,
        used={f"held by {names or 'others'}": held},
        error=estimate.error,
    )
    advice = section("What would fit", bullets(a.text for a in plan.advice)) if plan.advice else ""
    return (
        f'<div class="finetune">{verdict(plan.fit, plan.verdict)}{bar}{_facts(plan, guide_gb)}'
        f"{advice}{_models(card, peaks)}</div>"
    )


def unloaded_view(found: Sequence[Released]) -> str:
    """What became of each device's model when memory was wanted back."""
    lines = [f"{each}." for each in found] or ["No model is loaded: no job has run yet."]
    if any(each.outcome == "unloaded" for each in found):
        lines.append("The next job loads its model again.")
    return f'<div class="finetune" role="status">{bullets(lines)}</div>'


def _facts(plan: MemoryPlan, guide_gb: float | None) -> str:
    lines = [
        f"Each takes {mib(plan.estimate.total_mib)} ±{plan.estimate.error:.0%}:"
        f" {plan.estimate.source}.",
        f"Tasks at once on this GPU: {plan.tasks_at_once}.",
    ]
    if plan.fits:
        beside = ", ".join(f"{s.model} ({s.compute_type})" for s in plan.beside)
        lines.append(f"Beside it: {beside or 'nothing'}.")
    lines.append(SEGMENT_NOTE)
    if guide_gb is not None:
        lines.append(f"openai-whisper on PyTorch would take {guide_gb:.1f} GB, by its usual rule.")
    return f"<section>{bullets(lines)}</section>"


def _models(card: Card, peaks: Peaks | None) -> str:
    """Every kind of model on this card, in MiB."""
    columns = [
        (kind, batch)
        for kind in TABLE_TYPES
        if supports(card.capability, kind)
        for batch in TABLE_BATCHES
    ]
    estimate = judge(card, peaks)
    rows = {
        name: [
            _cell(card, estimate(on_card(Setup(model=name, compute_type=kind, batch_size=n), card)))
            for kind, n in columns
        ]
        for name in TABLE_MODELS
    }
    heads = ("Model", *(f"{kind}, {batch}" for kind, batch in columns))
    return section("Every model on this card: MiB by precision and batch", table(heads, rows))


_MARKS: dict[Fit, tuple[str, str]] = {
    "fits": ("✓", "fits"),
    "tight": ("≈", "may fit, within the error bar"),
    "too large": ("✗", "too large"),
}


def _cell(card: Card, found: Estimate) -> str:
    fit = found.fit(card.free_mib)
    mark, said = _MARKS[fit]
    return (
        f'<span class="fit {fit_class(fit)}" title="{said}">{found.total_mib:,.0f}'
        f'\N{NO-BREAK SPACE}<span role="img" aria-label="{said}">{mark}</span></span>'
    )
