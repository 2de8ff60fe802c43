"""Whether a model fits into the memory of a device, and with how many windows at a time.

Asked before a model is loaded, by estimate (``gpu.estimate``: calculated, and corrected by
what workers measured on such a card). ``core.memory_ladder`` says what follows when it does not
fit.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from core.process_memory import resident_mib
from core.types import ModelSpec
from gpu.advice import advise, name_all
from gpu.choice import CPU_BATCH, Card, best_batch, judge
from gpu.estimate import CONTEXT, Estimate
from gpu.nvml import GpuList, find_device, read_gpus
from gpu.peaks import CPU, Peaks
from gpu.physical import setup_of
from workers.devices import Device
from workers.resources import available_mib, total_mib

log = logging.getLogger(__name__)

Fit = Literal["yes", "wait", "never"]


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A worker of ours that has a model in the same memory."""

    model: ModelSpec
    pid: int | None
    """None: it is not a process of this machine."""


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """A load that is about to begin."""

    device: Device
    model: ModelSpec
    replaced: ModelSpec | None = None
    """What the same worker unloads for it; None: its context comes on top."""
    in_flight: tuple[ModelSpec, ...] = ()
    """Loads other workers have begun in the same memory; it does not show yet what they take."""
    shared: bool = False
    """Other workers of ours hold or load something in the same memory, so waiting may help."""
    beside: tuple[Neighbour, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    fit: Fit
    text: str = ""
    """What is needed and what is there, for people."""
    hint: str = ""
    """What would fit, with its numbers."""


Fits = Callable[[LoadPlan], Verdict]


PlanBatch = Callable[[Device, ModelSpec, int, int], int]
"""How many windows a worker may decode together, by beam size and by what was asked for (0: as many
as are worthwhile)."""


class MemoryFit:
    """The estimate. Called on the pool's thread alone.

    Args:
        asked: windows decoded together, as the settings have it; 0: as memory allows.
        peaks: what was measured; None: calculate only.
        gpus, cpu: how free and total memory are read.
    """

    def __init__(
        self,
        asked: int = 0,
        *,
        beam_size: int = 5,
        peaks: Peaks | None = None,
        gpus: Callable[[], GpuList] = read_gpus,
        cpu: Callable[[], tuple[int, int] | None] | None = None,
    ) -> None:
        self._asked = asked
        self._beam_size = beam_size
        self._peaks = peaks
        self._gpus = gpus
        self._cpu = cpu or _machine
        self._rooms: dict[tuple[str, ModelSpec], float] = {}
        """MiB a worker has for a model, as of the last look before it was loaded."""

    def __call__(self, plan: LoadPlan) -> Verdict:
        memory = self._see(plan.device)
        if memory is None:
            # Loaded on trust; a GPU that is gone says so at the load.
            return Verdict("yes")
        need = self._estimate(plan.device, plan.model)
        name = f"{plan.model.name} ({plan.model.compute_type})"
        if need.low_mib > memory.total_mib:
            return Verdict(
                "never",
                f"Model {name} needs about {need.total_mib:,.0f} MiB, and {plan.device.label} has"
                f" {memory.total_mib:,.0f} MiB in all",
                self._advice(plan, memory),
            )
        room = memory.free_mib
        if plan.replaced is not None:
            # All of it goes but the process's context.
            old = self._estimate(plan.device, plan.replaced)
            room += old.total_mib - old.parts[CONTEXT]
        room -= sum(self._estimate(plan.device, model).total_mib for model in plan.in_flight)
        room -= sum(self._still_to_take(plan.device, other) for other in plan.beside)
        # A worker that has a model has its context too.
        room += 0.0 if plan.replaced is None else need.parts[CONTEXT]
        # Also where it is too little: a load that does not wait is tried all the same, with a
        # small batch.
        self._rooms[plan.device.label, plan.model] = room
        usual = self._usual(plan, need)
        # Alone in its memory it may begin with less: the engine halves a batch that is too large.
        if usual <= room or (need.total_mib <= room and not plan.shared):
            return Verdict("yes")
        text = (
            f"model {name} needs about {usual:,.0f} MiB on {plan.device.label}, and"
            f" {max(0.0, room):,.0f} MiB are free"
        )
        if memory.holders:
            text += f"; held by {name_all(memory.holders)}"
        return Verdict("wait", text)

    def batch(self, device: Device, model: ModelSpec, beam_size: int, asked: int) -> int:
        """Windows for one worker, by the room it had before the load. What was asked for is the
        limit, and is undercut where the calculation says that it cannot fit."""
        room = self._rooms.get((device.label, model))
        if room is None:
            return asked or CPU_BATCH
        setup = setup_of(model, device.capability, beam_size=beam_size)
        card = _card(device, room, room)
        if asked:
            found = judge(card, self._peaks)(replace(setup, batch_size=asked))
            if found.total_mib <= room:
                return asked
        best = best_batch(setup, card, self._peaks) or 1
        return min(best, asked) if asked else best

    def _usual(self, plan: LoadPlan, need: Estimate) -> float:
        """With the batch it will work with, if that is known; on GPUs one window is enough to begin
        with, because each worker takes the batch that fits."""
        batch = self._usual_batch(plan.device)
        if batch == 1:
            return need.high_mib
        return self._estimate(plan.device, plan.model, batch).total_mib

    def _still_to_take(self, device: Device, other: Neighbour) -> float:
        """What a worker will want beyond what it holds: it may not have decoded a batch yet."""
        held = held_mib(device, other.pid) if device.kind == "cpu" else None
        if held is None:
            return 0.0
        wanted = self._estimate(device, other.model, self._usual_batch(device)).total_mib
        return max(0.0, wanted - held)

    def _usual_batch(self, device: Device) -> int:
        return self._asked or (CPU_BATCH if device.kind == "cpu" else 1)

    def _estimate(self, device: Device, model: ModelSpec, batch: int = 1) -> Estimate:
        setup = setup_of(model, device.capability, batch_size=batch, beam_size=self._beam_size)
        return judge(_card(device), self._peaks)(setup)

    def _advice(self, plan: LoadPlan, card: Card) -> str:
        """What would fit if the whole device were free."""
        card = replace(card, free_mib=card.total_mib)
        setup = setup_of(plan.model, plan.device.capability, beam_size=self._beam_size)
        return " ".join(each.text for each in advise(setup, card, peaks=self._peaks))

    def _see(self, device: Device) -> Card | None:
        if device.node:
            # What other programs of that machine take shows when the model is loaded.
            return None if device.total_mib is None else _card(device, device.total_mib)
        if device.kind == "cuda":
            return _see(device, self._gpus())
        found = self._cpu()
        return None if found is None else _card(device, *found)


def see_cards(
    devices: Sequence[Device], gpus: Callable[[], GpuList] = read_gpus
) -> tuple[Card, ...]:
    """The GPUs among the devices whose memory can be read."""
    if not any(device.kind == "cuda" for device in devices):
        return ()
    found = gpus()
    return tuple(card for device in devices if (card := _see(device, found)) is not None)


def _see(device: Device, gpus: GpuList) -> Card | None:
    """The device's card as it is now; None where its memory cannot be read."""
    gpu = find_device(device.visible, gpus)
    if gpu is None or not gpu.total_mib:
        return None
    return replace(_card(device, gpu.free_mib, gpu.total_mib), holders=gpu.processes)


def tell_cards(cards: Sequence[Card]) -> None:
    """A line of the log for each card: what is free, and who else uses it."""
    for card in cards:
        free = f"{card.free_mib:,.0f} of {card.total_mib:,.0f} MiB free"
        used = f", used by {name_all(card.holders)}" if card.holders else ""
        log.info("%s: %s, %s%s", card.label, card.name, free, used)


def see_cpu() -> Card | None:
    """The machine's main memory; None where it cannot be read."""
    memory = _machine()
    if memory is None:
        return None
    return Card(label="the CPU", name=CPU, free_mib=memory[0], total_mib=memory[1], kind="cpu")


def _card(device: Device, free_mib: float = 0.0, total_mib: float | None = None) -> Card:
    return Card(
        label=device.label,
        free_mib=free_mib,
        total_mib=(device.total_mib or 0.0) if total_mib is None else total_mib,
        name=device.name,
        capability=device.capability,
        kind=device.runs_on,
    )


def held_mib(device: Device, pid: int | None) -> float | None:
    """Memory in use now where a worker has its model: of the whole card, or by the worker's process
    on a CPU. None where it cannot be read."""
    if device.node:
        return None
    if device.kind != "cuda":
        return None if pid is None else resident_mib(pid)
    gpu = find_device(device.visible, read_gpus())
    return gpu.used_mib if gpu is not None and gpu.total_mib else None


def _machine() -> tuple[int, int] | None:
    free, total = available_mib(), total_mib()
    return None if free is None or total is None else (free, total)
