"""What the system shows: driver, device files, container, variables. Only reads files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from core.settings import library_variables

NVIDIA = "0x10de"
DISPLAY = ("0x0300", "0x0302")
"""PCI classes of graphics cards and of cards without a screen."""

_DRIVER = re.compile(r"Kernel Module(?: for \S+)?\s+(\d[\d.]*)")
_IN_CONTAINER = re.compile(r"docker|kubepods|containerd|libpod|/lxc|garden|buildkit")


@dataclass(frozen=True, slots=True)
class Machine:
    """Looks below ``root``; every answer is read when it is asked for."""

    root: Path = Path("/")
    variables: Mapping[str, str] = field(default_factory=library_variables)

    @property
    def driver(self) -> str | None:
        """Version of the loaded NVIDIA driver, as the kernel says it."""
        found = _DRIVER.search(self.read("proc/driver/nvidia/version"))
        return found[1] if found else None

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of NVIDIA's device files in ``/dev``; ``dxg`` is the one of Windows' Linux."""
        found = [path.name for path in (self.root / "dev").glob("nvidia*") if not path.is_dir()]
        if (self.root / "dev" / "dxg").exists():
            found.append("dxg")
        return tuple(sorted(found))

    @property
    def cards_on_bus(self) -> int:
        """NVIDIA cards that are plugged in, whether or not a driver is there."""
        return sum(
            self.read(path / "vendor") == NVIDIA and self.read(path / "class").startswith(DISPLAY)
            for path in (self.root / "sys/bus/pci/devices").glob("*")
        )

    @property
    def container(self) -> str:
        """By what it shows that this is a container; empty outside of one."""
        for mark in (".dockerenv", "run/.containerenv"):
            if (self.root / mark).exists():
                return f"/{mark}"
        if "KUBERNETES_SERVICE_HOST" in self.variables:
            return "KUBERNETES_SERVICE_HOST"
        for group in ("proc/1/cgroup", "proc/self/cgroup"):
            if _IN_CONTAINER.search(self.read(group)):
                return f"/{group}"
        return ""

    @property
    def cuda_folders(self) -> tuple[Path, ...]:
        """Toolkits beside the driver: ``/usr/local/cuda-13.0``."""
        return tuple(sorted((self.root / "usr/local").glob("cuda-[0-9]*")))

    def file_system_of(self, path: Path) -> str:
        """What the kernel calls the file system of the deepest mount above a path; empty where it
        cannot be told."""
        kind, depth = "", 0
        for line in self.read("proc/self/mountinfo").splitlines():
            left, _, right = line.partition(" - ")
            fields = left.split()
            if len(fields) < 5 or not right:
                continue
            point = Path(fields[4].replace("\\040", " "))
            if path.is_relative_to(point) and len(point.parts) >= depth:
                kind, depth = right.split()[0], len(point.parts)
        return kind

    def read(self, path: str | Path) -> str:
        """A small file's text; empty where there is none."""
        try:
            return (self.root / path).read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return ""
