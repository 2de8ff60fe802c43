"""Recordings by link: ``download(url, folder, DownloadLimits.of(settings), …)``.

yt-dlp does the work in a process of its own (:mod:`media.download_child`). This side limits its
time, passes on its progress, and hands over a whole file or nothing.
"""

from __future__ import annotations

import errno
import logging
import re
import shutil
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

from core.errors import (
    Cancelled,
    DiskFull,
    DownloadFailed,
    DownloadRefused,
    InvalidOption,
    MediaLimitExceeded,
    UnreadableMedia,
    WorkerCrashed,
)
from core.files import disk_is_full
from core.logs import one_line, without_secrets
from media.download_child import (
    MIB,
    Downloaded,
    DownloadLimits,
    News,
    Order,
    fetch,
    find_site,
)
from media.process import IsolatedProcess, ProcessLimits

__all__ = ["DownloadLimits", "Downloaded", "check_link", "check_site", "download", "no_sites"]

log = logging.getLogger(__name__)

DownloadProgress = Callable[[float | None, str], None]
"""Gets the share that is done, None if unknown, and a line for people."""

POLL_S = 0.2
"""Longest time until a cancellation is noticed."""

CHECK_S = 30.0
"""Longest time to find out which site a link belongs to; a busy machine needs some seconds."""

LARGEST_BLOCK = 8 * MIB
"""More than yt-dlp ever writes at once: its report that the limit is passed comes after that."""

MAX_LINK = 4096
MAX_COOKIES_BYTES = 4 * MIB

_FORBIDDEN = re.compile(r"[\x00-\x20\x7f-\x9f\ud800-\udfff]")
_EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,8}")


def download(
    url: str,
    folder: Path,
    limits: DownloadLimits,
    *,
    progress: DownloadProgress = lambda fraction, text: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Downloaded:
    """Fetch the recording a link leads to into a folder that exists. After an error nothing of it
    is left there.

    Raises:
        DownloadRefused: the link is not of an allowed site, leads to a private address, to a list
            or a live stream, or to more than the limits allow.
        DownloadFailed: the site does not give it, cannot be reached, or takes too long.
        InvalidOption: it is no link, or the cookies file cannot be used.
        EncryptedMedia, DiskFull, WorkerCrashed.
        Cancelled: ``should_stop`` said so.
    """
    check_link(url)
    if not limits.sites:
        raise no_sites()
    cookies = _read_cookies(limits.cookies)
    with _workplace(folder) as place:
        if shutil.disk_usage(place).free < limits.min_free_bytes:
            raise DiskFull("There is not enough disk space for a download.")
        environment, proxies = _way_out()
        order = Order(
            url=url,
            folder=place,
            limits=limits,
            cookies=cookies,
            environment=environment,
            proxies=proxies,
        )
        found = _run(order, progress, should_stop)
        found = replace(found, path=_hand_over(found.path, folder))
    log.info("Downloaded %s from %s", found.title, found.site)
    return found


def check_link(url: str) -> None:
    """Refuse at once what is not a web link. Raises InvalidOption."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme.lower() in ("http", "https") and bool(parts.hostname)
    except ValueError:
        usable = False
    if not usable or len(url) > MAX_LINK or _FORBIDDEN.search(url):
        shown = one_line(without_secrets(url))
        shown = shown if len(shown) <= 100 else f"{shown[:99]}…"
        raise InvalidOption(
            f"{shown} is not a web link.",
            hint="Links begin with https:// or http://.",
        )


def check_site(url: str, sites: tuple[str, ...]) -> None:
    """Refuse, without connecting to anything, a link of a site that is not allowed. It takes about
    a second: yt-dlp's extractors are asked, in a separate process.

    Raises InvalidOption: it is no link; DownloadRefused; DownloadFailed, WorkerCrashed.
    """
    check_link(url)
    if not sites:
        raise no_sites()
    limits = ProcessLimits(wall_clock_s=CHECK_S, stall_s=CHECK_S)
    with _explaining(), IsolatedProcess(find_site, url, sites, name="link", limits=limits) as asked:
        try:
            for _ in asked.messages():
                pass
        except MediaLimitExceeded as error:
            raise DownloadFailed("The link could not be checked in time.") from error


def no_sites() -> DownloadRefused:
    return DownloadRefused(
        "Downloads by link are turned off here.",
        hint="WHISPER_DOWNLOAD_SITES, the list of allowed sites, is empty.",
    )


def _run(order: Order, progress: DownloadProgress, should_stop: Callable[[], bool]) -> Downloaded:
    timeout_s = order.limits.timeout_s
    deadline = time.monotonic() + timeout_s
    limits = ProcessLimits(
        file_bytes=order.limits.max_bytes + LARGEST_BLOCK,
        wall_clock_s=timeout_s * 2 + 60.0,
        stall_s=timeout_s * 2 + 60.0,
    )
    with (
        _explaining(),
        IsolatedProcess(fetch, order, name="download", limits=limits) as process,
    ):
        while not process.finished:
            if should_stop():
                raise Cancelled()
            if time.monotonic() >= deadline:
                raise DownloadFailed(
                    f"The download took longer than {timeout_s:g} s and was stopped.",
                    hint="Raise WHISPER_DOWNLOAD_TIMEOUT_S, or download the recording yourself "
                    "and use that file.",
                )
            for news in process.receive(POLL_S):
                if isinstance(news, News):
                    progress(news.fraction, news.text)
        return process.result


@contextmanager
def _explaining() -> Iterator[None]:
    """Translates the death of the process: it was downloading or checking, not decoding."""
    try:
        yield
    except UnreadableMedia as error:
        raise WorkerCrashed(
            "The download process ended unexpectedly.",
            hint="Try again; if it happens again, download the recording yourself and use that "
            "file.",
        ) from error


@contextmanager
def _workplace(folder: Path) -> Iterator[Path]:
    """A folder of the download's own, removed with all that is left in it."""
    try:
        place = tempfile.TemporaryDirectory(prefix="download-", dir=folder)
    except OSError as error:
        raise _explained(error, folder) from error
    with place as path:
        yield Path(path)


def _hand_over(file: Path, folder: Path) -> Path:
    """Move the finished file to the caller. Its name is neutral: titles are untrusted text."""
    extension = file.suffix if _EXTENSION.fullmatch(file.suffix) else ""
    for number in count(1):
        target = folder / (f"recording-{number}" if number > 1 else "recording")
        target = target.with_suffix(extension)
        if not target.exists():
            break
    try:
        file.rename(target)
    except OSError as error:
        raise _explained(error, folder) from error
    return target


def _explained(error: OSError, folder: Path) -> DiskFull | InvalidOption:
    if disk_is_full(error):
        return DiskFull(f"There is no space left for a download in {folder}.")
    return InvalidOption(
        f"Downloads cannot be saved in {folder}: {error.strerror}.",
        hint="Choose a folder that exists and that you may write to.",
    )


def _read_cookies(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        if not path.expanduser().is_file():
            raise FileNotFoundError(errno.ENOENT, "there is no such file")
        with path.expanduser().open(encoding="utf-8") as file:
            text = file.read(MAX_COOKIES_BYTES + 1)
        if len(text) > MAX_COOKIES_BYTES:
            raise ValueError("it is too large for cookies")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidOption(
            f"The cookies file {path} cannot be read: {reason}.",
            hint="Correct WHISPER_DOWNLOAD_COOKIES, or unset it.",
        ) from error
    return text


def _way_out() -> tuple[dict[str, str], tuple[str, ...]]:
    """Variables that lead through this network's proxies, and the proxies themselves."""
    proxies = getproxies()
    environment = {f"{name}_proxy": value for name, value in proxies.items()}
    paths = ssl.get_default_verify_paths()
    if paths.cafile:
        environment[paths.openssl_cafile_env] = paths.cafile
    if paths.capath:
        environment[paths.openssl_capath_env] = paths.capath
    return environment, tuple(value for name, value in proxies.items() if name != "no")
