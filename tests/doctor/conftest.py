"""Machines made of files, so that each check is tried on facts of its own."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from core.settings import Settings
from doctor.diagnosis import Finding
from doctor.machine import Machine

Built = Callable[..., Machine]

VERSION = (
    "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {}  Release Build\nGCC version: 13\n"
)


@pytest.fixture
def build(tmp_path: Path) -> Built:
    """``build(driver="580.65.06", nodes=["nvidia0"], container=True, variables={…}, files={…})``"""

    def made(
        *,
        driver: str = "",
        nodes: Iterable[str] = (),
        cards: int = 0,
        container: bool = False,
        variables: dict[str, str] | None = None,
        files: dict[str, str] | None = None,
    ) -> Machine:
        texts = dict(files or {})
        if driver:
            texts["proc/driver/nvidia/version"] = VERSION.format(driver)
        for name in nodes:
            texts[f"dev/{name}"] = ""
        for number in range(cards):
            texts[f"sys/bus/pci/devices/0000:0{number}:00.0/vendor"] = "0x10de\n"
            texts[f"sys/bus/pci/devices/0000:0{number}:00.0/class"] = "0x030200\n"
        if container:
            texts[".dockerenv"] = ""
        for name, text in texts.items():
            path = tmp_path / "root" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return Machine(tmp_path / "root", variables or {})

    return made


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., Settings]:
    """Settings with folders and a port of the test's own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def made(**chosen: object) -> Settings:
        own = {"data_dir": tmp_path / "data", "models_dir": tmp_path / "models", "port": port}
        return Settings(**(own | chosen))

    return made


def only(found: Finding | Iterable[Finding]) -> Finding:
    """The one finding there is."""
    (finding,) = [found] if isinstance(found, Finding) else found
    return finding


def severities(found: Finding | Iterable[Finding]) -> list[str]:
    return [finding.severity for finding in ([found] if isinstance(found, Finding) else found)]
