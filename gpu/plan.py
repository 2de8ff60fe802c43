"""Everything a person asks of a card's memory, in one answer: for the command line and the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from core.errors import InvalidOption
from core.models import AUTO, BEST_FIRST, MODELS, check_request, named_model
from gpu import support
from gpu.advice import Advice, advise
from gpu.choice import (
    Card,
    best_batch,
    candidates,
    choose,
    compute_types,
    fits,
    judge,
    on_card,
)
from gpu.estimate import Estimate, Fit
from gpu.peaks import Peaks
from gpu.physical import Setup
from gpu.report import MIB_PER_GB

MAX_TASKS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanQuery:
    """What is to run. ``auto``, and a batch of 0, leave it to the plan."""

    model: str = AUTO
    compute_type: str = AUTO
    batch_size: int = 0
    beam_size: int = 5
    task: str = "transcribe"
    tasks: int = 1
    """Worker processes at once on the card."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPlan:
    """What it takes and what there is."""

    card: Card
    setup: Setup
    estimate: Estimate
    """Of one task."""
    tasks: int
    tasks_at_once: int
    """How many fit."""
    beside: tuple[Setup, ...]
    """The best models that fit into what is left, one window at a time."""
    advice: tuple[Advice, ...]
    """What to do where it does not fit."""

    @property
    def fit(self) -> Fit:
        """Of all tasks together."""
        return self.estimate.fit(self.card.free_mib / self.tasks)

    @property
    def fits(self) -> bool:
        """With the whole error bar."""
        return self.fit == "fits"

    @property
    def may_fit(self) -> bool:
        """At least if the estimate is right or too high."""
        return self.fit != "too large"

    @property
    def left_mib(self) -> float:
        """Free beside the tasks; negative where they do not fit."""
        return self.card.free_mib - self.tasks * self.estimate.total_mib

    @property
    def verdict(self) -> str:
        """One sentence."""
        what = f"{self.setup.model} ({self.setup.compute_type}, batch {self.setup.batch_size})"
        if self.tasks > 1:
            what = f"{self.tasks} x {what}"
        if self.fits:
            return f"{what} fits {self.card.label}: {self.left_mib:,.0f} MiB are left."
        if self.may_fit:
            return (
                f"{what} may fit {self.card.label}, within the error bar: {self.left_mib:,.0f} MiB"
                " are left if the estimate is right."
            )
        missing = -self.left_mib
        return f"{what} does not fit {self.card.label}: {missing:,.0f} MiB are missing."


def plan_memory(
    question: PlanQuery,
    card: Card,
    *,
    peaks: Peaks | None = None,
) -> MemoryPlan:
    """Answer for one card.

    Raises:
        ModelError: the model is unknown or cannot do the task.
        InvalidOption: a number or a compute type that cannot be.
    """
    _check(question, card)
    setup = _complete(question, card, peaks)
    found = judge(card, peaks)(setup)
    advice: tuple[Advice, ...] = ()
    if found.fit(card.free_mib / question.tasks) != "fits":
        advice = advise(setup, card, tasks=question.tasks, task=question.task, peaks=peaks)
    return MemoryPlan(
        card=card,
        setup=setup,
        estimate=found,
        tasks=question.tasks,
        tasks_at_once=min(MAX_TASKS, int(card.free_mib // found.high_mib)),
        beside=_beside(card, card.free_mib - question.tasks * found.high_mib, peaks),
        advice=advice,
    )


def _complete(question: PlanQuery, card: Card, peaks: Peaks | None) -> Setup:
    """The set-up with everything that was left open; where nothing fits, the smallest there is."""
    share = replace(card, free_mib=card.free_mib / question.tasks)
    automatic = question.model == AUTO
    models = candidates(question.task) if automatic else (named_model(question.model).name,)
    choice = choose(
        share,
        models,
        compute_type=question.compute_type,
        batch_size=question.batch_size,
        beam_size=question.beam_size,
        peaks=peaks,
    )
    if choice is not None:
        return choice.setup
    # An open compute type is shown as it would be chosen with enough memory.
    compute_type = compute_types(card, question.compute_type)[0]
    setup = on_card(
        Setup(model=models[-1], compute_type=compute_type, beam_size=question.beam_size), card
    )
    batch = question.batch_size or best_batch(setup, share, peaks) or 1
    return replace(setup, batch_size=batch)


def _beside(card: Card, left_mib: float, peaks: Peaks | None) -> tuple[Setup, ...]:
    rest = replace(card, free_mib=left_mib)
    compute_type = compute_types(card, AUTO)[0]
    setups = (on_card(Setup(model=model, compute_type=compute_type), card) for model in BEST_FIRST)
    return tuple(setup for setup in setups if fits(rest, judge(rest, peaks)(setup)))


def _check(question: PlanQuery, card: Card) -> None:
    if question.model != AUTO:
        check_request(named_model(question.model), None, question.task)
    compute_type = question.compute_type
    support.check_compute_type(compute_type, (AUTO, *support.COMPUTE_TYPES))
    if (
        card.capability is not None
        and compute_type != AUTO
        and not support.supports(card.capability, compute_type)
    ):
        raise InvalidOption(
            f"{card.label}: {support.why_not(card.capability, compute_type)}",
            hint=f"It can do: {', '.join(support.compute_types(card.capability))}.",
        )
    support.check_range("batch size", question.batch_size, 0, support.MAX_BATCH)
    support.check_range("beam size", question.beam_size, 1, support.MAX_BEAM)
    support.check_range("number of tasks", question.tasks, 1, MAX_TASKS)


def card_of_size(gigabytes: float, label: str = "") -> Card:
    """An empty card of so many GB.

    Raises:
        InvalidOption: no card has that.
    """
    if not 0 < gigabytes <= 1024:
        raise InvalidOption(
            f"A card of {gigabytes:g} GB is not between 0 and 1,024 GB.",
            hint="Give the memory of one GPU, such as 8 or 24.",
        )
    mib = gigabytes * MIB_PER_GB
    return Card(label=label or f"a card of {gigabytes:g} GB", free_mib=mib, total_mib=mib)


def fitting_models(
    cards: Sequence[Card], peaks: Peaks | None = None, compute_type: str = AUTO
) -> dict[str, str]:
    """A mark for each model of the table, by the whole memory of the cards: empty where it fits
    them all, else what is wrong, ``too large for GPU 1`` for example."""
    marks: dict[str, str] = {}
    for name in MODELS:
        wrong, lowered = [], []
        for card in cards:
            whole = replace(card, free_mib=card.total_mib)
            choice = choose(whole, [name], compute_type=compute_type, peaks=peaks)
            if choice is None:
                wrong.append(card.label)
            elif choice.setup.compute_type != compute_types(card, compute_type)[0]:
                lowered.append(f"{choice.setup.compute_type} on {card.label}")
        if wrong and len(wrong) == len(cards):
            marks[name] = "too large"
        elif wrong:
            marks[name] = f"too large for {', '.join(wrong)}"
        else:
            marks[name] = ", ".join(lowered)
    return marks
