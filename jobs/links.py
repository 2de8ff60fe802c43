"""Recordings by link for the fronts: fetched as the settings allow, with a name like a file's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from core.settings import Settings
from media.download import Downloaded, DownloadLimits, Progress, download

__all__ = ["FetchedRecording", "Progress", "fetch_link"]


@dataclass(frozen=True, slots=True)
class FetchedRecording:
    path: Path
    name: str
    """The recording's title with the file's extension: a ``JobRequest.name``."""


def fetch_link(
    url: str,
    folder: Path,
    settings: Settings,
    *,
    progress: Progress,
    should_stop: Callable[[], bool],
) -> FetchedRecording:
    """Fetch the recording into a folder; raises as ``media.download.download``."""
    found = download(
        url, folder, DownloadLimits.of(settings), progress=progress, should_stop=should_stop
    )
    return FetchedRecording(found.path, _name(found))


def _name(found: Downloaded) -> str:
    # A slash in a title parts no folders: the name would begin after it.
    title = found.title.replace("/", "_").replace("\\", "_")
    # Where there is no extension, a full stop in the title must not look like one.
    return title + (found.path.suffix or ".media")
