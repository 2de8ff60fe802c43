"""Links on the command line: fetched one after the other, and then recordings like any other.

While a link is fetched, the files and the links before it are transcribed.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from cli.display import Display
from core.errors import InvalidOption
from core.logs import one_line
from core.settings import Settings
from jobs.links import fetch_link
from jobs.request import JobRequest, targets

log = logging.getLogger(__name__)

NEWS_S = 10.0
"""Time between two lines of the log about a download."""


class Links:
    """Makes requests of links. ``like`` is what they have in common with those of the files."""

    def __init__(
        self,
        folder: Path,
        settings: Settings,
        like: JobRequest,
        files: list[JobRequest],
        display: Display,
        should_stop: Callable[[], bool],
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._like = like
        self._taken = {target for request in files for target in _keys(request)}
        self._display = display
        self._should_stop = should_stop
        self._told_at = 0.0

    def fetch(self, url: str) -> JobRequest:
        """Fetch the recording; raises as ``media.download.download``."""
        log.info("Fetching %s", url)
        self._told_at = time.monotonic()
        found = fetch_link(
            url,
            self._folder,
            self._settings,
            progress=self._progress,
            should_stop=self._should_stop,
        )
        # It was downloaded for this command alone: it goes when its subtitles are there.
        return self._named(replace(self._like, path=found.path, name=found.name, adopt="move"))

    def _named(self, request: JobRequest) -> JobRequest:
        """With a free name for its outputs: as nobody chose it, it must replace no file."""
        stem, number = request.stem, 1
        named = replace(request, output_stem=stem)
        while _keys(named) & self._taken or any(target.exists() for target in targets(named)):
            number += 1
            named = replace(request, output_stem=f"{stem}-{number}")
        self._taken |= _keys(named)
        return named

    def _progress(self, fraction: float | None, text: str) -> None:
        self._display.download(fraction, text)
        now = time.monotonic()
        if now - self._told_at >= NEWS_S:
            self._told_at = now
            log.info("%s", one_line(text))


def _keys(request: JobRequest) -> set[tuple[Path, str]]:
    """Its outputs, so that letter case makes no difference: on some disks it is the same file."""
    return {(target.parent.resolve(), target.name.casefold()) for target in targets(request)}


@contextmanager
def folder_for_links(data_dir: Path) -> Iterator[Path]:
    """Where links are fetched to, until their subtitles are there."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(prefix="links-", dir=data_dir)
    except OSError as error:
        raise InvalidOption(
            f"Links cannot be fetched to {data_dir}: {error.strerror}.",
            hint="Point WHISPER_DATA_DIR to a folder that you may write to.",
        ) from error
    with folder as path:
        yield Path(path)
