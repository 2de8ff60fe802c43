"""How many cores and how much memory this process may really use.

A container sees the host's cores and memory; its limits stand in control groups, version 1 or 2,
anywhere between the process's own group and the root.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

MIB = 1024 * 1024
PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")


def usable_cores(proc: Path = PROC, cgroups: Path = CGROUPS) -> int:
    """Cores of the affinity mask, bounded by the tightest CPU quota; at least one.

    A quota of 1.5 cores counts as one: a second busy worker would be throttled half the time.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    quotas = [quota for group in _groups("cpu", proc, cgroups) if (quota := _cpu_quota(group))]
    return max(1, min([cores, *map(int, quotas)]))


def available_mib(proc: Path = PROC, cgroups: Path = CGROUPS) -> int | None:
    """MiB that can still be taken without swapping or being killed; None where it is unknown."""
    rooms = [room for group in _groups("memory", proc, cgroups) if (room := _memory_room(group))]
    return min([*rooms, *_meminfo("MemAvailable", proc)], default=None)


def total_mib(proc: Path = PROC, cgroups: Path = CGROUPS) -> int | None:
    """MiB this process and its children may have at most; None where it is unknown."""
    totals = [
        limit // MIB
        for group in _groups("memory", proc, cgroups)
        if (limit := _memory_limit(group)) is not None
    ]
    return min([*totals, *_meminfo("MemTotal", proc)], default=None)


def _meminfo(name: str, proc: Path) -> list[int]:
    """The kernel's figure in MiB, where there is one."""
    lines = (_read(proc / "meminfo") or "").splitlines()
    return [int(line.split()[1]) // 1024 for line in lines if line.startswith(f"{name}:")]


def _groups(controller: str, proc: Path, cgroups: Path) -> Iterator[Path]:
    """This process's control group directories for one controller, innermost first, all levels.

    Inside a container the path in ``/proc/self/cgroup`` may not exist below the mount; the
    mount itself is then the container's own group, and it is always among the results.
    """
    for line in (_read(proc / "self" / "cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root = cgroups
        elif controller in controllers.split(","):
            root = cgroups / controller
            if not root.is_dir():
                root = cgroups / controllers
        else:
            continue
        directory = root / path.lstrip("/")
        while directory != root:
            yield directory
            directory = directory.parent
        yield root


def _cpu_quota(group: Path) -> float | None:
    v2 = _read(group / "cpu.max")
    if v2:
        quota, period = v2.split()
        return None if quota == "max" else max(1.0, int(quota) / int(period))
    quota_us = _read(group / "cpu.cfs_quota_us")
    period_us = _read(group / "cpu.cfs_period_us")
    if quota_us and period_us and int(quota_us) > 0:
        return max(1.0, int(quota_us) / int(period_us))
    return None


def _memory_limit(group: Path) -> int | None:
    """The group's limit in bytes; None where it has none."""
    v2 = _read(group / "memory.max")
    if v2:
        return None if v2 == "max" else int(v2)
    v1 = _read(group / "memory.limit_in_bytes")
    # Version 1 says "no limit" with a number near 2^63.
    return None if not v1 or int(v1) >= 1 << 60 else int(v1)


def _memory_room(group: Path) -> int | None:
    """Free MiB under the group's limit; cached file pages count as free, as the kernel sees it."""
    limit = _memory_limit(group)
    if limit is None:
        return None
    if _read(group / "memory.max"):
        used, cache = _read(group / "memory.current"), "inactive_file"
    else:
        used, cache = _read(group / "memory.usage_in_bytes"), "total_inactive_file"
    cached = 0
    for line in (_read(group / "memory.stat") or "").splitlines():
        key, _, value = line.partition(" ")
        if key == cache:
            cached = int(value)
    return max(1, (limit - int(used or 0) + cached) // MIB)


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return None
