"""Main memory of processes: what one holds, and giving back what this one needs no more."""

from __future__ import annotations

import ctypes
import gc
import sys
from pathlib import Path

PROC = Path("/proc")


def resident_mib(pid: int, proc: Path = PROC) -> float | None:
    """MiB a process holds in main memory now; None if it has ended or cannot be read."""
    try:
        lines = (proc / str(pid) / "status").read_text("ascii", "replace").splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return None


def return_to_system() -> None:
    """Free unreferenced objects and return their pages, which the C library otherwise keeps."""
    gc.collect()
    # Other C libraries than glibc have no such call and keep less.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
