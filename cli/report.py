"""The file ``--report`` writes: how each job went and where its time went, as JSON.

An object for one recording, a list of objects for several, in the order of the command line,
links last.
Each is the job's ``core.types.JobReport`` (times in seconds) with ``input`` and ``state``; a job
that failed has ``error`` and ``hint`` instead of the numbers.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from core.errors import DiskFull, InvalidOption, SubtitleError
from core.files import disk_is_full, replace_file
from core.types import JobReport

DIGITS = 4
"""A tenth of a millisecond."""


def report_entry(
    source: str, state: str, report: JobReport | None, error: SubtitleError | None
) -> dict[str, Any]:
    """One recording's object; ``source`` is its path or link."""
    entry: dict[str, Any] = {"input": source, "state": state}
    if error is not None:
        entry |= {"error": error.message, "hint": error.hint}
    if report is not None:
        entry |= _rounded(asdict(report))
        entry["gaps"] = [
            _rounded({"start": gap.start_s, "end": gap.end_s, "reason": gap.reason})
            for gap in report.gaps
        ]
    return entry


def check_writable(path: Path) -> None:
    """Refuse before hours of work what cannot be written after them. Raises InvalidOption."""
    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise InvalidOption(
            f"The report cannot be written to {path}.",
            hint="Name a file in a folder that exists and that you may write to.",
        )


class Report:
    """Collects the entries in a file that has no name, so that thousands take no memory.

    Raises as :meth:`write`.
    """

    def __init__(self, path: Path) -> None:
        check_writable(path)
        self._path = path
        self._places: dict[int, tuple[int, int]] = {}
        with self._explained():
            self._file = tempfile.TemporaryFile(dir=path.parent)  # noqa: SIM115 - closed by close()

    def add(self, position: int, entry: dict[str, Any]) -> None:
        """An entry that is to stand at a position."""
        text = json.dumps(entry, ensure_ascii=False, indent=2, allow_nan=False)
        # File names may not be Unicode; their escapes are good JSON.
        content = text.encode("utf-8", "backslashreplace")
        with self._explained():
            self._places[position] = self._file.seek(0, os.SEEK_END), len(content)
            self._file.write(content)

    def write(self) -> None:
        """Write all at once, or nothing. Raises DiskFull, InvalidOption."""
        with self._explained():
            replace_file(self._path, self._content())

    def close(self) -> None:
        self._file.close()

    def _content(self) -> Iterator[bytes]:
        several = len(self._places) != 1
        for count, (_, (start, length)) in enumerate(sorted(self._places.items())):
            self._file.seek(start)
            entry = self._file.read(length)
            yield (b",\n" if count else b"[\n") + entry if several else entry
        yield b"\n]\n" if several else b"\n"

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if disk_is_full(error):
                raise DiskFull(f"No space left to write the report {self._path}.") from error
            raise InvalidOption(
                f"The report cannot be written to {self._path}: {error.strerror}."
            ) from error


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value
