"""Settings that contradict each other or the machine, and names that nothing reads."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from access.identity import open_to_strangers
from core.settings import Settings, setting_names, unknown_names
from doctor.diagnosis import Finding
from doctor.machine import Machine
from gpu.support import ALL_TYPES, runs_on_cpus

AREA = "Settings"


def unknown(
    names: Sequence[str] | None = None, known: Sequence[str] | None = None
) -> list[Finding]:
    """Variables that look like settings. Their values are not shown: one may be a password."""
    found = []
    every = known or setting_names()
    for name in unknown_names() if names is None else names:
        near = difflib.get_close_matches(name, every, n=1)
        fix = f"Did you mean `{near[0]}`?" if near else "See docs/settings.md, or remove it."
        found.append(Finding("warning", AREA, f"{name} is set, but no setting has this name.", fix))
    return found


def changed(settings: Settings) -> list[Finding]:
    """What differs from the defaults."""
    parts = []
    for field, info in Settings.model_fields.items():
        value: Any = getattr(settings, field)
        if value != info.default:
            shown = "***" if field == "database_url" else value
            parts.append(f"{field}={shown}")
    text = f"Changed: {', '.join(parts)}." if parts else "No setting is changed."
    return [Finding("ok", AREA, text)]


def without_effect(machine: Machine) -> list[Finding]:
    """What guides for PyTorch advise against a lack of memory, and nothing here reads."""
    return [
        Finding(
            "hint",
            AREA,
            f"{name} is set but does nothing here: the engine is CTranslate2, not PyTorch.",
            "Unset it. If memory is short, try a smaller batch (`WHISPER_BATCH_SIZE`), int8"
            " (`WHISPER_COMPUTE_TYPE`) or a smaller model; `python -m cli.main plan` shows what "
            "fits.",
        )
        for name in ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF")
        if name in machine.variables
    ]


def contradictions(settings: Settings, has_gpu: bool) -> list[Finding]:
    found: list[Finding] = []
    compute = settings.compute_type
    if compute not in ALL_TYPES:
        near = difflib.get_close_matches(compute, ALL_TYPES, n=1)
        fix = f"`WHISPER_COMPUTE_TYPE={near[0] if near else 'auto'}`"
        found.append(Finding("error", AREA, f"There is no compute type {compute!r}.", fix))
    elif not runs_on_cpus(compute) and (settings.device == "cpu" or not has_gpu):
        text = f"WHISPER_COMPUTE_TYPE is {compute}, which no CPU supports."
        found.append(Finding("error", AREA, text, "`WHISPER_COMPUTE_TYPE=auto`"))
    if settings.device == "cpu":
        if settings.cuda_visible_devices:
            text = "CUDA_VISIBLE_DEVICES is set, but WHISPER_DEVICE=cpu leaves the GPUs unused."
            found.append(Finding("hint", AREA, text, "For GPUs: `WHISPER_DEVICE=auto`."))
        elif has_gpu:
            text = "There is a GPU, but WHISPER_DEVICE=cpu leaves it unused."
            found.append(Finding("hint", AREA, text, "To use it: `WHISPER_DEVICE=auto`."))
    if has_gpu and settings.device != "cpu" and settings.workers:
        text = "WHISPER_WORKERS counts CPU workers; each GPU has one of its own."
        found.append(Finding("hint", AREA, text))
    cookies = settings.download_cookies
    if cookies is not None and not cookies.is_file():
        text = f"WHISPER_DOWNLOAD_COOKIES names {cookies}, which is not a file."
        found.append(Finding("error", AREA, text, "Export it from the browser, or unset it."))
    return found + access(settings)


def access(settings: Settings) -> list[Finding]:
    """Who may use the page, where that should make somebody think."""
    found = []
    if open_to_strangers(settings):
        text = f"WHISPER_ACCESS is open on {settings.host}: anyone who can reach it may use it."
        fix = "`WHISPER_ACCESS=login`, then `python -m cli.main users add NAME`."
        found.append(Finding("warning", AREA, text, fix))
        if settings.links == "on":
            text = "WHISPER_LINKS is on: strangers choose what this machine downloads."
            found.append(Finding("warning", AREA, text, "`WHISPER_LINKS=auto`"))
    return found
