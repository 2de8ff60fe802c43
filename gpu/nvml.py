"""The machine's GPUs as NVIDIA's management library (NVML) shows them.

NVML needs no CUDA context and takes no GPU memory, so the parent process may ask it. Where the
library or the driver is absent there is an empty list with the reason: the normal state of a
machine without a GPU, and never an exception.

Memory is told as the driver's second version counts it: used is what processes hold, and what the
driver keeps for itself is neither used nor free, so ``used + free`` may be less than ``total``.
Drivers before 510 know the first version alone, which counts the driver's part as used.
"""

from __future__ import annotations

import importlib
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

MIB = 1 << 20
PROC = Path("/proc")


TEMPERATURE_GPU, MIG_ENABLED = 0, 1
NOT_SUPPORTED, NO_PERMISSION = 3, 4
"""Constants of nvml.h."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuProcess:
    """A process that holds memory of a GPU, of ours or of others."""

    pid: int
    """In a container NVML may give the host's number, or none of other containers' processes."""
    name: str = ""
    """Empty where it cannot be read."""
    used_mib: int | None = None
    """None where NVML does not say (Windows' driver model, MIG without rights)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MigDevice:
    """A slice of a card, with memory of its own; CUDA uses it by its ``MIG-…`` id."""

    uuid: str
    name: str
    total_mib: int
    used_mib: int
    free_mib: int
    processes: tuple[GpuProcess, ...] = ()
    capability: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuDevice:
    """A card."""

    index: int
    """In NVML's order, by bus; CUDA may number otherwise, so workers are given UUIDs."""
    uuid: str
    name: str
    total_mib: int = 0
    """0 where NVML does not say, as with chips that share the machine's memory (GB10)."""
    used_mib: int = 0
    free_mib: int = 0
    capability: tuple[int, int] | None = None
    """Compute capability, (8, 9) for 8.9."""
    processes: tuple[GpuProcess, ...] = ()
    utilization: int | None = None
    """Percent of the last moment in which it computed."""
    temperature_c: int | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    mig: tuple[MigDevice, ...] = ()
    """Not empty: MIG is on, and CUDA uses these instead of the card."""
    problem: str = ""
    """NVML's error for a card that cannot be read, whose numbers are then 0; or why CUDA cannot use
    it as it is set up. Such a card gets no work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuList:
    """Everything NVML showed in one moment."""

    devices: tuple[GpuDevice, ...] = ()
    driver: str | None = None
    """Version of the driver, ``580.65.06``."""
    cuda: tuple[int, int] | None = None
    """Newest CUDA the driver runs, (12, 8)."""
    problem: str = ""
    """Why the list is empty or old; empty when NVML answered."""


def read_gpus() -> GpuList:
    """All cards now. Never raises; costs some milliseconds, and more where the driver sleeps."""
    try:
        nvml: Any = importlib.import_module("pynvml")
    except ImportError as error:
        log.debug("No GPU list: %s", error)
        return GpuList(problem="The package nvidia-ml-py is not installed.")
    # Its classes cannot be named before it is imported, and older versions have fewer. A process
    # name may be any bytes.
    mismatch = getattr(nvml, "NVMLLibraryMismatchError", nvml.NVMLError)
    failures = (nvml.NVMLError, mismatch, UnicodeDecodeError)
    try:
        nvml.nvmlInit()
    except failures as error:
        log.debug("No GPU list: %s", error)
        return GpuList(problem=_told(error))
    try:
        return _Reader(nvml, failures).read()
    except failures as error:
        log.debug("No GPU list: %s", error)
        return GpuList(problem=_told(error))
    finally:
        # NVML counts its users, so threads do not end it for each other.
        try:
            nvml.nvmlShutdown()
        except failures as error:
            log.debug("NVML could not be shut down: %s", error)


def find_device(entry: str, gpus: GpuList) -> GpuDevice | MigDevice | None:
    """The device of an entry of ``CUDA_VISIBLE_DEVICES``: index, beginning of a UUID, MIG id.

    None for what is not there and for a beginning that two cards share. Where MIG is on, CUDA
    takes the first MIG device of a card that is named. An index counts as NVML does; among cards
    of different kinds CUDA may mean another one, unless it is told to count by bus too.
    """
    for mig in (mig for card in gpus.devices for mig in card.mig):
        if mig.uuid == entry:
            return mig
    if entry.startswith("MIG-GPU-"):
        # Drivers before 470: MIG-<UUID of the card>/<GPU instance>/<compute instance>.
        uuid = entry.removeprefix("MIG-").split("/")[0]
        return next((card for card in gpus.devices if card.uuid == uuid), None)
    if entry.isdecimal():
        found = [card for card in gpus.devices if card.index == int(entry)]
    elif entry.startswith("GPU-"):
        found = [card for card in gpus.devices if card.uuid.startswith(entry)]
    else:
        found = []
    if len(found) != 1:
        return None
    return found[0].mig[0] if found[0].mig else found[0]


class _Reader:
    """Asks NVML between its beginning and its end."""

    def __init__(self, nvml: Any, failures: tuple[type[Exception], ...]) -> None:
        self._nvml = nvml
        self._failures = failures

    def read(self) -> GpuList:
        nvml = self._nvml
        cuda = self._maybe("nvmlSystemGetCudaDriverVersion_v2")
        return GpuList(
            devices=tuple(self._card(index) for index in range(nvml.nvmlDeviceGetCount())),
            driver=_text(self._maybe("nvmlSystemGetDriverVersion")) or None,
            cuda=None if cuda is None else (cuda // 1000, cuda % 1000 // 10),
        )

    def _card(self, index: int) -> GpuDevice:
        nvml = self._nvml
        uuid = name = ""
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            uuid, name = (
                _text(nvml.nvmlDeviceGetUUID(handle)),
                _text(nvml.nvmlDeviceGetName(handle)),
            )
            total, used, free = self._memory(handle)
        except self._failures as error:
            log.debug("GPU %d cannot be read: %s", index, error)
            return GpuDevice(index=index, uuid=uuid, name=name, problem=_told(error))
        capability = self._maybe("nvmlDeviceGetCudaComputeCapability", handle)
        migs = self._migs(handle, capability)
        processes = self._processes(handle)
        # Of a card with MIG, NVML names the processes to administrators alone.
        processes += [process for mig in migs or () for process in mig.processes]
        rates = self._maybe("nvmlDeviceGetUtilizationRates", handle)
        heat = self._maybe("nvmlDeviceGetTemperature", handle, TEMPERATURE_GPU)
        return GpuDevice(
            index=index,
            uuid=uuid,
            name=name,
            total_mib=total,
            used_mib=used,
            free_mib=free,
            capability=capability,
            processes=_merged(processes),
            utilization=None if rates is None else rates.gpu,
            temperature_c=heat,
            power_w=_watts(self._maybe("nvmlDeviceGetPowerUsage", handle)),
            power_limit_w=_watts(self._maybe("nvmlDeviceGetEnforcedPowerLimit", handle)),
            mig=migs or (),
            problem="MIG is on, but there is no MIG device to use." if migs == () else "",
        )

    def _migs(self, card: Any, capability: tuple[int, int] | None) -> tuple[MigDevice, ...] | None:
        """The MIG devices of a card; None where MIG is off."""
        mode = self._maybe("nvmlDeviceGetMigMode", card)
        if mode is None or mode[0] != MIG_ENABLED:
            return None
        found = []
        for place in range(self._maybe("nvmlDeviceGetMaxMigDeviceCount", card) or 0):
            # Most places are empty, and a device may be removed while it is read.
            handle = self._maybe("nvmlDeviceGetMigDeviceHandleByIndex", card, place)
            try:
                found += [] if handle is None else [self._mig(handle, capability)]
            except self._failures as error:
                log.debug("A MIG device disappeared: %s", error)
        return tuple(found)

    def _mig(self, handle: Any, capability: tuple[int, int] | None) -> MigDevice:
        nvml = self._nvml
        total, used, free = self._memory(handle)
        return MigDevice(
            uuid=_text(nvml.nvmlDeviceGetUUID(handle)),
            name=_text(nvml.nvmlDeviceGetName(handle)),
            total_mib=total,
            used_mib=used,
            free_mib=free,
            processes=_merged(self._processes(handle)),
            capability=self._maybe("nvmlDeviceGetCudaComputeCapability", handle) or capability,
        )

    def _memory(self, handle: Any) -> tuple[int, int, int]:
        """Total, used and free."""
        nvml = self._nvml
        # Version 2 does not count what the driver keeps for itself as used.
        version = getattr(nvml, "nvmlMemory_v2", None)
        memory = version and self._maybe("nvmlDeviceGetMemoryInfo", handle, version)
        if not memory:
            try:
                memory = nvml.nvmlDeviceGetMemoryInfo(handle)
            except nvml.NVMLError as error:
                if getattr(error, "value", None) not in (NOT_SUPPORTED, NO_PERMISSION):
                    raise
                return 0, 0, 0
        return memory.total // MIB, memory.used // MIB, memory.free // MIB

    def _processes(self, handle: Any) -> list[GpuProcess]:
        return [
            GpuProcess(
                pid=process.pid,
                name=self._process_name(process.pid),
                used_mib=None if process.usedGpuMemory is None else process.usedGpuMemory // MIB,
            )
            for ask in (
                "nvmlDeviceGetComputeRunningProcesses",
                "nvmlDeviceGetGraphicsRunningProcesses",
                "nvmlDeviceGetMPSComputeRunningProcesses",
            )
            for process in self._maybe(ask, handle) or ()
        ]

    def _process_name(self, pid: int) -> str:
        if command := self._maybe("nvmlSystemGetProcessName", pid):
            return _program(_text(command))
        try:
            return (PROC / str(pid) / "comm").read_text(errors="replace").strip()
        except OSError:
            return ""

    def _maybe(self, name: str, *about: Any) -> Any | None:
        """The answer of a function; None for what this card, driver, user or version of the
        package cannot be told."""
        ask = getattr(self._nvml, name, None)
        if ask is None:
            return None
        try:
            return ask(*about)
        except self._failures as error:
            log.debug("NVML on %s: %s", name, error)
            return None


def _merged(processes: Iterable[GpuProcess]) -> tuple[GpuProcess, ...]:
    """Each once, the largest first. One that computes and draws is listed as both, each time with
    all it holds."""
    merged: dict[int, GpuProcess] = {}
    for process in processes:
        known = merged.get(process.pid)
        if known is None or (known.used_mib or 0) < (process.used_mib or 0):
            merged[process.pid] = process
    return tuple(sorted(merged.values(), key=lambda it: (-(it.used_mib or 0), it.pid)))


def _program(command: str) -> str:
    """``chrome`` of ``/opt/google/chrome/chrome --type=gpu-process``."""
    return re.split(r"[/\\]", command.split(" -")[0].strip())[-1] or command.strip()


def _text(value: str | bytes | None) -> str:
    """Versions of the package before 11.5 answer in bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value or ""


def _watts(milliwatts: int | None) -> float | None:
    return None if milliwatts is None else milliwatts / 1000


def _told(error: Exception) -> str:
    return f"NVML says: {str(error).rstrip('.')}."
