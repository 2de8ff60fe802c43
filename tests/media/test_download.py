"""A link becomes a whole file, or an error that says what to do."""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import (
    Cancelled,
    DiskFull,
    DownloadFailed,
    DownloadRefused,
    InvalidOption,
    SubtitleError,
    WorkerCrashed,
)
from core.networks import parse_networks
from core.settings import Settings
from media.download import DownloadLimits, check_link, check_site, download
from media.download_child import MIB
from tests.jobs.recordings import SHORT
from tests.link_server import LinkServer
from tests.media.downloads import LIMITS, Get, download_processes, fails
from tests.media.downloads import folder as folder
from tests.media.downloads import get as get
from tests.media.downloads import nothing_is_left as nothing_is_left
from tests.media.downloads import server as server


def test_a_recording_is_fetched_and_how_far_it_is_is_told(get: Get, folder: Path) -> None:
    news: list[tuple[float | None, str]] = []
    found = get("/talk.flac", lambda fraction, text: news.append((fraction, text)))
    assert found.path == folder / "recording.flac"
    assert found.path.read_bytes() == SHORT.read_bytes()
    assert (found.title, found.site) == ("talk", "generic")
    assert [text for fraction, text in news if fraction is None] == ["Looking at the link …"]
    shares = [fraction for fraction, _ in news if fraction is not None]
    assert shares
    assert all(0.0 < share <= 1.0 for share in shares)
    assert news[-1][1].startswith("Downloading talk: 0.0 of 0.0 MiB")


def test_files_that_are_there_are_not_replaced(get: Get, folder: Path) -> None:
    (folder / "recording.flac").write_text("mine")
    assert get("/talk.flac").path == folder / "recording-2.flac"
    assert (folder / "recording.flac").read_text() == "mine"


def test_a_hostile_title_is_text_and_no_file_name(
    get: Get, server: LinkServer, folder: Path
) -> None:
    title = "../../-rf /etc\x1b[31m\u202e" + "x" * 500
    page = f"<title>{title}</title><video src='/talk.flac'></video>"
    server.pages["/page"] = ("text/html; charset=utf-8", page.encode())
    found = get("/page")
    assert found.path == folder / "recording.flac"
    assert found.title.startswith("../../-rf /etc [31m xxx")
    assert found.title.isprintable()
    assert len(found.title) <= 200


def test_streams_in_pieces_are_joined_without_other_programs(
    get: Get, server: LinkServer, ffmpeg: str, tmp_path: Path
) -> None:
    pieces = tmp_path / "hls"
    pieces.mkdir()
    how = ["-v", "error", "-c:a", "aac", "-f", "hls", "-hls_time", "1"]
    how += ["-hls_playlist_type", "vod", str(pieces / "talk.m3u8")]
    subprocess.run([ffmpeg, "-i", str(SHORT), *how], check=True)
    for path in pieces.iterdir():
        kind = "application/x-mpegurl" if path.suffix == ".m3u8" else "video/mp2t"
        server.pages[f"/{path.name}"] = (kind, path.read_bytes())
    parts = sorted(pieces.glob("*.ts"))
    assert len(parts) > 1
    size = get("/talk.m3u8").path.stat().st_size
    assert size == sum(part.stat().st_size for part in parts)
    # A hole would be taken for a whole recording.
    del server.pages[f"/{parts[1].name}"]
    fails(get, "/talk.m3u8", DownloadFailed, "nothing at this link")


def test_a_live_stream_is_refused(get: Get, server: LinkServer) -> None:
    live = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n/talk.flac\n"
    server.pages["/live.m3u8"] = ("application/x-mpegurl", live.encode())
    fails(get, "/live.m3u8", DownloadRefused, "live stream")


def test_a_list_of_recordings_is_refused(get: Get, server: LinkServer) -> None:
    server.pages["/b.flac"] = server.pages["/talk.flac"]
    page = b"<title>All</title><video src='/talk.flac'></video><video src='/b.flac'></video>"
    server.pages["/list"] = ("text/html", page)
    assert "a single recording" in fails(get, "/list", DownloadRefused, "a list of recordings").hint
    assert not [path for path, _ in server.seen if path.endswith(".flac")]


def test_too_long_a_recording_is_refused_before_it_is_fetched(get: Get, server: LinkServer) -> None:
    page = f"""<title>Day</title><script type="application/ld+json">{{"@type": "VideoObject",
        "@context": "https://schema.org", "name": "Day", "duration": "PT30H",
        "contentUrl": "{server.url}/talk.flac"}}</script>"""
    server.pages["/day"] = ("text/html", page.encode())
    error = fails(get, "/day", DownloadRefused, r"lasts 30\.0 h; the limit is 1 h")
    assert "WHISPER_MAX_AUDIO_HOURS" in error.hint


def test_bytes_are_counted_whatever_the_server_promises(get: Get) -> None:
    for link in ("/endless.flac", "/huge.flac"):
        error = fails(get, link, DownloadRefused, "larger than 2 MiB", max_bytes=2 * MIB)
        assert "WHISPER_MAX_UPLOAD_MIB" in error.hint


def test_a_download_takes_its_time_and_no_more(get: Get) -> None:
    error = fails(get, "/drip.flac", DownloadFailed, "longer than 1 s", timeout_s=1.0)
    assert "WHISPER_DOWNLOAD_TIMEOUT_S" in error.hint


def test_the_disk_is_not_filled(get: Get, server: LinkServer, small_disk: Path) -> None:
    fails(get, "/talk.flac", DiskFull, "not enough disk space", min_free_bytes=10**18)
    little = replace(LIMITS, max_bytes=10**9, min_free_bytes=10 * MIB)
    with pytest.raises(DiskFull, match="before it filled the disk"):
        download(f"{server.url}/endless.flac", small_disk, little)
    assert list(small_disk.iterdir()) == []


def test_somebody_who_stops_it_is_heard_at_once(server: LinkServer, folder: Path) -> None:
    begun = []
    with pytest.raises(Cancelled):
        download(
            f"{server.url}/drip.flac",
            folder,
            LIMITS,
            progress=lambda fraction, text: begun.append(text),
            should_stop=lambda: len(begun) > 1,
        )
    assert begun[1].startswith("Downloading drip: ")


def test_a_process_that_dies_is_an_error_with_a_way_out(get: Get) -> None:
    def kill(fraction: float | None, text: str) -> None:
        (child,) = download_processes()
        os.kill(child, signal.SIGKILL)

    assert "yourself" in fails(get, "/drip.flac", WorkerCrashed, "ended", progress=kill).hint


@pytest.mark.parametrize(
    ("link", "kind", "words"),
    [
        ("/gone.flac", DownloadFailed, "nothing at this link"),
        ("/status/403", DownloadFailed, "refuses"),
        ("/status/429", DownloadFailed, "too many requests"),
        ("http://127.0.0.1:9/talk.flac", DownloadFailed, "was lost: .*refused"),
    ],
)
def test_a_site_that_does_not_give_it_is_told(
    get: Get, link: str, kind: type[SubtitleError], words: str
) -> None:
    fails(get, link, kind, words)


@pytest.mark.parametrize(
    "link",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/a.flac",
        "ytsearch:cats",
        "-rf",
        "https://",
        "http://[::1/",
        "http://a/\nb",
        "data:audio/flac;base64,AAAA",
        "http://a/" + "b" * 5000,
    ],
)
def test_what_is_no_link_of_the_web_is_refused(link: str) -> None:
    with pytest.raises(InvalidOption, match="is not a web link"):
        check_link(link)


def test_whose_a_link_is_is_known_without_asking_anybody() -> None:
    sites = Settings().download_sites
    for link in (
        "https://www.youtube.com/watch?v=BaW_jenozKc",
        "https://youtu.be/BaW_jenozKc",
        "https://www.bilibili.com/video/BV13x41117TL",
        "https://b23.tv/abcdef",
    ):
        check_site(link, sites)
    check_site("http://127.0.0.1:1/talk.flac", ("generic",))
    for link in ("http://127.0.0.1:1/talk.flac", "https://www.youtube.com.example/watch?v=x"):
        with pytest.raises(DownloadRefused, match="from this site are not allowed here"):
            check_site(link, sites)
    with pytest.raises(DownloadRefused, match="turned off here"):
        check_site("https://youtu.be/BaW_jenozKc", ())
    with pytest.raises(InvalidOption):
        check_site("file:///etc/passwd", ("generic",))


def test_other_sites_than_those_of_the_settings_are_not_even_asked(
    get: Get, server: LinkServer
) -> None:
    sites = Settings().download_sites
    assert sites == ("youtube", "bilibili")
    error = fails(get, "/talk.flac", DownloadRefused, "not allowed here", sites=sites)
    assert "WHISPER_DOWNLOAD_SITES" in error.hint
    fails(get, "/talk.flac", DownloadRefused, "turned off here", sites=())
    assert server.seen == []


COOKIES = "# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t0\tlogin\tsecret\n"


def test_cookies_are_sent_and_the_file_stays_as_it_is(
    get: Get, server: LinkServer, folder: Path, tmp_path: Path
) -> None:
    cookies = tmp_path / "cookies.txt"
    cookies.write_text(COOKIES)
    cookies.chmod(0o400)
    before = cookies.stat()
    there: set[str] = set()

    def look(fraction: float | None, text: str) -> None:
        there.update(path.name for path in folder.rglob("*") if path.is_file())

    get("/talk.flac", look, cookies=cookies)
    assert all("login=secret" in headers.get("Cookie", "") for _, headers in server.seen)
    assert cookies.read_text() == COOKIES
    assert cookies.stat().st_mtime_ns == before.st_mtime_ns
    assert {path.name for path in tmp_path.iterdir()} == {"cookies.txt", "fetched"}
    assert not [name for name in there if "cookie" in name]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no such file"),
        (b'[{"name": "login"}]', "Netscape"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"#" * (5 * MIB), "too large"),
    ],
)
def test_cookies_that_cannot_be_used_are_an_error(
    get: Get, server: LinkServer, tmp_path: Path, content: bytes | None, words: str
) -> None:
    cookies = tmp_path / "cookies.txt"
    if content is not None:
        cookies.write_bytes(content)
    error = fails(get, "/talk.flac", InvalidOption, words, cookies=cookies)
    assert "WHISPER_DOWNLOAD_COOKIES" in error.hint
    assert server.seen == []


def test_limits_are_those_of_the_settings() -> None:
    settings = Settings(
        max_upload_mib=3,
        max_audio_hours=0.5,
        download_networks=("10.0.5.0/24",),
        download_cookies=Path("c.txt"),
        download_timeout_s=7.0,
        min_free_mib=2,
    )
    assert DownloadLimits.of(settings) == DownloadLimits(
        max_bytes=3 * MIB,
        max_length_s=1800.0,
        timeout_s=7.0,
        sites=("youtube", "bilibili"),
        networks=parse_networks(["10.0.5.0/24"]),
        cookies=Path("c.txt"),
        min_free_bytes=2 * MIB,
    )
    with pytest.raises(InvalidOption, match=r"media\.local"):
        DownloadLimits.of(Settings(download_networks=("media.local",)))


def test_a_folder_that_cannot_be_written_is_told(server: LinkServer, tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match="cannot be saved"):
        download(f"{server.url}/talk.flac", tmp_path / "nowhere", LIMITS)
