"""A download reaches public addresses and what the settings admit, and does nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import DownloadFailed, DownloadRefused
from media.download_child import Downloaded, Order
from media.process import IsolatedProcess
from tests.link_server import LinkServer, serving
from tests.media import download_targets
from tests.media.downloads import LIMITS, Get, fails
from tests.media.downloads import folder as folder
from tests.media.downloads import get as get
from tests.media.downloads import nothing_is_left as nothing_is_left
from tests.media.downloads import server as server

PRIVATE = ("http://127.0.0.1:{port}", "http://localhost:{port}", "http://2130706433:{port}")


@pytest.mark.parametrize("spelling", PRIVATE)
def test_private_addresses_are_refused_however_they_are_spelt(
    get: Get, server: LinkServer, spelling: str
) -> None:
    link = spelling.format(port=server.server_port) + "/talk.flac"
    error = fails(get, link, DownloadRefused, "private address", networks=())
    assert "WHISPER_DOWNLOAD_NETWORKS" in error.hint
    assert server.seen == []


def test_redirects_lead_to_private_addresses_as_little_as_links(
    get: Get, server: LinkServer
) -> None:
    with serving("127.0.0.2") as inside:
        for target in (f"{inside.url}/talk.flac", "http://169.254.169.254/latest/meta-data/"):
            fails(get, f"/to?{target}", DownloadRefused, "private address")
        fails(get, "/to?ftp://127.0.0.1/talk.flac", DownloadRefused, "a protocol other than HTTP")
        assert inside.seen == []
    assert get(f"/to?{server.url}/talk.flac").title == "talk"


def fetch_named(
    folder: Path, url: str, names: dict[str, list[str]], **limits: object
) -> Downloaded:
    place = folder / "recording-place"
    place.mkdir()
    order = Order(
        url=url,
        folder=place,
        limits=replace(LIMITS, **limits),  # type: ignore[arg-type]
        cookies=None,
        environment={},
        proxies=(),
    )
    with IsolatedProcess(
        download_targets.fetch_where_names_are, order, names, name="download"
    ) as process:
        list(process.messages())
        return process.result


def test_what_a_name_leads_to_is_checked_each_time(server: LinkServer, folder: Path) -> None:
    url = f"http://media.example:{server.server_port}/talk.flac"
    with serving("127.0.0.2") as inside:
        for number, addresses in enumerate(
            (["127.0.0.2"], ["127.0.0.1", "127.0.0.2"], ["::ffff:127.0.0.2"])
        ):
            place = folder / f"recording-{number}"
            place.mkdir()
            with pytest.raises(DownloadRefused, match=r"private address \(media\.example\)"):
                fetch_named(place, url, {"media.example": addresses})
        assert inside.seen == []
    # The second name was asked before it turned.
    assert len(server.seen) == 1


def test_sites_of_the_settings_and_short_links_to_them_are_admitted(
    server: LinkServer, folder: Path
) -> None:
    video = "https://www.bilibili.com/video/BV1xx411c7mD"
    short = f"http://b23.tv:{server.server_port}/to?{video}"
    for number, url in enumerate((short, video, "https://youtu.be/dQw4w9WgXcQ")):
        place = folder / f"recording-{number}"
        place.mkdir()
        with pytest.raises(DownloadFailed, match="cannot be reached"):
            fetch_named(place, url, {"b23.tv": ["127.0.0.1"]}, sites=("youtube", "bilibili"))
    assert len(server.seen) == 1


def test_a_proxy_is_used_wherever_it_is_and_decides(
    get: Get, server: LinkServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    assert get("http://media.example/talk.flac", networks=()).title == "talk"
    assert {path for path, _ in server.seen} == {"http://media.example/talk.flac"}
    seen = len(server.seen)
    fails(get, "http://10.0.0.1/talk.flac", DownloadRefused, "private address", networks=())
    assert len(server.seen) == seen


def test_the_process_of_a_download_can_do_nothing_else() -> None:
    with IsolatedProcess(download_targets.try_everything, name="download") as process:
        list(process.messages())
        results = process.result
    for what in ("program", "shell", "fork"):
        assert results.pop(what) == "a download runs no programs"
    assert results.pop("datagram") == "a download sends no datagrams"
    assert results.pop("unix") == "a download connects to nothing but the network"
    assert len(results) == 3
    for result in results.values():
        assert "private address" in result
