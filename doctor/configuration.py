"""Settings that contradict each other or the machine, and names that nothing reads."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

from access.identity import open_to_strangers
from core.settings import Settings, setting_names, unknown_names
from doctor.diagnosis import Finding, error, hint, ok, warning
from doctor.machine import Machine
from gpu.support import ALL_TYPES, runs_on_cpus

AREA = "Settings"


def unknown() -> Iterator[Finding]:
    """Variables that look like settings. Their values are not shown: one may be a password."""
    for name in unknown_names():
        near = difflib.get_close_matches(name, setting_names(), n=1)
        fix = f"Did you mean `{near[0]}`?" if near else "See docs/settings.md, or remove it."
        yield warning(f"{name} is set, but no setting has this name.", fix)


def changed(settings: Settings) -> Finding:
    """What differs from the defaults."""
    parts = []
    for field, info in Settings.model_fields.items():
        value: Any = getattr(settings, field)
        if value != info.default:
            parts.append(f"{field}={value if info.repr else '***'}")
    return ok(f"Changed: {', '.join(parts)}." if parts else "No setting is changed.")


def without_effect(machine: Machine) -> Iterator[Finding]:
    """Variables that PyTorch guides recommend when memory is short, and that nothing here reads."""
    for name in ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF"):
        if name in machine.variables:
            yield hint(
                f"{name} is set but does nothing here: the engine is CTranslate2, not PyTorch.",
                "Unset it. If memory is short, try a smaller batch (`WHISPER_BATCH_SIZE`), int8"
                " (`WHISPER_COMPUTE_TYPE`) or a smaller model; `python -m cli.main plan` shows what"
                " fits.",
            )


def contradictions(settings: Settings, has_gpu: bool) -> Iterator[Finding]:
    compute = settings.compute_type
    if compute not in ALL_TYPES:
        near = difflib.get_close_matches(compute, ALL_TYPES, n=1)
        fix = f"`WHISPER_COMPUTE_TYPE={near[0] if near else 'auto'}`"
        yield error(f"There is no compute type {compute!r}.", fix)
    elif not runs_on_cpus(compute) and (settings.device == "cpu" or not has_gpu):
        text = f"WHISPER_COMPUTE_TYPE is {compute}, which no CPU supports."
        yield error(text, "`WHISPER_COMPUTE_TYPE=auto`")
    if settings.device == "cpu" and settings.cuda_visible_devices:
        text = "CUDA_VISIBLE_DEVICES is set, but WHISPER_DEVICE=cpu leaves the GPUs unused."
        yield hint(text, "For GPUs: `WHISPER_DEVICE=auto`.")
    elif settings.device == "cpu" and has_gpu:
        text = "There is a GPU, but WHISPER_DEVICE=cpu leaves it unused."
        yield hint(text, "To use it: `WHISPER_DEVICE=auto`.")
    if has_gpu and settings.device != "cpu" and settings.workers:
        yield hint("WHISPER_WORKERS counts CPU workers; each GPU has one of its own.")
    cookies = settings.download_cookies
    if cookies is not None and not cookies.is_file():
        text = f"WHISPER_DOWNLOAD_COOKIES names {cookies}, which is not a file."
        yield error(text, "Export it from the browser, or unset it.")
    if open_to_strangers(settings):
        text = f"WHISPER_ACCESS is open on {settings.host}: anyone who can reach it may use it."
        yield warning(text, "`WHISPER_ACCESS=login`, then `python -m cli.main users add NAME`.")
        if settings.links == "on":
            text = "WHISPER_LINKS is on: strangers choose what this machine downloads."
            yield warning(text, "`WHISPER_LINKS=auto`")
