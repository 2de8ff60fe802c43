"""The app as a process: its routes, its limits, and that it leaves nothing behind."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.apps import ROOT, App, running_app
from tests.waiting import PATIENCE_S, eventually


def children(pid: int) -> set[int]:
    """All processes below a process."""
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found |= {child} | children(child)
    return found


def alive(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}")


def status_of(url: str, data: bytes | None = None, **headers: str) -> int:
    request = urllib.request.Request(url, data, headers)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def multipart(size: int) -> tuple[bytes, str]:
    boundary = "boundary1234567890"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="a.wav"\r\n\r\n'
    body = head.encode() + bytes(size) + f"\r\n--{boundary}--\r\n".encode()
    return body, f"multipart/form-data; boundary={boundary}"


def test_it_gets_ready_and_ends_with_all_its_processes(tmp_path: Path, tiny_en: Path) -> None:
    with running_app(tmp_path, WHISPER_MAX_UPLOAD_MIB="1") as app:
        assert app.get("/health")[0] == 200, "it is healthy while the model loads"
        app.wait_ready()
        workers = app.get("/health")[1]["workers"]
        assert [w["model"] for w in workers] == ["tiny.en"] * len(workers)
        body, kind = multipart(2 * 1024 * 1024)
        headers = {"Content-Type": kind}
        assert status_of(f"{app.url}/gradio_api/upload", body, **headers) == 413
        body, _ = multipart(1000)
        assert status_of(f"{app.url}/gradio_api/upload", body, **headers) == 200
        assert list((tmp_path / "data" / "uploads").rglob("a.wav")), "uploads lie in the data"
        running = children(app.process.pid)
        assert len(running) >= len(workers)
        # An open page holds such a stream for ever.
        open_page = urllib.request.urlopen(
            f"{app.url}/gradio_api/heartbeat/page", timeout=PATIENCE_S
        )
    with open_page:
        assert open_page.read() is not None, "the stream ends properly"
    eventually(lambda: not any(map(alive, running)), "all its processes are gone")


@pytest.mark.parametrize(
    "path",
    [
        "/jobs/unknown/recording",
        "/jobs/unknown/files/srt",
        "/gradio_api/file=/etc/passwd",
        f"/gradio_api/file={ROOT / 'app.py'}",
        "/docs",
        "/openapi.json",
        "/gradio_api/runs",
    ],
)
def test_nothing_else_is_served(app: App, path: str) -> None:
    assert status_of(app.url + path) in (403, 404)
