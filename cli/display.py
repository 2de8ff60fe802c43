"""What a person sees of a running command: a bar on a terminal, nothing where the log tells it."""

from __future__ import annotations

import sys
import time
from typing import Never, Protocol

from tqdm import tqdm

from core.logs import one_line
from core.progress import Progress

MAX_NAME = 30
MAX_DEVICES = 4


class Display(Protocol):
    def show(self, name: str, progress: Progress, place: str = "") -> None: ...

    def say(self, text: str) -> None: ...

    def download(self, fraction: float | None, text: str) -> None: ...

    def close(self) -> None: ...


class NoDisplay:
    """The log goes to the same place and says more."""

    def show(self, name: str, progress: Progress, place: str = "") -> None:
        pass

    def say(self, text: str) -> None:
        pass

    def download(self, fraction: float | None, text: str) -> None:
        pass

    def close(self) -> None:
        pass


class Bar:
    """One line: name, bar, audio seconds done, speed, time left, what the devices do.

    talk.mp4  45%|█████████           | 5:24/12:00 23.1x, 0:17 left, CPU 0: segment 9 (41.2s)
    """

    def __init__(self) -> None:
        # No thread that redraws: the recording's own news do.
        tqdm.monitor_interval = 0
        self._bar: tqdm[Never] | None = None
        self._name = ""
        self._began: tuple[float, float] | None = None
        """When the shown recording was first seen to move, and how far it was."""

    def show(self, name: str, progress: Progress, place: str = "") -> None:
        """``place``: which of many recordings it is."""
        if name != self._name:
            self.close()
            self._name = name
        label, status = _literal(_short(one_line(name))), _literal(self._status(progress))
        self._draw(f"{place}{label} {{percentage:3.0f}}%|{{bar:20}}| {status}", progress.fraction)

    def say(self, text: str) -> None:
        """A line in place of the bar, while there is no recording yet."""
        self._draw(_literal(one_line(text)), 0.0)

    def download(self, fraction: float | None, text: str) -> None:
        """How far a link is fetched; a line alone if its length is unknown."""
        line = _literal(one_line(text))
        known = "{percentage:3.0f}%|{bar:20}| "
        self._draw(line if fraction is None else known + line, fraction or 0.0)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        self._bar, self._began, self._name = None, None, ""

    def _draw(self, line: str, fraction: float) -> None:
        if self._bar is None:
            self._bar = tqdm(
                total=1.0, leave=False, dynamic_ncols=True, file=sys.stderr, bar_format=line
            )
        self._bar.bar_format = line
        self._bar.n = fraction
        self._bar.refresh()

    def _status(self, progress: Progress) -> str:
        if progress.message:
            return one_line(progress.message)
        parts = [f"{clock(progress.done_s)}/{clock(progress.total_s)}"]
        now = time.monotonic()
        if self._began is None:
            self._began = (now, progress.done_s)
        since, done_s = self._began
        if progress.done_s > done_s and now > since:
            parts[0] += f" {(progress.done_s - done_s) / (now - since):.1f}x"
        if progress.remaining_s is not None:
            parts.append(f"{clock(progress.remaining_s)} left")
        busy = [f"{name}: {what}" for name, what in progress.devices.items() if what != "waiting"]
        if len(busy) > MAX_DEVICES:
            busy = [f"{len(busy)} of {len(progress.devices)} devices busy"]
        return ", ".join([*parts, *busy])


def clock(seconds: float | None) -> str:
    """``5:24`` or ``1:05:24``; ``?`` if unknown."""
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _short(name: str) -> str:
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 1]}…"


def _literal(text: str) -> str:
    """As tqdm's format shows it unchanged."""
    return text.replace("{", "{{").replace("}", "}}")
