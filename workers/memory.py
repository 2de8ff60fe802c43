"""Whether a model fits into the memory of a device, estimated before it is loaded.

The figures follow what was measured for faster-whisper on GPUs (large-v2 and v3, turbo, distil and
small, float16 and int8, batches of 1 and 8): weights + a fixed part + so much for each window of a
batch. They are a guess: what does not fit after all halves its batch, or is an OutOfMemory error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from core.models import find_model
from core.types import ModelSpec
from workers.devices import Nvml, Slot
from workers.resources import MIB, available_mib, total_mib

BYTES_PER_WEIGHT = {
    "int8": 1.0,
    "int8_float16": 1.0,
    "int8_bfloat16": 1.0,
    "int8_float32": 1.0,
    "int16": 2.0,
    "float16": 2.0,
    "bfloat16": 2.0,
    "float32": 4.0,
}
"""In memory, whatever type the file on disk has: CTranslate2 converts while it loads."""

DISK_BYTES_PER_WEIGHT = 2.0
"""Conversions are published in float16; only a model outside ``core.models`` is judged by it."""

FIXED_MIB = {"cpu": 250.0, "cuda": 900.0}
"""Interpreter and libraries; on a GPU the CUDA context, cuBLAS and the kernels."""

ROW_MIB = 40.0
ROW_MIB_PER_MILLION = 0.18
"""A window of a batch: 320 MiB with the 1550 million parameters of large, 50 with base."""

Fit = Literal["yes", "wait", "never"]


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """A load somebody is about to begin."""

    slot: Slot
    model: ModelSpec
    fresh: bool
    """The worker has no model yet, so the fixed part comes on top."""
    replaced: tuple[ModelSpec, ...]
    """Models the same worker unloads for it."""
    in_flight: tuple[ModelSpec, ...]
    """Loads other workers have begun in the same memory; it does not show yet what they take."""
    shared: bool
    """Other workers of ours hold or load something in the same memory, so waiting may help."""


@dataclass(frozen=True, slots=True)
class Verdict:
    fit: Fit
    text: str = ""
    """What is needed and what is there, for people."""


Fits = Callable[[LoadPlan], Verdict]


class GpuMemory(Protocol):
    def memory_mib(self, entry: str) -> tuple[int, int] | None:
        """Free and total; None where nobody can tell."""


class MemoryFit:
    """The estimate. ``batch_size``: windows decoded together, as the settings have it."""

    def __init__(
        self,
        batch_size: int = 8,
        *,
        gpus: GpuMemory | None = None,
        cpu: Callable[[], tuple[int, int] | None] | None = None,
    ) -> None:
        self._batch_size = batch_size
        self._gpus = gpus or Nvml()
        self._cpu = cpu or _machine

    def __call__(self, plan: LoadPlan) -> Verdict:
        memory = self._memory(plan.slot)
        if memory is None:
            return Verdict("yes")
        free, total = memory
        fixed = FIXED_MIB[plan.slot.kind]
        least = model_mib(plan.model, 1)
        usual = model_mib(plan.model, self._batch_size)
        if least + fixed > total:
            return Verdict(
                "never",
                f"Model {plan.model.name} ({plan.model.compute_type}) needs about"
                f" {least + fixed:.0f} MiB, and {plan.slot.label} has {total} MiB in all",
            )
        room = free + sum(model_mib(model, 1) for model in plan.replaced)
        room -= sum(model_mib(model, 1) + fixed for model in plan.in_flight)
        room -= fixed if plan.fresh else 0.0
        # Alone in its memory it may begin with less: the engine halves a batch that is too large.
        if usual <= room or (least <= room and not plan.shared):
            return Verdict("yes")
        return Verdict(
            "wait",
            f"model {plan.model.name} needs about {usual:.0f} MiB on {plan.slot.label}, and"
            f" {max(0.0, room):.0f} MiB are free",
        )

    def _memory(self, slot: Slot) -> tuple[int, int] | None:
        return self._cpu() if slot.kind == "cpu" else self._gpus.memory_mib(slot.visible)


def model_mib(model: ModelSpec, batch_size: int) -> float:
    """Weights and the work on a batch, without the fixed part."""
    millions = _parameters_m(model)
    weights = millions * 1e6 * BYTES_PER_WEIGHT.get(model.compute_type, 2.0) / MIB
    return weights + batch_size * (ROW_MIB + ROW_MIB_PER_MILLION * millions)


def _parameters_m(model: ModelSpec) -> float:
    """Millions of parameters: the table's, or by the size of the file."""
    known = find_model(model.name)
    if known is not None and known.parameters_m is not None:
        return float(known.parameters_m)
    try:
        size = Path(model.path, "model.bin").stat().st_size
    except OSError:
        # The load itself will say what is wrong with the files.
        return 0.0
    return size / DISK_BYTES_PER_WEIGHT / 1e6


def _machine() -> tuple[int, int] | None:
    free, total = available_mib(), total_mib()
    return None if free is None or total is None else (free, total)
