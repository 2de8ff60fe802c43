"""Processes of a service and what they hold, as the kernel tells it in ``/proc`` (Linux).

A service's processes have a working directory of their own, which every process they start
inherits: so those are found, too, whose parent is dead. (The decoder wipes its environment.)
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["parent", "worker", "media", "starting"]

_LISTENS = "0A"
"""TCP_LISTEN in /proc/net/tcp."""

_ENGINE = "libctranslate2"
"""Mapped by every worker that has begun to load a model, and by no other process."""

_STARTED = b"core/child_main.py"
"""In the command line of every process but the service's own; its name comes last."""


@dataclass(frozen=True, slots=True)
class Process:
    pid: int
    kind: Kind


@dataclass(frozen=True, slots=True)
class Holdings:
    """What one process held at a moment."""

    rss_mib: float
    pss_mib: float
    """Its own memory and its share of what it shares with others."""
    threads: int
    descriptors: tuple[str, ...]
    """What each open descriptor is, without the connections of its clients: how long
    they stay is theirs to say."""


def working_in(folder: Path) -> list[Process]:
    """All living processes with that working directory."""
    here = str(folder.resolve())
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            pid = int(entry.name)
            # Of a zombie nothing is left to read.
            if _working_directory(pid) == here:
                found.append(Process(pid, _kind(pid)))
    return sorted(found, key=lambda process: process.pid)


def zombies(pid: int) -> list[int]:
    """Children that ended and were not reaped."""
    return [child for child in children(pid) if b"\nState:\tZ" in _read(child, "status")]


def children(pid: int) -> list[int]:
    """The processes a process has started, whatever thread did it."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(child) for child in task.read_text(encoding="ascii").split()]
        except OSError:
            continue  # the thread has ended
    return found


def holdings(pid: int) -> Holdings | None:
    """None when the process is gone."""
    memory = _read(pid, "smaps_rollup")
    threads = re.search(rb"\nThreads:\s+(\d+)", _read(pid, "status"))
    if not memory or threads is None:
        return None
    return Holdings(
        rss_mib=_kib(memory, "Rss") / 1024,
        pss_mib=_kib(memory, "Pss") / 1024,
        threads=int(threads[1]),
        descriptors=tuple(_without_visitors(pid, _descriptors(pid))),
    )


def _working_directory(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return ""  # it has ended


def _descriptors(pid: int) -> list[str]:
    found = []
    folder = f"/proc/{pid}/fd"
    try:
        numbers = os.listdir(folder)
    except OSError:
        return []
    for number in numbers:
        try:
            found.append(os.readlink(f"{folder}/{number}"))
        except OSError:
            continue  # closed meanwhile
    return found


def _without_visitors(pid: int, descriptors: list[str]) -> list[str]:
    rows = [
        row.split()
        for table in ("tcp", "tcp6")
        for row in _read(pid, f"net/{table}").decode("ascii", "replace").splitlines()[1:]
    ]
    sockets = {f"socket:[{row[9]}]": (row[1].rpartition(":")[2], row[3]) for row in rows}
    own = {sockets[name][0] for name in descriptors if sockets.get(name, ("", ""))[1] == _LISTENS}
    return [
        name
        for name in descriptors
        if name not in sockets or sockets[name][1] == _LISTENS or sockets[name][0] not in own
    ]


def _kind(pid: int) -> Kind:
    command = _read(pid, "cmdline")
    if _STARTED not in command:
        return "parent"
    if b"\0whisper-" in command:
        return "media"
    return "worker" if _ENGINE.encode() in _read(pid, "maps") else "starting"


def _kib(memory: bytes, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB".encode(), memory, re.MULTILINE)
    return int(found[1]) if found else 0


def _read(pid: int, name: str) -> bytes:
    """Empty when the process is gone, or is not ours to look at."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""
