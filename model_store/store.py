"""From the name of a model to its files on this machine, with the reason for the choice.

    name ─► installed with the project ─► models_dir/<name> ─► the hub's cache ─► download

``auto`` takes the best available model that can do the task and fits a GPU: for transcription
mostly ``large-v3-turbo``; without a GPU the installed multilingual ``base``. Nothing here waits on
an unreachable hub longer than the caller's ``hub_timeout_s``.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

from core.errors import ModelError
from core.models import (
    ALIASES,
    AUTO,
    ENGLISH,
    MODELS,
    MULTILINGUAL_V3,
    ModelInfo,
    find_model,
    languages_of,
    unknown_model,
)
from core.settings import Settings
from core.types import ModelSpec
from gpu.choice import candidates
from model_store import hub as model_hub
from model_store import packaged as model_files

logger = logging.getLogger(__name__)

CPU_CHOICE = "base"

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """A model whose files are here and complete."""

    path: Path
    info: ModelInfo
    reason: str
    """Why this model, from these files: the end of the log line."""

    @property
    def name(self) -> str:
        return self.info.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What ``auto`` has to be able to do."""

    task: str = "transcribe"
    language: str | None = None
    """Whisper code; None: any."""
    fits: Callable[[str], bool] = lambda name: True
    """Whether a model of that name fits a device's memory."""


ANYTHING = Wanted()


class _Sources(NamedTuple):
    """Where a call may look."""

    settings: Settings
    progress: model_hub.TextProgress | None

    @property
    def models_dir(self) -> Path:
        return self.settings.models_dir


def resolve_model(
    settings: Settings,
    name: str,
    device: str,
    progress: Callable[[str], None] | None = None,
    wanted: Wanted = ANYTHING,
) -> ResolvedModel:
    """Find the files of a model, downloading them if the settings allow it and they must be.

    ``device`` (``cuda`` or ``cpu``) and ``wanted`` matter for ``auto`` alone. ``progress`` gets one
    line for people while something is downloaded. Logs one line that says which model runs and why.

    Raises ``ModelError`` for a model that is unknown, not allowed, incomplete or not available.
    """
    where = _Sources(settings, progress)
    name = name.strip() or AUTO
    if name.lower() == AUTO:
        resolved = _resolve_auto(device, where, wanted)
    elif (info := find_model(name)) is not None:
        resolved = _resolve_known(info, where, "asked for")
    else:
        resolved = _resolve_other(name, where)
    logger.info("Using model %s: %s", resolved.info.describe(), resolved.reason)
    return resolved


def model_spec(
    resolved: ResolvedModel, device: Literal["cpu", "cuda"], compute_type: str, threads: int
) -> ModelSpec:
    """What a worker loads. Compute type ``auto`` is int8 on a CPU, the fastest that loses no words
    that could be measured; on GPUs it stays open, because each takes what its card can do."""
    if compute_type == AUTO and device == "cpu":
        compute_type = "int8"
    return ModelSpec(resolved.name, str(resolved.path), compute_type, device, threads)


def available_models(models_dir: Path) -> dict[str, str]:
    """Every model of the table that runs without a download, with where it is."""
    installed = model_files.installed_models()
    found: dict[str, str] = {}
    for info in MODELS.values():
        local = None if info.name in installed else _local(info, models_dir)
        if info.name in installed:
            found[info.name] = "installed"
        elif local is not None:
            found[info.name] = local.reason
    return found


def check_offered(name: str, settings: Settings) -> None:
    """Refuse a model that a request from the network may not name: it must not reach folders of
    this machine. Raises ModelError."""
    name = name.strip()
    if (
        name.lower() != AUTO
        and find_model(name) is None
        and name not in (settings.model, *settings.allowed_hub_models)
        and name not in available_models(settings.models_dir)
    ):
        raise unknown_model(name)


def _resolve_auto(device: str, where: _Sources, wanted: Wanted) -> ResolvedModel:
    installed = model_files.installed_models()
    if device == "cuda":
        return _best_on_gpu(where, wanted, installed)
    why = "auto on the CPU"
    if not installed:
        return _resolve_known(MODELS[CPU_CHOICE], where, why)
    able = candidates(wanted.task, wanted.language, installed) or installed
    choice = CPU_CHOICE if CPU_CHOICE in able else able[0]
    if choice != CPU_CHOICE and CPU_CHOICE not in installed:
        why += f", and the packages of {CPU_CHOICE} are not installed"
    return _resolve_known(MODELS[choice], where, why)


def _best_on_gpu(where: _Sources, wanted: Wanted, installed: Sequence[str]) -> ResolvedModel:
    """The best available model for the task that fits; only the first one is worth a download."""
    why = "auto on a GPU"
    if wanted.task == "translate":
        why += " for translation"
    able = candidates(wanted.task, wanted.language)
    fitting = tuple(name for name in able if wanted.fits(name))
    if fitting and fitting[0] != able[0]:
        why += f", because {able[0]} does not fit its memory"
    # Where nothing fits, the pool says so with the figures of the smallest.
    ordered = fitting or able[-1:]
    problem = ""
    for name in ordered:
        try:
            if name in installed:
                return _resolve_known(MODELS[name], where, why + problem)
            found = _local(MODELS[name], where.models_dir)
            if found is None and not problem:
                found = _download(MODELS[name], where)
            if found is not None:
                return _because(found, why + problem)
        except ModelError as error:
            problem = f", but {error.message[:1].lower()}{error.message[1:].rstrip('.')}"
    first = installed[0] if installed else ordered[-1]
    return _resolve_known(MODELS[first], where, why + problem)


def _resolve_known(info: ModelInfo, where: _Sources, why: str) -> ResolvedModel:
    if info.name in model_files.installed_models():
        path = model_files.ensure_installed(info.name, where.models_dir)
        return _because(ResolvedModel(path, info, "installed with the project"), why)
    found = _local(info, where.models_dir) or _download(info, where)
    return _because(found, why)


def _because(found: ResolvedModel, why: str) -> ResolvedModel:
    return replace(found, reason=f"{why}; {found.reason}")


def _local(info: ModelInfo, models_dir: Path) -> ResolvedModel | None:
    """The model without asking the hub, if it is whole."""
    own = models_dir / info.name
    if not missing_files(own):
        return ResolvedModel(own, info, f"in {models_dir}")
    snapshot = model_hub.cached(info.repo_id) if info.repo_id else None
    if snapshot is not None and not missing_files(snapshot):
        return ResolvedModel(snapshot, info, "in the hub's cache")
    return None


def _download(info: ModelInfo, where: _Sources) -> ResolvedModel:
    if where.settings.offline:
        closed: str | None = "offline mode is on"
    else:
        closed = model_hub.reachable(where.settings.hub_timeout_s)
    if closed is not None or info.repo_id is None:
        raise ModelError(
            f"The model {info.name} is not on this machine and the model hub cannot be"
            f" reached: {closed}.",
            hint=f"Put its CTranslate2 files into {where.models_dir / info.name}, or use an"
            f" installed model: {', '.join(model_files.installed_models()) or 'none'}.",
        )
    size = f", about {info.download_mib} MiB" if info.download_mib else ""
    line = f"Downloading model {info.name} ({info.repo_id}{size})"
    logger.info("%s", line)
    if where.progress is not None:
        where.progress(line)
    folder = where.models_dir / info.name
    model_hub.download(info.name, info.repo_id, folder, progress=where.progress)
    return _whole(ResolvedModel(folder, info, "downloaded"))


def _resolve_other(name: str, where: _Sources) -> ResolvedModel:
    """A directory, a model of the user's under ``models_dir``, or an allowed hub id."""
    for folder in (Path(name).expanduser(), where.models_dir / name):
        if folder.is_dir():
            found = ResolvedModel(folder, _info_of_directory(name, folder), "local directory")
            return _because(_whole(found), "asked for")
    if not _HUB_ID.fullmatch(name):
        raise unknown_model(name)
    if name not in where.settings.allowed_hub_models:
        raise ModelError(
            f"The hub model {name!r} is not allowed here.",
            hint="Add it to WHISPER_ALLOWED_HUB_MODELS, or choose one of: "
            + ", ".join([AUTO, *MODELS, *ALIASES])
            + ".",
        )
    unknown = ModelInfo(name, name, MULTILINGUAL_V3, True)
    found = _local(unknown, where.models_dir) or _download(unknown, where)
    return _because(replace(found, info=_info_of_directory(name, found.path)), "asked for")


def missing_files(folder: Path) -> list[str]:
    """What a directory lacks to be a model faster-whisper loads without asking a hub."""
    missing = [
        name
        for name in ("model.bin", "config.json", "tokenizer.json")
        if not (folder / name).is_file()
    ]
    if not any((folder / name).is_file() for name in ("vocabulary.txt", "vocabulary.json")):
        missing.append("vocabulary.txt or vocabulary.json")
    return missing


def _whole(found: ResolvedModel) -> ResolvedModel:
    missing = missing_files(found.path)
    if missing:
        raise ModelError(
            f"{found.path} is not a complete CTranslate2 Whisper model; it lacks"
            f" {', '.join(missing)}.",
            hint="Convert it with ct2-transformers-converter --copy_files tokenizer.json"
            " preprocessor_config.json.",
        )
    return found


def _info_of_directory(name: str, folder: Path) -> ModelInfo:
    """What a model outside the table can do, from its vocabulary and its name.

    Whether it can translate is not written in the files: turbo and distil models cannot, and their
    names say so.
    """
    label = Path(name).name if folder.name not in name else folder.resolve().name
    known = find_model(re.sub(r"^(faster-)?(whisper-)?", "", label.lower()))
    if known is not None:
        return replace(known, name=name, repo_id=None, download_mib=None)
    languages = languages_of(_vocabulary_size(folder))
    limited = languages == ENGLISH or "turbo" in label.lower() or "distil" in label.lower()
    return ModelInfo(name, None, languages, not limited)


def _vocabulary_size(folder: Path) -> int | None:
    try:
        if (folder / "vocabulary.json").is_file():
            return len(json.loads((folder / "vocabulary.json").read_text(encoding="utf-8")))
        return (folder / "vocabulary.txt").read_bytes().count(b"\n")
    except (OSError, ValueError, TypeError):
        return None  # _whole() reports what is missing; a broken one fails when it is loaded.
