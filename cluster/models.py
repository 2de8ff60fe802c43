"""Models on other machines: named by what is in their files, verified, and sent where they are not.

A node needs no model of its own. What it has under the same name is used if every file is the
service's, byte for byte; otherwise the service's files are sent once and kept by their content.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from core.errors import ModelError

Sums = Mapping[str, str]
"""SHA-256 of each file of a model, by its name."""

MODEL_FILES = ("*.bin", "*.json", "vocabulary.txt")

RECEIVED = "cluster"
"""Folder of ``models_dir`` for what other machines sent."""

BLOCK_BYTES = 8 * 1024 * 1024
"""Sent at a time: large enough that the calls cost nothing, small enough for any message limit."""


def sums_of(folder: Path) -> dict[str, str]:
    """Of the files that make a CTranslate2 model. Raises OSError."""
    files = (file for pattern in MODEL_FILES for file in folder.glob(pattern))
    return {file.name: _sum(file) for file in sorted(files)}


def fingerprint(sums: Sums) -> str:
    """One name for the content of all files."""
    return hashlib.sha256(repr(sorted(sums.items())).encode()).hexdigest()[:16]


def find(sums: Sums, candidates: Sequence[Path]) -> Path | None:
    """The first folder that has all these files with this content."""
    return next((folder for folder in candidates if _has(folder, sums)), None)


def blocks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as source:
        while block := source.read(BLOCK_BYTES):
            yield block


class Receiving:
    """A model on its way into a folder; it appears there whole and verified, or not at all."""

    def __init__(self, models_dir: Path, sums: Sums) -> None:
        """Raises OSError where the folder cannot be written."""
        self._sums = sums
        self._target = models_dir / RECEIVED / fingerprint(sums)
        self._target.parent.mkdir(parents=True, exist_ok=True)
        self._folder = Path(tempfile.mkdtemp(dir=self._target.parent, prefix=".part-"))

    def add(self, name: str, block: bytes) -> None:
        if name not in self._sums:
            raise ValueError(f"{name!r} is no file of this model")
        with (self._folder / name).open("ab") as file:
            file.write(block)

    def done(self) -> Path:
        """Raises ModelError where something was lost on the way."""
        try:
            if not _has(self._folder, self._sums):
                raise ModelError(
                    "The model arrived damaged.", hint="Look at the network and the disk."
                )
            if not self._target.exists():
                self._folder.rename(self._target)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)
        return self._target


def _has(folder: Path, sums: Sums) -> bool:
    try:
        return all(_sum(folder / name) == expected for name, expected in sums.items())
    except OSError:
        return False


def _sum(file: Path) -> str:
    status = file.stat()
    return _sum_of(file, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=256)
def _sum_of(file: Path, size: int, modified_ns: int) -> str:
    """A file that has not changed since is not read again."""
    with file.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()
