"""What the tab Memory shows of a plan: pure functions to markup, every value escaped."""

from __future__ import annotations

from collections.abc import Sequence

from core.models import SIZES
from gpu.choice import Card, judge, on_card
from gpu.estimate import Estimate
from gpu.manager import Released
from gpu.peaks import Peaks
from gpu.physical import SEGMENT_NOTE, Setup
from gpu.plan import MemoryPlan
from gpu.support import supports
from ui.markup import bullets, text
from ui.memory_bar import memory_bar, mib

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
        {part: size * plan.tasks for part, size in estimate.parts.items() if size >= 0.5},
        card.total_mib,
        used={f"held by {names or 'others'}": held} if held > 0 else {},
        title=f"Memory of {card.label}{f' ({card.name})' if card.name else ''}",
        error=estimate.error,
    )
    fit = "fits" if plan.fits else "tight" if plan.may_fit else "too-large"
    return (
        f'<div class="finetune"><p class="plan-verdict fit-{fit}" role="status">'
        f"{text(plan.verdict)}</p>{bar}{_facts(plan, guide_gb)}{_advice(plan)}"
        f"{_models(plan, peaks)}</div>"
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


def _advice(plan: MemoryPlan) -> str:
    if not plan.advice:
        return ""
    return f"<section><h3>What would fit</h3>{bullets(a.text for a in plan.advice)}</section>"


def _models(plan: MemoryPlan, peaks: Peaks | None) -> str:
    """Every kind of model on this card, in MiB."""
    card = plan.card
    columns = [
        (kind, batch)
        for kind in TABLE_TYPES
        if supports(card.capability, kind)
        for batch in TABLE_BATCHES
    ]
    head = "".join(f'<th scope="col">{text(kind)}, {batch}</th>' for kind, batch in columns)
    rows = []
    for name in TABLE_MODELS:
        setups = [Setup(model=name, compute_type=kind, batch_size=n) for kind, n in columns]
        cells = "".join(_cell(card, judge(card, peaks)(on_card(each, card))) for each in setups)
        rows.append(f'<tr><th scope="row">{text(name)}</th>{cells}</tr>')
    return (
        "<section><h3>Every model on this card: MiB by precision and batch</h3>"
        f'<div class="table"><table><thead><tr><th scope="col">Model</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div></section>"
    )


def _cell(card: Card, found: Estimate) -> str:
    fit, mark, said = _fit(card, found)
    return (
        f'<td><span class="fit fit-{fit}" title="{said}">{found.total_mib:,.0f}'
        f'\N{NO-BREAK SPACE}<span role="img" aria-label="{said}">{mark}</span></span></td>'
    )


def _fit(card: Card, found: Estimate) -> tuple[str, str, str]:
    if found.high_mib <= card.free_mib:
        return "fits", "✓", "fits"
    if found.total_mib <= card.free_mib:
        return "tight", "≈", "may fit, within the error bar"
    return "too-large", "✗", "too large"
