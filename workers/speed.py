"""Who should do a segment, by measured speed. Pure arithmetic.

A slot that would finish a segment later than the others would finish everything that is left,
leaves it to them; and it gives back one that it has, once that is so. So the slowest slot helps as
long as it can, and nobody waits for it in the end. Devices of one kind count as equally fast: what
they differ by is chance.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
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


def alike(one: WorkerSlot, other: WorkerSlot) -> bool:
    """Whether both are the same kind of device, as fast as each other."""
    if one.endpoint is not None or other.endpoint is not None:
        return one is other
    mine, its = one.device, other.device
    return (mine.node, mine.kind, mine.name, mine.capability) == (
        its.node,
        its.kind,
        its.name,
        its.capability,
    )


def rate_of(slot: WorkerSlot, model: ModelSpec, slots: Sequence[WorkerSlot]) -> float | None:
    """Seconds of work for a second of speech, of all slots of its kind; None: not measured."""
    rates = [
        rate
        for other in slots
        if alike(slot, other) and (rate := other.rate(other.local(model))) is not None
    ]
    return sum(rates) / len(rates) if rates else None


def part_of(slot: WorkerSlot, model: ModelSpec, sharers: Sequence[WorkerSlot]) -> float:
    """Which part of the work is a slot's among those that share it, 0-1; equal ones where a speed
    is unknown."""
    rates = [rate_of(other, model, sharers) for other in sharers]
    own = rate_of(slot, model, sharers)
    known = [rate for rate in rates if rate]
    if not own or len(known) < len(rates) or slot not in sharers:
        return 1 / max(1, len(sharers))
    return (1 / own) / sum(1 / rate for rate in known)


def unproven(slot: WorkerSlot) -> bool:
    """An endpoint that has not shown how fast it is, or whether it works again."""
    return slot.endpoint is not None and (not slot.rates or slot.breaker.trial)


def rivals_of(
    slot: WorkerSlot, model: ModelSpec, serving: Sequence[WorkerSlot], now: float
) -> list[Rival]:
    """Those of ``serving``, all slots that serve the job, which are no slots like this one and
    whose speed is known. Without any, speed decides nothing."""
    found = []
    for other in serving:
        rate = rate_of(other, model, serving)
        ready = other.state in (SlotState.IDLE, SlotState.BUSY) and other.usable
        if not ready or rate is None or other is slot or other.breaker.trial:
            continue
        free_s = 0.0 if other.task is None else _remaining_s(other.task, rate, now)
        found.append(Rival(other, free_s, rate))
    return found if any(not alike(slot, rival.slot) for rival in found) else []


def finish_s(rivals: Sequence[Rival], work_s: float, longest_s: float) -> float:
    """When the rivals have done so much speech together, in seconds from now, of which one piece is
    so long. At least one rival."""
    soonest = min(rival.free_s + rival.rate * longest_s for rival in rivals)
    together = speed = begun = 0.0
    # As if work could be divided: each joins when it is free.
    for rival in sorted(rivals, key=lambda each: each.free_s):
        if speed and together <= rival.free_s:
            break
        speed += 1 / max(rival.rate, 1e-9)
        begun += rival.free_s / max(rival.rate, 1e-9)
        together = (work_s + begun) / speed
    return max(soonest, together)


def worth(
    rate: float, speech_s: float, rivals: Sequence[Rival], avoid: Collection[str], work_s: float
) -> bool:
    """Whether a slot of that rate should take a segment, of the work that is left in all."""
    left = [rival for rival in rivals if rival.slot.label not in avoid]
    if not left:
        return True
    return rate * speech_s <= SLACK * finish_s(left, work_s, speech_s) + MIN_GAIN_S


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
    avoid = {label for entry in task.open.values() for label in entry.avoid}
    left = [r for r in rivals if not alike(slot, r.slot) and r.slot.label not in avoid]
    if not left or not task.open:
        return False
    elapsed_s = now - task.given_s
    expected_s = 0.0 if rate is None else rate * task.command.speech_s
    here = slot.endpoint is None and not slot.device.node
    if expected_s <= elapsed_s and here:
        return False
    remaining_s = expected_s - elapsed_s if expected_s > elapsed_s else elapsed_s
    longest_s = max(entry.segment.speech_s for entry in task.open.values())
    return remaining_s > SLACK * finish_s(left, work_s, longest_s) + MIN_GAIN_S


def _remaining_s(task: Task, rate: float, now: float) -> float:
    """What is overdue may take as long again."""
    expected_s, elapsed_s = rate * task.command.speech_s, now - task.given_s
    return expected_s - elapsed_s if expected_s > elapsed_s else elapsed_s
