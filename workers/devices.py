"""Which workers this machine can have: one slot per GPU, or per few CPU cores.

Entries of ``CUDA_VISIBLE_DEVICES`` are indices, ``GPU-…`` UUIDs or ``MIG-…`` ids and are handed to
the worker as they are. A GPU that was asked for and is not there is an error, never the CPU.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from core.errors import DeviceUnavailable
from workers.resources import MIB, available_mib, usable_cores

log = logging.getLogger(__name__)

DRIVER_FILES = (Path("/dev/nvidiactl"), Path("/dev/dxg"))
"""Present wherever an NVIDIA driver is (Linux; Windows' Linux subsystem). A container without the
``utility`` capability has the driver and no NVML, and its GPUs still work."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for one worker process."""

    label: str
    """As the log says it: ``GPU 0``, ``CPU 1``."""
    kind: Literal["cpu", "cuda"]
    visible: str = ""
    """What the worker sees as ``CUDA_VISIBLE_DEVICES``; empty hides every GPU."""


class Gpus(Protocol):
    """The machine's own list of GPUs."""

    def uuids(self) -> tuple[str, ...] | None:
        """UUIDs in the driver's order; None where nobody can tell."""

    def has_mig(self, entry: str) -> bool: ...

    def driver_present(self) -> bool: ...

    def memory_mib(self, entry: str) -> tuple[int, int] | None:
        """Free and total memory of a GPU, given as in ``CUDA_VISIBLE_DEVICES``; None where nobody
        can tell."""


class Nvml:
    """The list as NVIDIA's management library gives it."""

    def uuids(self) -> tuple[str, ...] | None:
        try:
            nvml: Any = importlib.import_module("pynvml")
            nvml.nvmlInit()
        except Exception as error:
            # Library or driver absent is the normal state of a CPU machine; pynvml's own
            # exception class cannot be named before it is imported.
            log.debug("No GPU list from NVML: %s", error)
            return None
        try:
            handles = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
            return tuple(_text(nvml.nvmlDeviceGetUUID(handle)) for handle in handles)
        finally:
            nvml.nvmlShutdown()

    def has_mig(self, entry: str) -> bool:
        nvml: Any = importlib.import_module("pynvml")
        nvml.nvmlInit()
        try:
            nvml.nvmlDeviceGetHandleByUUID(entry.encode())
        except nvml.NVMLError as error:
            log.debug("NVML does not know %s: %s", entry, error)
            return False
        else:
            return True
        finally:
            nvml.nvmlShutdown()

    def memory_mib(self, entry: str) -> tuple[int, int] | None:
        try:
            nvml: Any = importlib.import_module("pynvml")
            nvml.nvmlInit()
        except Exception as error:
            log.debug("No memory of %s from NVML: %s", entry, error)
            return None
        try:
            handle = _handle(nvml, entry)
            memory = None if handle is None else nvml.nvmlDeviceGetMemoryInfo(handle)
        except nvml.NVMLError as error:
            # Without it a model is loaded on trust; a GPU that is gone says so at the load.
            log.debug("No memory of %s from NVML: %s", entry, error)
            return None
        finally:
            nvml.nvmlShutdown()
        return None if memory is None else (memory.free // MIB, memory.total // MIB)

    def driver_present(self) -> bool:
        return any(file.exists() for file in DRIVER_FILES)


def find_slots(
    *,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    cuda_visible_devices: str | None = None,
    gpu_ids: Sequence[int | str] | None = None,
    multi_gpu: bool = True,
    workers: int = 0,
    threads: int = 1,
    worker_mib: int = 0,
    gpus: Gpus | None = None,
) -> tuple[Slot, ...]:
    """Slots for a pool, at least one.

    ``gpu_ids`` names GPUs instead of ``cuda_visible_devices``. ``workers`` fixes the number of
    CPU workers; at 0 there is one per ``threads`` cores as far as ``worker_mib`` each fits into
    memory. Without ``multi_gpu`` there is exactly one slot.

    Raises DeviceUnavailable for a GPU that was asked for and is not there.
    """
    slots: tuple[Slot, ...] = ()
    if device != "cpu":
        wanted = gpu_ids is not None or device == "cuda"
        listed = cuda_visible_devices if gpu_ids is None else ",".join(map(str, gpu_ids))
        slots = _gpu_slots(listed, gpus or Nvml(), wanted)
        if not slots and wanted:
            raise DeviceUnavailable("A GPU was asked for, and this machine shows none.")
    if not slots:
        slots = _cpu_slots(workers, threads, worker_mib)
    return slots if multi_gpu else slots[:1]


def _gpu_slots(listed: str | None, gpus: Gpus, wanted: bool) -> tuple[Slot, ...]:
    uuids = gpus.uuids()
    if listed is None:
        # By UUID, because CUDA numbers GPUs by speed and NVML by bus.
        return tuple(Slot(f"GPU {i}", "cuda", uuid) for i, uuid in enumerate(uuids or ()))
    entries = visible_entries(listed)
    if uuids is None and not gpus.driver_present():
        if entries and not wanted:
            log.info("CUDA_VISIBLE_DEVICES is %r, but there is no GPU driver.", listed)
        return ()
    slots = []
    for position, entry in enumerate(entries):
        if uuids is not None and not _exists(entry, uuids, gpus):
            raise DeviceUnavailable(f"GPU {entry!r} does not exist; there are {len(uuids)} GPUs.")
        label = entry if entry.isdigit() else str(position)
        slots.append(Slot(f"GPU {label}", "cuda", entry))
    return tuple(slots)


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


def _exists(entry: str, uuids: tuple[str, ...], gpus: Gpus) -> bool:
    if entry.isdigit():
        return int(entry) < len(uuids)
    if entry.startswith("GPU-"):
        # CUDA accepts any unambiguous beginning of a UUID.
        return any(uuid.startswith(entry) for uuid in uuids)
    if entry.startswith("MIG-GPU-"):
        # Older drivers: MIG-<UUID of the GPU>/<GPU instance>/<compute instance>.
        return entry.removeprefix("MIG-").split("/")[0] in uuids
    return entry.startswith("MIG-") and gpus.has_mig(entry)


def _cpu_slots(workers: int, threads: int, worker_mib: int) -> tuple[Slot, ...]:
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
    return tuple(Slot(f"CPU {i}", "cpu") for i in range(count))


def _handle(nvml: Any, entry: str) -> Any:
    """NVML's handle of a GPU. CUDA numbers GPUs by speed where it is not told otherwise, so among
    different GPUs an index may name another one here; UUIDs never do."""
    if entry.isdigit():
        return nvml.nvmlDeviceGetHandleByIndex(int(entry))
    if entry.startswith("MIG-"):
        return nvml.nvmlDeviceGetHandleByUUID(entry.encode())
    for index in range(nvml.nvmlDeviceGetCount()):
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        if _text(nvml.nvmlDeviceGetUUID(handle)).startswith(entry):
            return handle
    return None


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
