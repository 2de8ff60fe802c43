"""What to do when something does not fit: the nearest settings that do, least harm first.

    smaller batch     slower, the same words
    lower precision   a few words in a thousand
    smaller model     more wrong words
    fewer at once     slower for everyone
    the CPU           much slower, the same words

Each with its numbers, from the calculation that said no.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from core.models import BEST_FIRST, MODELS, shape_of
from gpu import support
from gpu.choice import Card, best_batch, judge, on_card
from gpu.estimate import Estimate
from gpu.nvml import GpuProcess
from gpu.peaks import Peaks
from gpu.physical import Setup


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """One thing that helps."""

    kind: Literal["batch", "precision", "model", "tasks", "others", "cpu"]
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
    peaks: Peaks | None = None,
) -> tuple[Advice, ...]:
    """What makes ``tasks`` of a set-up fit a card, least harm first; of a GPU at least the CPU
    remains."""
    finder = _Finder(on_card(setup, card), card, tasks, task, peaks)
    found = [
        finder.smaller_batch(),
        finder.lower_precision(),
        finder.smaller_model(),
        finder.fewer_tasks(),
        _others(finder.calculate(finder.setup), card),
        _on_the_cpu(setup, card),
    ]
    return tuple(advice for advice in found if advice is not None)


class _Finder:
    """Tries one kind of change after the other."""

    def __init__(
        self, setup: Setup, card: Card, tasks: int, task: str, peaks: Peaks | None
    ) -> None:
        self.setup, self.card, self.tasks, self.task = setup, card, max(1, tasks), task
        self.peaks, self.calculate = peaks, judge(card, peaks)

    def smaller_batch(self) -> Advice | None:
        for setup, found in self._fitting([self.setup] if self.setup.batch_size > 1 else []):
            text = f"Use a batch of {setup.batch_size} instead of {self.setup.batch_size}"
            return Advice(kind="batch", text=f"{text}: {_mib(found)}.", setup=setup)
        return None

    def lower_precision(self) -> Advice | None:
        mine = self.setup.compute_type
        lower = (replace(self.setup, compute_type=name) for name in self._lower())
        for setup, found in self._fitting(lower):
            text = f"Use {setup.compute_type} instead of {mine}{self._batch(setup)}"
            return Advice(kind="precision", text=f"{text}: {_mib(found)}.", setup=setup)
        return None

    def smaller_model(self) -> Advice | None:
        mine = self.setup.compute_type
        smaller = (
            replace(self.setup, model=model, compute_type=compute_type, parameters_m=None)
            for model in self._smaller_models()
            for compute_type in dict.fromkeys((mine, *self._lower()))
        )
        for setup, found in self._fitting(smaller):
            precision = "" if setup.compute_type == mine else f" with {setup.compute_type}"
            text = f"Use {setup.model}{precision} instead of {self.setup.model}{self._batch(setup)}"
            return Advice(kind="model", text=f"{text}: {_mib(found)}.", setup=setup)
        return None

    def fewer_tasks(self) -> Advice | None:
        found = self.calculate(self.setup)
        for tasks in range(self.tasks - 1, 0, -1):
            if found.fit(self.card.free_mib / tasks) == "fits":
                text = f"Run {tasks} at once instead of {self.tasks}: {_mib(found)} each."
                return Advice(kind="tasks", text=text, setup=self.setup, tasks=tasks)
        return None

    def _fitting(self, setups: Iterable[Setup]) -> Iterator[tuple[Setup, Estimate]]:
        """Those of which all tasks fit, each with the largest batch up to the present one."""
        share = replace(self.card, free_mib=self.card.free_mib / self.tasks)
        for setup in setups:
            batch = best_batch(setup, share, self.peaks, max(1, self.setup.batch_size))
            if batch is not None:
                found = replace(setup, batch_size=batch)
                yield found, self.calculate(found)

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
        for name in BEST_FIRST:
            able = self.task != "translate" or MODELS[name].can_translate
            if able and shape_of(name).parameters < self.setup.parameters:
                yield name

    def _batch(self, setup: Setup) -> str:
        same = setup.batch_size == self.setup.batch_size
        return "" if same else f" and a batch of {setup.batch_size}"


def _on_the_cpu(setup: Setup, card: Card) -> Advice | None:
    if card.kind == "cpu":
        return None
    return Advice(
        kind="cpu",
        text=f"Run {setup.model} on the CPU: slower, with main memory only (--device cpu, or"
        " the command audio).",
    )


def _others(needed: Estimate, card: Card) -> Advice | None:
    """Name the programs whose memory would be enough; we never end one."""
    missing = needed.high_mib - card.free_mib
    holders = [p for p in card.holders if p.used_mib]
    if missing <= 0 or sum(p.used_mib or 0 for p in holders) < missing:
        return None
    return Advice(
        kind="others",
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
