"""Cores, memory and disks, against what the settings ask for."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from core.models import MODELS
from core.settings import Settings
from doctor.diagnosis import Finding, error, hint, ok, warning
from parallel_transcriber import CPU_WORKER_MIB

CORES, DISK = "Cores and memory", "Disk"

ROOM_MIB = 2048
"""Disk space under which a few long recordings fill it: their audio is 110 MiB an hour."""

TEMPORARY_MIB = 512


def standing(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    path = path.absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def why_not_writable(path: Path) -> str:
    """Empty where files can be made there, or where the folder could be; else the reason. Only
    writing tells for sure."""
    place = standing(path)
    if not place.is_dir():
        return f"{place} is not a folder"
    if place != path.absolute():
        # Making and removing the whole way would leave traces; the permission has to do.
        return "" if os.access(place, os.W_OK | os.X_OK) else f"{place} is not writable"
    try:
        with tempfile.TemporaryFile(dir=place):
            return ""
    except OSError as error:
        return error.strerror or str(error)


def free_mib(path: Path) -> int:
    """Free space for this user where the path lies or would lie."""
    return shutil.disk_usage(standing(path)).free >> 20


def cores(settings: Settings, count: int) -> Finding:
    """``count``: cores the app may use."""
    wanted = settings.workers * settings.threads
    text = f"{count} core{'s are' if count > 1 else ' is'} available"
    if settings.workers and wanted > count:
        text += f", and the settings ask for {settings.workers} workers x {settings.threads}."
        fewer = max(1, count // settings.threads)
        return warning(text, f"`WHISPER_WORKERS={fewer}`, or 0 for as many as fit.")
    if settings.threads > count:
        text += f", and the settings ask for {settings.threads} threads in each worker."
        return warning(text, f"`WHISPER_THREADS={count}`")
    return ok(f"{text}.")


def memory(settings: Settings, free: int | None, total: int | None) -> Finding:
    """``free``, ``total``: main memory in MiB; None where the system does not say."""
    if free is None or total is None:
        return hint("The system does not say how much memory is free.")
    text = f"{free:,} of {total:,} MiB of memory are free"
    needed = max(1, settings.workers) * CPU_WORKER_MIB
    if needed <= free:
        return ok(f"{text}.")
    fix = "Close other programs, or give the container more (`--memory`)."
    if settings.workers <= 1:
        return warning(f"{text}; a CPU worker takes about {needed:,} MiB.", fix)
    text += f"; {settings.workers} workers take about {needed:,} MiB."
    return warning(text, f"`WHISPER_WORKERS={max(1, free // CPU_WORKER_MIB)}`. {fix}")


def disks(settings: Settings, free: Callable[[Path], int] = free_mib) -> Iterator[Finding]:
    """Room and permission where jobs, models and temporary files go."""
    yield data(settings, free)
    yield models_folder(settings, free)
    temporary = Path(tempfile.gettempdir())
    room = free(temporary)
    text = f"Temporary files go to {temporary}: {room:,} MiB free."
    if room < TEMPORARY_MIB:
        yield warning(text, "Free some space, or `export TMPDIR=…` to a folder on a larger disk.")
    else:
        yield ok(text)


def data(settings: Settings, free: Callable[[Path], int]) -> Finding:
    place, least = settings.data_dir, settings.min_free_mib
    if why := why_not_writable(place):
        text = f"The data directory {place} cannot be written: {why}."
        return error(text, _fix_folder(place, "WHISPER_DATA_DIR"))
    room = free(place)
    text = f"The data directory {place}: {room:,} MiB free"
    fix = "Free some space, or `WHISPER_DATA_DIR=…` on a larger disk."
    if room < least:
        text += f"; jobs are refused below {least:,}."
        return error(text, f"{fix} Or lower `WHISPER_MIN_FREE_MIB` ({least}).")
    return warning(f"{text}.", fix) if room < least + ROOM_MIB else ok(f"{text}.")


def models_folder(settings: Settings, free: Callable[[Path], int]) -> Finding:
    place = settings.models_dir
    if why := why_not_writable(place):
        text = f"The models directory {place} cannot be written: {why}."
        fix = _fix_folder(place, "WHISPER_MODELS_DIR")
        return warning(f"{text} Models cannot be downloaded.", fix)
    room = free(place)
    text = f"The models directory {place}: {room:,} MiB free"
    if not place.exists():
        text += "; it is created with the first model"
    needed = MODELS["large-v3-turbo"].download_mib or 0
    if room < needed:
        fix = "Free some space, or `WHISPER_MODELS_DIR=…` on a larger disk."
        return warning(f"{text}; large-v3-turbo takes {needed:,} MiB.", fix)
    return ok(f"{text}.")


def _fix_folder(place: Path, setting: str) -> str:
    owned = standing(place)
    return f'`sudo chown -R "$(id -u):$(id -g)" {owned}`, or `{setting}=…` to another folder.'
