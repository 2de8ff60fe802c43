"""What to do when something does not fit: the nearest settings that do, least harm first.

    smaller batch     slower, the same words
    lower precision   a few words in a thousand
    smaller model     more wrong words
    fewer at once     slower for everybody
    the CPU           much slower, the same words

Each with its numbers, out of the same calculation that said no.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from core.models import BEST_FIRST, MODELS, shape_of
from gpu import support
from gpu.choice import BATCHES, Card, fits, judge, on_card
from gpu.estimate import Estimate
from gpu.nvml import GpuProcess
from gpu.peaks import Peaks
from gpu.physical import Setup

Kind = str
BATCH, PRECISION, MODEL, TASKS, OTHERS, DEVICE = (
    "batch", "precision", "model", "tasks", "others", "cpu",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """One thing that helps."""

    kind: Kind
    text: str
    """For people, with the numbers."""
    setup: Setup | None = None
    """The settings it means; None: not a matter of settings."""
    tasks: int = 1


def advise(
    setup: Setup,
    card: Card,
    *,
    tasks: int = 1,
    task: str = "transcribe",
    others: Sequence[GpuProcess] = (),
    peaks: Peaks | None = None,
) -> tuple[Advice, ...]:
    """What makes ``tasks`` of a set-up fit a card, least harm first; of a GPU at least the CPU
    remains.

    Args:
        others: processes that hold memory of the card; who holds much is named.
    """
    finder = _Finder(on_card(setup, card), card, tasks, task, peaks)
    found = [
        finder.smaller_batch(),
        finder.lower_precision(),
        finder.smaller_model(),
        finder.fewer_tasks(),
        _others(others, finder.calculate(finder.setup), card),
        _on_the_cpu(setup, card),
    ]
    return tuple(advice for advice in found if advice is not None)


class _Finder:
    """Tries one kind of change after the other."""

    def __init__(
        self, setup: Setup, card: Card, tasks: int, task: str, peaks: Peaks | None
    ) -> None:
        self.setup, self.card, self.tasks, self.task = setup, card, max(1, tasks), task
        self.calculate = judge(card, peaks)

    def fit(self, setup: Setup, tasks: int | None = None) -> Estimate | None:
        """The estimate of one task, if all of them fit."""
        found = self.calculate(setup)
        room = replace(self.card, free_mib=self.card.free_mib / (tasks or self.tasks))
        return found if fits(room, found) else None

    def largest_batch(self, setup: Setup) -> tuple[Setup, Estimate] | None:
        for batch in BATCHES:
            if batch <= max(1, self.setup.batch_size):
                smaller = replace(setup, batch_size=batch)
                if (found := self.fit(smaller)) is not None:
                    return smaller, found
        return None

    def smaller_batch(self) -> Advice | None:
        if self.setup.batch_size == 1 or (best := self.largest_batch(self.setup)) is None:
            return None
        setup, found = best
        text = (
            f"Use a batch of {setup.batch_size} instead of {self.setup.batch_size}: {_mib(found)}."
        )
        return Advice(kind=BATCH, text=text, setup=setup)

    def lower_precision(self) -> Advice | None:
        for compute_type in self._lower():
            if best := self.largest_batch(replace(self.setup, compute_type=compute_type)):
                setup, found = best
                text = (
                    f"Use {compute_type} instead of {self.setup.compute_type}{self._batch(setup)}:"
                    f" {_mib(found)}."
                )
                return Advice(kind=PRECISION, text=text, setup=setup)
        return None

    def smaller_model(self) -> Advice | None:
        for model in self._smaller_models():
            for compute_type in dict.fromkeys((self.setup.compute_type, *self._lower())):
                wanted = replace(
                    self.setup, model=model, compute_type=compute_type, parameters_m=None
                )
                if best := self.largest_batch(wanted):
                    setup, found = best
                    precision = (
                        "" if compute_type == self.setup.compute_type else f" with {compute_type}"
                    )
                    text = (
                        f"Use {model}{precision} instead of {self.setup.model}"
                        f"{self._batch(setup)}: {_mib(found)}."
                    )
                    return Advice(kind=MODEL, text=text, setup=setup)
        return None

    def fewer_tasks(self) -> Advice | None:
        for tasks in range(self.tasks - 1, 0, -1):
            if (found := self.fit(self.setup, tasks)) is not None:
                text = f"Run {tasks} at once instead of {self.tasks}: {_mib(found)} each."
                return Advice(kind=TASKS, text=text, setup=self.setup, tasks=tasks)
        return None

    def _lower(self) -> Iterator[str]:
        """Compute types of the card that take less than the present one."""
        order: tuple[str, ...] = ("float32", "float16", "int8_float16", "int8_float32")
        if self.card.kind == "cpu":
            order = ("float32", "int8")
        mine = self.calculate(self.setup).total_mib
        for name in order:
            if name != self.setup.compute_type and support.supports(self.card.capability, name):
                smaller = self.calculate(replace(self.setup, compute_type=name))
                if smaller.total_mib < mine:
                    yield name

    def _smaller_models(self) -> Iterator[str]:
        size = self.setup.parameters
        for name in BEST_FIRST:
            able = self.task != "translate" or MODELS[name].can_translate
            if able and shape_of(name).parameters < size:
                yield name

    def _batch(self, setup: Setup) -> str:
        same = setup.batch_size == self.setup.batch_size
        return "" if same else f" and a batch of {setup.batch_size}"


def _on_the_cpu(setup: Setup, card: Card) -> Advice | None:
    if card.kind == "cpu":
        return None
    return Advice(
        kind=DEVICE,
        text=f"Run {setup.model} on the CPU: slower, with main memory only (--device cpu, or"
        " the command audio).",
    )


def _others(others: Sequence[GpuProcess], needed: Estimate, card: Card) -> Advice | None:
    """Name who holds memory that would be enough; we never end anybody."""
    missing = needed.high_mib - card.free_mib
    holders = [p for p in others if p.used_mib]
    if missing <= 0 or sum(p.used_mib or 0 for p in holders) < missing:
        return None
    return Advice(
        kind=OTHERS,
        text=f"Stop or move the programs that hold memory of {card.label}: {name_all(holders)}.",
    )


def name_all(processes: Sequence[GpuProcess], most: int = 3) -> str:
    """``python (pid 4321, 6,500 MiB)`` and so on, largest first."""
    ordered = sorted(processes, key=lambda p: -(p.used_mib or 0))
    named = [
        f"{p.name or 'a process'} (pid {p.pid}"
        + (f", {p.used_mib:,} MiB)" if p.used_mib is not None else ")")
        for p in ordered[:most]
    ]
    if len(ordered) > most:
        named.append(f"{len(ordered) - most} more")
    return ", ".join(named)


def _mib(found: Estimate) -> str:
    return f"about {found.total_mib:,.0f} MiB (±{found.error:.0%})"
