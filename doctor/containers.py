"""Whether this is a container, and whether it was given what GPUs need."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from core.settings import Device
from doctor.diagnosis import Finding, error, hint, ok
from doctor.driver import GIVE_GPU
from doctor.machine import Machine

AREA = "Container and devices"

NEW_SETTINGS = (
    "With Docker Compose, changed settings take effect with `docker compose up -d`;"
    " `docker compose restart` keeps the old ones."
)

LEAST_SHM_MIB = 128
"""Docker's own choice is 64."""


def container(device: Device, machine: Machine) -> Iterator[Finding]:
    """The container runtime's part: which GPUs and which of the driver's libraries come in."""
    if not machine.container:
        yield ok("Not in a container.")
        return
    yield ok(f"In a container ({machine.container}). {NEW_SETTINGS}")
    visible = machine.variables.get("NVIDIA_VISIBLE_DEVICES")
    able = machine.variables.get("NVIDIA_DRIVER_CAPABILITIES")
    if not machine.nodes and device != "cpu":
        says = "not set" if visible is None else repr(visible)
        text = f"The container has no GPU: no /dev/nvidia*, NVIDIA_VISIBLE_DEVICES is {says}."
        yield Finding("error" if device == "cuda" else "hint", text, GIVE_GPU)
    if machine.nodes and able is not None and "all" not in able:
        missing = [name for name in ("compute", "utility") if name not in able.split(",")]
        if missing:
            yield Finding(
                "error" if "compute" in missing else "warning",
                f"NVIDIA_DRIVER_CAPABILITIES is {able!r} and lacks {' and '.join(missing)}.",
                "Start it with `-e NVIDIA_DRIVER_CAPABILITIES=compute,utility`.",
            )


def nodes(device: Device, machine: Machine) -> Iterator[Finding]:
    """The device files a driver is reached by."""
    names = machine.nodes
    if device == "cpu" or (not names and machine.driver is None):
        return
    missing = [name for name in ("nvidiactl", "nvidia-uvm") if name not in names]
    if not any(name.removeprefix("nvidia").isdigit() for name in names):
        missing.append("nvidia0")
    if "dxg" in names:
        yield ok("/dev/dxg: the GPU, through Windows.")
    elif missing:
        fix = "On the host: `sudo nvidia-modprobe -u -c=0`"
        fix += ", then start the container again." if machine.container else "."
        yield error(f"Device files are missing: {_paths(missing)}.", fix)
    elif closed := [name for name in names if _closed(machine.root / "dev" / name)]:
        yield error(f"This user may not open {_paths(closed)}.", "`sudo chmod a+rw /dev/nvidia*`")
    else:
        yield ok(f"Device files: {_paths(names)}.")


def shared_memory(machine: Machine) -> Finding:
    place = machine.root / "dev/shm"
    if not place.is_dir():
        return hint("There is no /dev/shm.", "Mount a tmpfs there.")
    size = shutil.disk_usage(place).total >> 20
    text = f"/dev/shm has {size:,} MiB."
    if size < LEAST_SHM_MIB:
        return hint(text, "`docker run --shm-size=1g …`; docker-compose.yml sets shm_size.")
    return ok(text)


def _paths(names: Iterable[str]) -> str:
    return ", ".join(f"/dev/{name}" for name in names)


def _closed(node: Path) -> bool:
    # Capabilities' files are for administrators alone.
    return "caps" not in node.name and not os.access(node, os.R_OK | os.W_OK)
