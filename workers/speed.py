"""Who should do a segment, by measured speed. Pure arithmetic.

A slot that would finish a segment later than all slots together would finish everything that is
left, leaves it to the others; and it gives back one that it has, once they would be done much
sooner. So the slowest slot helps as long as it can, and nobody waits for it in the end. Devices of
one kind count as equally fast: what they differ by is chance.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass

from core.types import ModelSpec
from workers.pending import Task
from workers.slot_state import SlotState
from workers.worker_slot import WorkerSlot

SLACK = 1.25
"""Measured speeds vary by so much from segment to segment."""

MIN_GAIN_S = 0.5
"""To leave or take back a segment for less is not worth it."""


@dataclass(frozen=True, slots=True)
class Rival:
    """Another slot that may do the work instead."""

    slot: WorkerSlot
    free_s: float
    """Seconds until it has done its task."""
    rate: float
    """Seconds of work for a second of speech."""


def kind_of(slot: WorkerSlot) -> Hashable:
    """Devices of one machine with the same are as fast as each other."""
    if slot.endpoint is not None:
        return slot.label
    device = slot.device
    return device.node, device.kind, device.name, device.capability


class Rates:
    """Seconds of work for a second of speech with a model, of each kind of slot: the mean of what
    was measured on its slots."""

    def __init__(self, model: ModelSpec, slots: Iterable[WorkerSlot]) -> None:
        found: dict[Hashable, list[float]] = {}
        for slot in slots:
            measured = found.setdefault(kind_of(slot), [])
            rate = slot.rate(slot.local(model))
            if rate is not None:
                measured.append(rate)
        self._rates = {kind: sum(each) / len(each) for kind, each in found.items() if each}
        self.differ = len(found) > 1
        """There are several kinds."""

    def of(self, slot: WorkerSlot) -> float | None:
        """None: none of its kind was measured."""
        return self._rates.get(kind_of(slot))

    def part_of(self, slot: WorkerSlot, sharers: Sequence[WorkerSlot]) -> float:
        """Which part of the work is a slot's among those that share it, 0-1; equal ones where a
        speed is unknown."""
        rates = [self.of(other) for other in sharers]
        own, known = self.of(slot), [rate for rate in rates if rate]
        if not own or len(known) < len(rates) or slot not in sharers:
            return 1 / max(1, len(sharers))
        return (1 / own) / sum(1 / rate for rate in known)


def on_trial(slot: WorkerSlot) -> bool:
    """An endpoint that has not shown how fast it is, or whether it works again."""
    return slot.endpoint is not None and (not slot.rates or slot.breaker.trial)


class Crew:
    """Those that work on a job: all slots that serve it, how fast each is and when it is free.

    Args:
        slots: all of the pool, whose measurements count.
        serving: those that may have the job's work now.
    """

    def __init__(
        self,
        model: ModelSpec,
        slots: Iterable[WorkerSlot],
        serving: Iterable[WorkerSlot],
        now: float,
    ) -> None:
        self.rates = Rates(model, slots)
        self._members = [
            Rival(slot, 0.0 if slot.task is None else _remaining_s(slot.task, rate, now), rate)
            for slot in serving
            if slot.state in (SlotState.IDLE, SlotState.BUSY)
            and slot.usable
            and not slot.breaker.trial
            and (rate := self.rates.of(slot)) is not None
        ]

    def rivals_of(self, slot: WorkerSlot) -> list[Rival]:
        """The others, if there is one of another kind among them: else speed decides nothing."""
        if not self.rates.differ:
            return []
        kind = kind_of(slot)
        if all(kind_of(member.slot) == kind for member in self._members):
            return []
        return [member for member in self._members if member.slot is not slot]


def together_s(rivals: Iterable[Rival], work_s: float) -> float:
    """When slots have done so much speech together, in seconds from now, as if it could be divided
    at will."""
    together = speed = begun = 0.0
    # Each joins when it is free.
    for rival in sorted(rivals, key=lambda each: each.free_s):
        if speed and together <= rival.free_s:
            break
        speed += 1 / max(rival.rate, 1e-9)
        begun += rival.free_s / max(rival.rate, 1e-9)
        together = (work_s + begun) / speed
    return together


def soonest_s(rivals: Iterable[Rival], speech_s: float) -> float:
    """When the first of them can be done with a piece, in seconds from now."""
    return min(rival.free_s + rival.rate * speech_s for rival in rivals)


class Shares:
    """What is for a slot to do of the work that is left, where slots differ in speed.

    Args:
        rivals: the others; at least one.
        work_s: seconds of speech that are left.
    """

    def __init__(
        self, slot: WorkerSlot, rate: float, rivals: Sequence[Rival], work_s: float
    ) -> None:
        self._rate = rate
        self._rivals = rivals
        self._all_s = together_s([Rival(slot, 0.0, rate), *rivals], work_s)

    def worth(self, speech_s: float, avoid: Collection[str]) -> bool:
        """Whether to take a piece: it is done by the time that all is, or nobody else would be
        sooner done with it."""
        own_s = self._rate * speech_s
        if own_s <= self._all_s:
            return True
        left = [rival for rival in self._rivals if rival.slot.label not in avoid]
        return not left or own_s <= SLACK * soonest_s(left, speech_s) + MIN_GAIN_S


def should_give_back(
    slot: WorkerSlot,
    task: Task,
    rate: float | None,
    rivals: Sequence[Rival],
    work_s: float,
    now: float,
) -> bool:
    """Whether others would be done with a task, and with all else, before the slot that has it.

    What is not of this machine and takes longer than it should may take as long again, or for ever.
    A device of this machine that does is watched otherwise.
    """
    elapsed_s = now - task.given_s
    expected_s = 0.0 if rate is None else rate * task.speech_s
    here = slot.endpoint is None and not slot.device.node
    if not task.open or (expected_s <= elapsed_s and here):
        return False
    remaining_s = expected_s - elapsed_s if expected_s > elapsed_s else elapsed_s
    if remaining_s <= MIN_GAIN_S:
        return False
    kind, avoid = kind_of(slot), {label for entry in task.open.values() for label in entry.avoid}
    left = [r for r in rivals if kind_of(r.slot) != kind and r.slot.label not in avoid]
    if not left:
        return False
    longest_s = max(entry.speech_s for entry in task.open.values())
    finish_s = max(soonest_s(left, longest_s), together_s(left, work_s))
    return remaining_s > SLACK * finish_s + MIN_GAIN_S


def _remaining_s(task: Task, rate: float, now: float) -> float:
    """What is overdue may take as long again."""
    expected_s, elapsed_s = rate * task.speech_s, now - task.given_s
    return expected_s - elapsed_s if expected_s > elapsed_s else elapsed_s
