"""Whether this is a container, and whether it was given what GPUs need."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from core.settings import Device
from doctor.diagnosis import Finding, Severity
from doctor.driver import GIVE_GPU
from doctor.machine import Machine

AREA = "Container and devices"

NEW_SETTINGS = (
    "With Docker Compose, changed settings take effect with `docker compose up -d`;"
    " `docker compose restart` keeps the old ones."
)

LEAST_SHM_MIB = 128
"""Docker's own choice is 64."""


def container(device: Device, machine: Machine) -> list[Finding]:
    """The container runtime's part: which GPUs and which of the driver's libraries come in."""
    if not machine.container:
        return [Finding("ok", AREA, "Not in a container.")]
    found = [Finding("ok", AREA, f"In a container ({machine.container}). {NEW_SETTINGS}")]
    visible = machine.variables.get("NVIDIA_VISIBLE_DEVICES")
    able = machine.variables.get("NVIDIA_DRIVER_CAPABILITIES")
    given = bool(machine.nodes)
    severity: Severity = "error" if device == "cuda" else "hint"
    if not given and device != "cpu":
        says = "not set" if visible is None else repr(visible)
        text = f"The container has no GPU: no /dev/nvidia*, NVIDIA_VISIBLE_DEVICES is {says}."
        found.append(Finding(severity, AREA, text, GIVE_GPU))
    if given and able is not None and "all" not in able:
        missing = [name for name in ("compute", "utility") if name not in able.split(",")]
        if missing:
            text = f"NVIDIA_DRIVER_CAPABILITIES is {able!r} and lacks {' and '.join(missing)}."
            fix = "Start it with `-e NVIDIA_DRIVER_CAPABILITIES=compute,utility`."
            bad: Severity = "error" if "compute" in missing else "warning"
            found.append(Finding(bad, AREA, text, fix))
    return found


def nodes(device: Device, machine: Machine) -> list[Finding]:
    """The device files a driver is reached by."""
    names = machine.nodes
    if device == "cpu" or (not names and machine.driver is None):
        return []
    if "dxg" in names:
        return [Finding("ok", AREA, "/dev/dxg: the GPU, through Windows.")]
    missing = [name for name in ("nvidiactl", "nvidia-uvm") if name not in names]
    if not any(name.removeprefix("nvidia").isdigit() for name in names):
        missing.append("nvidia0")
    if missing:
        text = f"Device files are missing: {', '.join(f'/dev/{name}' for name in missing)}."
        fix = "On the host: `sudo nvidia-modprobe -u -c=0`"
        fix += ", then start the container again." if machine.container else "."
        return [Finding("error", AREA, text, fix)]
    closed = [name for name in names if _closed(machine.root / "dev" / name)]
    if closed:
        text = f"This user may not open {', '.join(f'/dev/{name}' for name in closed)}."
        return [Finding("error", AREA, text, "`sudo chmod a+rw /dev/nvidia*`")]
    return [Finding("ok", AREA, f"Device files: {', '.join(f'/dev/{name}' for name in names)}.")]


def shared_memory(machine: Machine) -> list[Finding]:
    place = machine.root / "dev/shm"
    if not place.is_dir():
        return [Finding("hint", AREA, "There is no /dev/shm.", "Mount a tmpfs there.")]
    size = shutil.disk_usage(place).total >> 20
    text = f"/dev/shm has {size:,} MiB."
    if size < LEAST_SHM_MIB:
        fix = "`docker run --shm-size=1g …`; docker-compose.yml sets shm_size."
        return [Finding("hint", AREA, text, fix)]
    return [Finding("ok", AREA, text)]


def _closed(node: Path) -> bool:
    # Capabilities' files are for administrators alone.
    return "caps" not in node.name and not os.access(node, os.R_OK | os.W_OK)
