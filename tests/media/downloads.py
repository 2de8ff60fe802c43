"""What the tests of downloads share: a server, a folder, and a call with limits."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bench.processes import children
from core.errors import SubtitleError
from core.networks import parse_networks
from media.download import Downloaded, DownloadLimits, download
from media.download_child import MIB
from tests.link_server import LinkServer, serving
from tests.waiting import PATIENCE_S

LIMITS = DownloadLimits(
    max_bytes=8 * MIB,
    max_length_s=3600.0,
    timeout_s=PATIENCE_S,
    sites=("generic", "html5"),
    networks=parse_networks(["127.0.0.1"]),
)

Get = Callable[..., Downloaded]


@pytest.fixture
def server() -> Iterator[LinkServer]:
    with serving() as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "fetched"
    path.mkdir()
    return path


@pytest.fixture
def get(server: LinkServer, folder: Path) -> Get:
    """Fetch a path of the server, or a link, with the limits changed as said."""

    def run(link: str, progress: object = None, **limits: object) -> Downloaded:
        url = server.url + link if link.startswith("/") else link
        options = {} if progress is None else {"progress": progress}
        return download(url, folder, replace(LIMITS, **limits), **options)  # type: ignore[arg-type]

    return run


def fails(
    get: Get, link: str, kind: type[SubtitleError], words: str, **options: object
) -> SubtitleError:
    with pytest.raises(kind, match=words) as caught:
        get(link, **options)
    assert type(caught.value) is kind
    return caught.value


def download_processes() -> list[int]:
    """Those of this process that live or that nobody has collected."""
    return [
        pid
        for pid in children(os.getpid())
        if Path(f"/proc/{pid}/cmdline").read_bytes().endswith(b"whisper-download\0")
    ]


@pytest.fixture(autouse=True)
def nothing_is_left(folder: Path) -> Iterator[None]:
    """Files of the caller alone, and no process."""
    yield
    assert [path.name for path in folder.iterdir() if "recording" not in path.name] == []
    assert download_processes() == []
