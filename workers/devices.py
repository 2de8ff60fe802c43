"""Which workers this machine can have: one slot per GPU, or per few CPU cores.

Entries of ``CUDA_VISIBLE_DEVICES`` are indices, ``GPU-…`` UUIDs or ``MIG-…`` ids and are handed to
the worker as they are. A GPU that was asked for and is not there is an error, never the CPU.
Where MIG is on for a card, CUDA can use its MIG devices alone, and each of them is a slot.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from core.endpoints import Endpoint
from core.errors import DeviceUnavailable
from gpu.nvml import GpuDevice, GpuList, MigDevice, find_device, read_gpus
from workers.resources import available_mib, usable_cores

log = logging.getLogger(__name__)

DRIVER_FILES = (Path("/dev/nvidiactl"), Path("/dev/dxg"))
"""Present wherever an NVIDIA driver is (Linux; Windows' Linux subsystem). A container without the
``utility`` capability has the driver and no NVML, and its GPUs still work."""


@dataclass(frozen=True, slots=True)
class Device:
    """A place for one worker process."""

    label: str
    """As the log says it: ``GPU 0``, ``CPU 1``, ``Endpoint vLLM``."""
    kind: Literal["cpu", "cuda", "endpoint"]
    visible: str = ""
    """What the worker sees as ``CUDA_VISIBLE_DEVICES``; empty hides every GPU."""
    name: str = ""
    """The card's, such as ``NVIDIA L4``; empty for CPUs and where it is unknown."""
    capability: tuple[int, int] | None = None
    total_mib: int | None = None
    """Memory of the GPU; None for CPUs and where it is unknown."""
    endpoint: Endpoint | None = None
    """The remote server that decodes for a slot of that kind."""
    node: str = ""
    """Name of the machine in the cluster that it belongs to; empty: this machine."""

    @property
    def runs_on(self) -> Literal["cpu", "cuda"]:
        """What a model that is loaded there runs on; also the one beside an endpoint."""
        return "cuda" if self.kind == "cuda" else "cpu"


def endpoint_devices(endpoints: Sequence[Endpoint]) -> tuple[Device, ...]:
    """Slots for remote servers; of several with one name, each has its id in the label too."""
    names = Counter(endpoint.label for endpoint in endpoints)
    return tuple(
        Device(
            each.label if names[each.label] == 1 else f"{each.label} ({each.id})",
            "endpoint",
            endpoint=each,
        )
        for each in endpoints
    )


def find_devices(
    *,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    cuda_visible_devices: str | None = None,
    gpu_ids: Sequence[int | str] | None = None,
    multi_gpu: bool = True,
    workers: int = 0,
    threads: int = 1,
    worker_mib: int = 0,
    gpus: Callable[[], GpuList] = read_gpus,
) -> tuple[Device, ...]:
    """Slots for a pool, at least one.

    ``gpu_ids`` names GPUs instead of ``cuda_visible_devices``. ``workers`` fixes the number of
    CPU workers; at 0 there is one per ``threads`` cores as far as ``worker_mib`` each fits into
    memory. Without ``multi_gpu`` there is exactly one slot.

    Raises DeviceUnavailable for a GPU that was asked for and is not there.
    """
    devices: tuple[Device, ...] = ()
    if device != "cpu":
        wanted = gpu_ids is not None or device == "cuda"
        listed = cuda_visible_devices if gpu_ids is None else ",".join(map(str, gpu_ids))
        devices = _gpu_slots(listed, gpus(), wanted)
        if not devices and wanted:
            raise DeviceUnavailable("A GPU was asked for, and this machine shows none.")
    if not devices:
        devices = _cpu_slots(workers, threads, worker_mib)
    return devices if multi_gpu else devices[:1]


def _gpu_slots(listed: str | None, gpus: GpuList, wanted: bool) -> tuple[Device, ...]:
    if listed is None:
        return tuple(device for card in gpus.devices for device in _card_slots(card))
    entries = visible_entries(listed)
    # Without NVML it is unknown which GPUs there are, and known only that there is a driver.
    unknown = bool(gpus.problem)
    if unknown and not driver_present():
        if entries and not wanted:
            log.warning(
                "CUDA_VISIBLE_DEVICES is %r, but there is no GPU driver: CPUs do the work.", listed
            )
        return ()
    devices = []
    for position, entry in enumerate(entries):
        device = find_device(entry, gpus)
        if not unknown:
            _check(entry, device, gpus)
        label = entry if entry.isdigit() else str(position)
        devices.append(_slot(f"GPU {label}", entry, device))
    return tuple(devices)


def _card_slots(card: GpuDevice) -> tuple[Device, ...]:
    """By UUID, because CUDA numbers GPUs by speed and NVML by bus."""
    if card.problem:
        log.warning("[GPU %d] is left out: %s", card.index, card.problem)
        return ()
    if card.mig:
        return tuple(
            _slot(f"GPU {card.index}:{place}", mig.uuid, mig) for place, mig in enumerate(card.mig)
        )
    return (_slot(f"GPU {card.index}", card.uuid, card),)


def _slot(label: str, visible: str, device: GpuDevice | MigDevice | None) -> Device:
    if device is None:
        return Device(label, "cuda", visible)
    return Device(label, "cuda", visible, device.name, device.capability, device.total_mib or None)


def _check(entry: str, device: GpuDevice | MigDevice | None, gpus: GpuList) -> None:
    """Raises DeviceUnavailable for an entry that names no GPU which can be used."""
    if device is None:
        raise DeviceUnavailable(
            f"GPU {entry!r} does not exist, or does not name one alone;"
            f" there are {len(gpus.devices)} GPUs."
        )
    if isinstance(device, GpuDevice) and device.problem:
        raise DeviceUnavailable(f"GPU {entry!r} cannot be used. {device.problem}")


def driver_present() -> bool:
    return any(file.exists() for file in DRIVER_FILES)


def visible_entries(listed: str) -> tuple[str, ...]:
    """Entries of ``CUDA_VISIBLE_DEVICES`` as CUDA reads them: "-1" ends the list.

    ``NoDevFiles`` is what Slurm writes for a job without GPUs. A repeated entry counts once:
    two processes on one GPU gain nothing (faster-whisper#100).
    """
    entries: list[str] = []
    for entry in (part.strip() for part in listed.split(",")):
        if entry in ("-1", "", "NoDevFiles"):
            break
        if entry not in entries:
            entries.append(entry)
    return tuple(entries)


def _cpu_slots(workers: int, threads: int, worker_mib: int) -> tuple[Device, ...]:
    count = workers or max(1, usable_cores() // max(1, threads))
    room = available_mib()
    if worker_mib and room is not None:
        fitting = max(1, room // worker_mib)
        if workers and workers > fitting:
            log.warning(
                "%d CPU workers need about %d MiB, and %d MiB are free.",
                workers,
                workers * worker_mib,
                room,
            )
        elif fitting < count:
            log.info("%d instead of %d CPU workers, to fit into memory.", fitting, count)
            count = fitting
    return tuple(Device(f"CPU {i}", "cpu") for i in range(count))
