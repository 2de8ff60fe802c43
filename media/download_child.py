"""The child's side of :mod:`media.download`: yt-dlp, limited to one recording.

It reads what foreign servers send with the code of a thousand extractors. So it gets no secrets and
no other programs, connects only to allowed addresses (``media.download_guard``), writes into one
folder, and may be killed at any time. yt-dlp is imported only where it is used: the parent imports
this file and has no use for it.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from core.errors import DiskFull, DownloadFailed, DownloadRefused, InvalidOption, SubtitleError
from core.logs import plain_line
from core.networks import Network, networks_of
from media.child import Send
from media.download_errors import BY_HAND, explain
from media.download_guard import NetworkGuard

if TYPE_CHECKING:  # the child has no use for pydantic
    from core.settings import Settings

log = logging.getLogger(__name__)

MIB = 1024**2

NEWS_S = 0.25
"""Least time between two messages: a download reports every few kilobytes."""

SOCKET_TIMEOUT_S = 20.0
RETRIES = 5

SHORT_LINKS = ("b23.tv", "bili2233.cn")
"""Hosts that only lead to a site; yt-dlp would need its generic extractor to follow them."""

_NATIVE = r"[protocol~='^(https?|m3u8(_native)?|http_dash_segments(_generator)?|ism)$']"
"""What yt-dlp downloads without other programs."""

FORMAT = f"ba{_NATIVE}/wa*{_NATIVE}"
"""The best sound alone, else the smallest that has sound: pictures are of no use here."""

PLAYLIST_HINT = "Use the link of a single recording. You can give several links at once."

NOT_ENDED = ("is_live", "is_upcoming")


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadLimits:
    """What may be fetched, from where, and how much of it."""

    max_bytes: int
    max_length_s: float
    timeout_s: float
    sites: tuple[str, ...]
    networks: tuple[Network, ...] = ()
    cookies: Path | None = None
    min_free_bytes: int = 0

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Raises InvalidOption for networks that are none."""
        return cls(
            max_bytes=settings.max_upload_mib * MIB,
            max_length_s=settings.max_audio_hours * 3600.0,
            timeout_s=settings.download_timeout_s,
            sites=settings.download_sites,
            networks=networks_of("WHISPER_DOWNLOAD_NETWORKS", settings.download_networks),
            cookies=settings.download_cookies,
            min_free_bytes=settings.min_free_mib * MIB,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to fetch, and how much of it at most."""

    url: str
    folder: Path
    """Empty and the download's own."""
    limits: DownloadLimits
    cookies: str | None
    """The text of a cookies file: it is never on disk here, so nothing is written back to it."""
    environment: Mapping[str, str]
    """Proxies and certificates, which the child's emptied environment lacks."""
    proxies: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class News:
    """How far the download is."""

    fraction: float | None
    text: str


@dataclass(frozen=True, slots=True)
class Downloaded:
    path: Path
    title: str
    """One line of text, as the site has it: no file name."""
    site: str
    """Name of yt-dlp's extractor, such as ``youtube``."""


def fetch(send: Send, order: Order) -> Downloaded:
    """Fetch the one recording. Raises SubtitleError with the reason where it cannot be had."""
    # Hidden from yt-dlp: programs that it would call if they were there.
    os.environ["PATH"] = ""
    os.environ.update(order.environment)
    guard = NetworkGuard(order.limits.networks, order.proxies)
    work = _Work(send, order)
    # yt-dlp quotes lines of a broken cookies file, and standard output has another use.
    with (
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        try:
            return work.run(guard)
        except SubtitleError:
            raise
        except MemoryError as error:
            raise DownloadFailed("The site's answer is too large to read.", hint=BY_HAND) from error
        except Exception as error:
            log.debug("yt-dlp failed", exc_info=True)
            raise guard.refused or explain(str(error) or type(error).__name__) from error


def find_site(send: Send, url: str, sites: tuple[str, ...]) -> None:
    """Whether one of the sites has an extractor for the link. Nothing is connected to.

    Raises DownloadRefused.
    """
    # As in fetch: no programs.
    os.environ["PATH"] = ""
    from yt_dlp import YoutubeDL
    from yt_dlp.globals import plugin_dirs

    plugin_dirs.value = []
    known = YoutubeDL({"allowed_extractors": _extractors(sites), "logger": _Logger()})
    if urlsplit(url).hostname in SHORT_LINKS:
        return
    if not any(extractor.suitable(url) for extractor in known._ies.values()):
        raise explain("No suitable extractor")


def _extractors(sites: tuple[str, ...]) -> list[str]:
    """An extractor's whole name is matched; its sub-sites begin with the site's."""
    return [f"{re.escape(site)}.*" for site in sites if site]


class _Work:
    """One recording with one yt-dlp."""

    def __init__(self, send: Send, order: Order) -> None:
        self._send = send
        self._order = order
        self._title = ""
        self._told_at = 0.0

    def run(self, guard: NetworkGuard) -> Downloaded:
        ydl = self._downloader()
        guard.install()
        self._send(News(None, "Looking at the link …"))
        with ydl:
            info = ydl.extract_info(self._target(ydl))
        files = [Path(found["filepath"]) for found in (info or {}).get("requested_downloads", ())]
        if len(files) != 1 or not files[0].is_file():
            raise DownloadFailed("The site returned no recording.", hint=BY_HAND)
        self._check_size(files[0].stat().st_size)
        return Downloaded(
            path=files[0],
            title=clean_title(info),
            site=str(info.get("extractor") or "").partition(":")[0],
        )

    def _downloader(self) -> Any:
        from yt_dlp import YoutubeDL
        from yt_dlp.cookies import CookieLoadError
        from yt_dlp.globals import plugin_dirs
        from yt_dlp.networking._urllib import UrllibRH as AnyUrllibRH
        from yt_dlp.utils import DownloadError

        class UrllibRH(AnyUrllibRH):  # type: ignore[misc]
            _SUPPORTED_URL_SCHEMES = ("http", "https", "data")

            def _make_sslcontext(self, *args: Any, **options: Any) -> Any:
                context = super()._make_sslcontext(*args, **options)
                # Beside those of certifi: a company's own certificate is known to the system.
                context.load_default_certs()
                return context

        class OneRecording(YoutubeDL):  # type: ignore[misc]
            def build_request_director(self, handlers: Any, preferences: Any = None) -> Any:
                return super().build_request_director([UrllibRH])

            def process_ie_result(
                self, ie_result: Any, download: bool = True, extra_info: Any = None
            ) -> Any:
                if ie_result.get("_type") in ("playlist", "multi_video"):
                    raise DownloadRefused(
                        "The link leads to a list of recordings, or to one in several parts.",
                        hint=PLAYLIST_HINT,
                    )
                return super().process_ie_result(ie_result, download, extra_info)

        plugin_dirs.value = []
        ydl = OneRecording(self._options())
        try:
            _ = ydl.cookiejar  # loads the file
        except (CookieLoadError, DownloadError) as error:
            raise InvalidOption(
                "The cookies file is not in Netscape format.",
                hint="Export the cookies again, as cookies.txt, or unset WHISPER_DOWNLOAD_COOKIES.",
            ) from error
        return ydl

    def _options(self) -> dict[str, Any]:
        cookies = self._order.cookies
        return {
            "allowed_extractors": _extractors(self._order.limits.sites),
            "format": FORMAT,
            "match_filter": self._check_recording,
            "progress_hooks": [self._progress],
            "outtmpl": {"default": str(self._order.folder / "recording.%(ext)s")},
            "cookiefile": None if cookies is None else io.StringIO(cookies),
            "noplaylist": True,
            "logger": _Logger(),
            "quiet": True,
            "noprogress": True,
            "color": "never",
            "cachedir": False,
            "updatetime": False,
            "fixup": "never",
            "hls_prefer_native": True,
            "external_downloader": {"default": "native"},
            # A recording with holes would be taken for a whole one.
            "skip_unavailable_fragments": False,
            "js_runtimes": {},
            "remote_components": [],
            "enable_file_urls": False,
            "geo_bypass": False,
            "socket_timeout": SOCKET_TIMEOUT_S,
            "retries": RETRIES,
            "fragment_retries": RETRIES,
        }

    def _target(self, ydl: Any) -> str:
        """The link, or where a shortened one leads."""
        url = self._order.url
        if urlsplit(url).hostname not in SHORT_LINKS:
            return url
        from yt_dlp.networking import HEADRequest

        return str(ydl.urlopen(HEADRequest(url)).url)

    def _check_recording(self, info: Mapping[str, Any], *, incomplete: bool) -> None:
        """Called by yt-dlp with what it knows so far, the last time with the chosen format."""
        if info.get("is_live") or info.get("live_status") in NOT_ENDED:
            raise DownloadRefused(
                "The link leads to a live stream.", hint="Try again when it has ended."
            )
        length_s = info.get("duration")
        if isinstance(length_s, int | float) and length_s > self._order.limits.max_length_s:
            raise DownloadRefused(
                f"The recording lasts {length_s / 3600:.1f} h; the limit is"
                f" {self._order.limits.max_length_s / 3600:g} h.",
                hint="Choose a shorter one, or raise WHISPER_MAX_AUDIO_HOURS.",
            )
        if isinstance(size := info.get("filesize"), int):
            self._check_size(size)
        self._title = clean_title(info)

    def _check_size(self, size: int) -> None:
        if size > self._order.limits.max_bytes:
            raise DownloadRefused(
                f"The recording is larger than {self._order.limits.max_bytes / MIB:,.0f} MiB.",
                hint="Choose a smaller one, or raise WHISPER_MAX_UPLOAD_MIB.",
            )

    def _progress(self, status: Mapping[str, Any]) -> None:
        """Called by yt-dlp after every block."""
        done = int(status.get("downloaded_bytes") or 0)
        total = status.get("total_bytes")
        # What has come counts: servers promise what they like, or nothing.
        self._check_size(max(done, int(total or 0)))
        if shutil.disk_usage(self._order.folder).free < self._order.limits.min_free_bytes:
            raise DiskFull("The download was stopped before it filled the disk.")
        now = time.monotonic()
        if now - self._told_at < NEWS_S:
            return
        self._told_at = now
        total = total or status.get("total_bytes_estimate")
        fraction = min(done / total, 1.0) if total else None
        speed = status.get("speed")
        text = f"{done / MIB:,.1f}" + (f" of {total / MIB:,.1f} MiB" if total else " MiB")
        text += f", {speed / MIB:,.1f} MiB/s" if speed else ""
        self._send(News(fraction, f"Downloading {self._title}: {text}"))


class _Logger:
    """yt-dlp's messages: for the log, because its errors are raised as well."""

    def debug(self, text: str) -> None:
        log.debug("yt-dlp: %s", text)

    def warning(self, text: str) -> None:
        if re.search(r"only (the )?preview", text, re.IGNORECASE):
            # What a visitor may see of it would be taken for the whole recording.
            raise explain(text)
        log.info("yt-dlp: %s", text)

    def error(self, text: str) -> None:
        log.debug("yt-dlp: %s", text)


MAX_TITLE = 200


def clean_title(info: Mapping[str, Any]) -> str:
    """The recording's title as one line of text, or its id."""
    for key in ("title", "id"):
        title = plain_line(str(info.get(key) or ""))
        if title:
            return title[:MAX_TITLE].rstrip()
    return "recording"
