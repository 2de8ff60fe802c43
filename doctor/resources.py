"""Cores, memory and disks, against what the settings ask for."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from core.models import MODELS
from core.settings import Settings
from doctor.diagnosis import Finding, Severity
from doctor.files import free_mib, standing, why_not_writable
from parallel_transcriber import CPU_WORKER_MIB
from workers.resources import available_mib, total_mib, usable_cores

CORES, DISK = "Cores and memory", "Disk"

ROOM_MIB = 2048
"""Disk space under which a few long recordings fill it: their audio is 110 MiB an hour."""

TEMPORARY_MIB = 512


def cores(settings: Settings, usable: Callable[[], int] = usable_cores) -> list[Finding]:
    count, wanted = usable(), settings.workers * settings.threads
    text = f"{count} core{'s are' if count > 1 else ' is'} available"
    if settings.workers and wanted > count:
        fix = f"`WHISPER_WORKERS={max(1, count // settings.threads)}`, or 0 for as many as fit."
        text += f", and the settings ask for {settings.workers} workers x {settings.threads}."
        return [Finding("warning", CORES, text, fix)]
    if settings.threads > count:
        text += f", and the settings ask for {settings.threads} threads in each worker."
        return [Finding("warning", CORES, text, f"`WHISPER_THREADS={count}`")]
    return [Finding("ok", CORES, f"{text}.")]


def memory(
    settings: Settings,
    available: Callable[[], int | None] = available_mib,
    total: Callable[[], int | None] = total_mib,
) -> list[Finding]:
    free, whole = available(), total()
    if free is None or whole is None:
        return [Finding("hint", CORES, "The system does not say how much memory is free.")]
    text = f"{free:,} of {whole:,} MiB of memory are free"
    needed = max(1, settings.workers) * CPU_WORKER_MIB
    if needed > free:
        who = f"{settings.workers} workers take" if settings.workers > 1 else "a CPU worker takes"
        text += f"; {who} about {needed:,} MiB."
        fix = "Close other programs, or give the container more (`--memory`)."
        if settings.workers > 1:
            fix = f"`WHISPER_WORKERS={max(1, free // CPU_WORKER_MIB)}`. {fix}"
        return [Finding("warning", CORES, text, fix)]
    return [Finding("ok", CORES, f"{text}.")]


def disks(settings: Settings, free: Callable[[Path], int] = free_mib) -> list[Finding]:
    """Room and permission where jobs, models and temporary files go."""
    found = data(settings, free)
    found += models_folder(settings, free)
    temporary = Path(tempfile.gettempdir())
    room = free(temporary)
    text = f"Temporary files go to {temporary}: {room:,} MiB free."
    if room < TEMPORARY_MIB:
        fix = "Free some space, or `export TMPDIR=…` to a folder on a larger disk."
        found.append(Finding("warning", DISK, text, fix))
    else:
        found.append(Finding("ok", DISK, text))
    return found


def data(settings: Settings, free: Callable[[Path], int]) -> list[Finding]:
    place = settings.data_dir
    if why := why_not_writable(place):
        text = f"The data directory {place} cannot be written: {why}."
        return [Finding("error", DISK, text, _fix_folder(place, "WHISPER_DATA_DIR"))]
    room = free(place)
    text = f"The data directory {place}: {room:,} MiB free"
    fix = "Free some space, or `WHISPER_DATA_DIR=…` on a larger disk."
    severity: Severity = "ok"
    if room < settings.min_free_mib:
        severity, text = "error", f"{text}; jobs are refused below {settings.min_free_mib:,}"
        fix += f" Or lower `WHISPER_MIN_FREE_MIB` ({settings.min_free_mib})."
    elif room < settings.min_free_mib + ROOM_MIB:
        severity = "warning"
    return [Finding(severity, DISK, f"{text}.", "" if severity == "ok" else fix)]


def models_folder(settings: Settings, free: Callable[[Path], int]) -> list[Finding]:
    place = settings.models_dir
    if why := why_not_writable(place):
        text = f"The models directory {place} cannot be written: {why}."
        fix = _fix_folder(place, "WHISPER_MODELS_DIR")
        return [Finding("warning", DISK, f"{text} Models cannot be downloaded.", fix)]
    room = free(place)
    text = f"The models directory {place}: {room:,} MiB free"
    if not place.exists():
        text += "; it is created with the first model"
    needed = MODELS["large-v3-turbo"].download_mib or 0
    if room < needed:
        fix = "Free some space, or `WHISPER_MODELS_DIR=…` on a larger disk."
        text += f"; large-v3-turbo takes {needed:,} MiB"
        return [Finding("warning", DISK, f"{text}.", fix)]
    return [Finding("ok", DISK, f"{text}.")]


def _fix_folder(place: Path, setting: str) -> str:
    owned = standing(place)
    return f'`sudo chown -R "$(id -u):$(id -g)" {owned}`, or `{setting}=…` to another folder.'
