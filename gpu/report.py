"""What the machine's GPUs are and hold, as plain values for programs, bug reports and JSON.

Memory is in GB of 1,024 MiB, the unit in which cards are sold and guides write; the same numbers
in MiB stand beside it. What is not known is None.
"""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gpu.cublas import CUBLAS
from gpu.nvml import GpuDevice, GpuList, GpuProcess, MigDevice
from gpu.support import compute_types

MIB_PER_GB = 1024

PACKAGES = ("ctranslate2", "faster-whisper", "nvidia-ml-py", "nvidia-cublas-cu12")

LIBRARY_FOLDERS = (
    "/usr/local/cuda*/lib64",
    "/usr/local/cuda*/targets/*/lib",
    "/usr/lib/*-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
)
"""Where NVIDIA's and the distributions' packages put CUDA's libraries."""


def memory_info(gpus: GpuList) -> dict[str, Any]:
    """Every card with its memory and the processes that hold it.

    ``gpus[i]`` is the card of NVML's number ``i``, also where it cannot be read: then ``problem``
    says why and its numbers are 0. ``available``: at least one card can be used.
    """
    return {
        "available": any(not card.problem for card in gpus.devices),
        "count": len(gpus.devices),
        "driver": gpus.driver,
        "cuda": _version(gpus.cuda),
        "problem": gpus.problem,
        "gpus": [_card(card) for card in gpus.devices],
    }


def cuda_debug_info(gpus: GpuList, visible: str | None) -> dict[str, Any]:
    """What a bug report about CUDA needs. ``visible``: the CUDA_VISIBLE_DEVICES in force.

    The compute types are those the hardware has by its compute capability.
    """
    return {
        "available": any(not card.problem for card in gpus.devices),
        "problem": gpus.problem,
        "driver": gpus.driver,
        "cuda": _version(gpus.cuda),
        "cuda_visible_devices": visible,
        "gpus": [
            {
                "index": card.index,
                "mig": [_abilities(mig) for mig in card.mig],
                "problem": card.problem,
                **_abilities(card),
            }
            for card in gpus.devices
        ],
        "packages": {name: _installed(name) for name in PACKAGES},
        "cublas": [str(path) for path in cublas_files()],
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def cublas_files(root: Path = Path("/")) -> list[Path]:
    """Every cuBLAS 12 in Python's packages and the usual folders."""
    return [path for folder in _library_folders(root) if (path := folder / CUBLAS).is_file()]


def _library_folders(root: Path) -> Iterator[Path]:
    for entry in dict.fromkeys(sys.path):
        yield Path(entry) / "nvidia" / "cublas" / "lib"
    seen = set()
    for pattern in LIBRARY_FOLDERS:
        for folder in sorted(root.glob(pattern.lstrip("/"))):
            # /usr/local/cuda is a link to the version beside it.
            if (real := folder.resolve()) not in seen:
                seen.add(real)
                yield folder


def _card(card: GpuDevice) -> dict[str, Any]:
    return {
        "index": card.index,
        **_device(card),
        "utilization": card.utilization,
        "temperature": card.temperature_c,
        "power": card.power_w,
        "power_limit": card.power_limit_w,
        "problem": card.problem,
        "mig": [_device(mig) for mig in card.mig],
    }


def _device(device: GpuDevice | MigDevice) -> dict[str, Any]:
    sizes = {"total": device.total_mib, "used": device.used_mib, "free": device.free_mib}
    return {
        "uuid": device.uuid,
        "name": device.name,
        "capability": _version(device.capability),
        **{name: mib / MIB_PER_GB for name, mib in sizes.items()},
        **{f"{name}_mib": mib for name, mib in sizes.items()},
        "processes": [_process(process) for process in device.processes],
    }


def _process(process: GpuProcess) -> dict[str, Any]:
    used = process.used_mib
    return {
        "pid": process.pid,
        "name": process.name,
        "used": None if used is None else used / MIB_PER_GB,
        "used_mib": used,
    }


def _abilities(device: GpuDevice | MigDevice) -> dict[str, Any]:
    known = device.capability is not None
    return {
        "uuid": device.uuid,
        "name": device.name,
        "total_mib": device.total_mib,
        "capability": _version(device.capability),
        "compute_types": list(compute_types(device.capability)) if known else None,
    }


def _version(pair: tuple[int, int] | None) -> str | None:
    return None if pair is None else f"{pair[0]}.{pair[1]}"


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
