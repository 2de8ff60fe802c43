"""How much memory a worker's process took at most: what later estimates learn from.

On a GPU the driver is asked after each task: CTranslate2's allocator keeps what it once took, so
what it holds then is the most it needed. On a CPU the kernel keeps the highest resident size.

Only what is certain is reported: a process that has had a second model, or whose share of a card
cannot be seen, reports nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from core.models import find_model
from core.types import ModelSpec
from gpu.nvml import GpuDevice, GpuList, MigDevice, find_device, read_gpus
from gpu.peaks import CPU, Peak
from workers.devices import Device

STATUS = Path("/proc/self/status")

GROWTH = 1.01
"""A peak that grew by less is the same one."""


@dataclass(slots=True)
class MemoryMeter:
    """In the worker's process, made before the first model is loaded."""

    device: Device
    gpus: Callable[[], GpuList] = read_gpus
    status: Path = STATUS
    _models: set[ModelSpec] = field(default_factory=set)
    _batch_size: int = 0
    """Windows of the largest batch so far."""
    _beam_size: int = 0
    """Widest search so far."""
    _reported: Peak | None = None
    _before_mib: int = 0
    """What others held of the GPU before this process took any."""

    def __post_init__(self) -> None:
        if self.device.kind == "cuda":
            device = find_device(self.device.visible, self.gpus())
            self._before_mib = device.used_mib if device is not None else 0

    def loads(self, model: ModelSpec) -> None:
        """Before a model is loaded."""
        self._models.add(model)

    def worked(self, model: ModelSpec, batch_size: int, beam_size: int) -> Peak | None:
        """After a task. None: there is no news."""
        self._batch_size = max(self._batch_size, batch_size)
        self._beam_size = max(self._beam_size, beam_size)
        name = CPU if self.device.kind == "cpu" else self.device.name
        if self.device.kind == "endpoint":
            # Its memory is not here.
            return None
        # A folder may be called anything, and a card without a name is no card to learn from.
        info = find_model(model.name)
        if info is None or not name:
            return None
        if len(self._models) > 1 or (size := self._size()) is None:
            return None
        peak = Peak(
            device=name,
            model=info.name,
            compute_type=model.compute_type,
            batch_size=self._batch_size,
            beam_size=self._beam_size,
            peak_mib=size,
        )
        last = self._reported
        if last is not None and last.key == peak.key and size < GROWTH * last.peak_mib:
            return None
        self._reported = peak
        return peak

    def _size(self) -> float | None:
        if self.device.kind == "cpu":
            return resident_peak_mib(self.status)
        device = find_device(self.device.visible, self.gpus())
        return None if device is None else self._share(device)

    def _share(self, device: GpuDevice | MigDevice) -> float | None:
        """What this process holds of a card. In a container the driver may know it by another
        number, or name no process; then it is what the card holds more than before."""
        mine = [p.used_mib for p in device.processes if p.pid == os.getpid()]
        if mine:
            return mine[0]
        if len(device.processes) == 1 and not self._before_mib:
            return device.processes[0].used_mib
        if not device.processes and device.used_mib > self._before_mib:
            return device.used_mib - self._before_mib
        return None


def resident_peak_mib(status: Path = STATUS) -> float | None:
    """Highest resident size of this process (``VmHWM``); None where the kernel does not say."""
    try:
        lines = status.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return None
