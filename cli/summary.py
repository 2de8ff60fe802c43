"""How the recordings of a command ended: a row for each as soon as it has, and the sums."""

from __future__ import annotations

import csv
import time
from collections import Counter
from pathlib import Path
from typing import Any, TextIO

from cli.display import clock
from cli.failures import worst
from core.errors import DiskFull, InvalidOption
from core.files import disk_is_full
from core.types import JobReport

DONE_BEFORE = "done_before"
"""State of a recording that was left out because its subtitles were there."""

COLUMNS = (
    *("number", "input", "state", "audio_s", "elapsed_s", "speed", "gaps"),
    *("language", "model", "outputs", "error"),
)


class Summary:
    """Rows go into a CSV file one by one, so that a command that is killed has told of all it did.

    Args:
        path: None: only the sums are wanted.
        total: recordings of the command.

    Raises:
        InvalidOption, DiskFull: it cannot be written; so does :meth:`add`.
    """

    def __init__(self, path: Path | None, total: int) -> None:
        self.total = total
        self.states: Counter[str] = Counter()
        self._codes: set[int] = set()
        self._audio_s = 0.0
        self._path = path
        self._began = time.monotonic()
        self._file: TextIO | None = None
        if path is not None:
            try:
                # A name that is not Unicode is written as its bytes are.
                self._file = path.open("w", encoding="utf-8", errors="surrogateescape", newline="")
            except OSError as error:
                raise self._explained(error) from error
            self._write(dict(zip(COLUMNS, COLUMNS, strict=True)))

    @property
    def ended(self) -> int:
        """Recordings that have."""
        return self.states.total()

    @property
    def code(self) -> int:
        """The exit code of all together."""
        return worst(self._codes)

    def add(
        self,
        position: int,
        source: str,
        state: str,
        code: int,
        report: JobReport | None,
        error: str,
    ) -> None:
        self.states[state] += 1
        self._codes.add(code)
        row: dict[str, Any] = {"number": position + 1, "input": source, "state": state}
        if report is not None:
            self._audio_s += report.audio_s
            row |= {
                "audio_s": f"{report.audio_s:.2f}",
                "elapsed_s": f"{report.elapsed_s:.2f}",
                "speed": f"{report.speed:.2f}",
                "gaps": len(report.gaps),
                "language": report.language,
                "model": report.model,
                "outputs": " ".join(report.outputs),
            }
        self._write(row | {"error": error})

    def line(self) -> str:
        """The sums for people."""
        took_s = time.monotonic() - self._began
        parts = [
            f"{count} {state.replace('_', ' ')}" for state, count in sorted(self.states.items())
        ]
        speed = f" ({self._audio_s / took_s:.1f}x)" if self._audio_s else ""
        return (
            f"{self.ended} of {self.total} recordings: {', '.join(parts) or 'none has ended'};"
            f" {clock(self._audio_s)} of audio in {clock(took_s)}{speed}"
        )

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _write(self, row: dict[str, Any]) -> None:
        if self._file is not None:
            try:
                csv.DictWriter(self._file, COLUMNS).writerow(row)
                self._file.flush()
            except OSError as error:
                raise self._explained(error) from error

    def _explained(self, error: OSError) -> DiskFull | InvalidOption:
        if disk_is_full(error):
            return DiskFull(f"No space left to write the summary {self._path}.")
        return InvalidOption(f"The summary cannot be written to {self._path}: {error.strerror}.")
