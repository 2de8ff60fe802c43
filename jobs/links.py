"""Recordings by link: whether they are fetched here, and fetched as the settings allow, with a name
like a file's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from access.identity import open_to_strangers
from core.errors import DownloadRefused
from core.settings import Settings
from media.download import (
    Downloaded,
    DownloadLimits,
    DownloadProgress,
    check_site,
    download,
    no_sites,
)

__all__ = ["DownloadProgress", "FetchedRecording", "check_link", "fetch_link", "why_no_links"]


@dataclass(frozen=True, slots=True)
class FetchedRecording:
    path: Path
    name: str
    """The recording's title with the file's extension: a ``JobRequest.name``."""


def why_no_links(settings: Settings) -> DownloadRefused | None:
    """Why the service fetches no links at all; None where it does. A link makes this machine send
    requests where its author wants, with this machine's cookies: not for anonymous visitors."""
    if settings.links == "off":
        return DownloadRefused(
            "Links are turned off here.",
            hint="Upload the recording instead. The operator of the service can allow links with"
            " WHISPER_LINKS.",
        )
    if settings.links == "auto" and open_to_strangers(settings):
        return DownloadRefused(
            "Links are turned off here because anyone may use this service without a login.",
            hint="Upload the recording instead. The operator of the service can allow links with"
            " WHISPER_LINKS=on, or ask for a login with WHISPER_ACCESS=login.",
        )
    return None if settings.download_sites else no_sites()


def check_link(url: str, settings: Settings) -> None:
    """Refuse a link for the service before there is a job.

    Raises DownloadRefused: not here, or not of this site; InvalidOption: it is no link.
    """
    if (refused := why_no_links(settings)) is not None:
        raise refused
    check_site(url, settings.download_sites)


def fetch_link(
    url: str,
    folder: Path,
    settings: Settings,
    *,
    progress: DownloadProgress,
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
