"""What of Gradio the world sees, and that nothing of it is a way in or a way to fill the disk."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import HERE, MakeSite, Site
from tests.api.test_uploads import BOUNDARY, asked, part


@pytest.fixture(scope="module")
def site(site_of: MakeSite) -> Site:
    """On this machine alone: whoever asks may ask everything the app knows."""
    return site_of(max_upload_mib=1)


def here(site: Site) -> Any:
    return site.client(HERE, "127.0.0.1:7860")


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/proxy=https://example.hf.space/x",
        "/gradio_api/file=http://169.254.169.254/latest/meta-data",
        "/gradio_api/file=https://example.com/",
        "/gradio_api/vibe-code",
        "/gradio_api/dev/reload",
        "/gradio_api/deep_link",
        "/gradio_api/runs",
        "/gradio_api/openapi.json",
        "/gradio_api/profiling/traces",
        "/gradio_api/stream/a/1/2/playlist.m3u8",
        "/gradio_api/custom_component/a/client/component/b",
        "/gradio_api/mcp/",
        "/monitoring",
        "/monitoring/summary",
        "/token",
        "/gradio_api/token",
        "/docs",
        "/openapi.json",
        "/redoc",
        "/pwa_icon",
        "/robots.txt/../monitoring",
        "/app.py",
        "/data/users.txt",
        "/.env",
    ],
)
def test_nothing_is_there_that_the_page_does_not_need(site: Site, path: str) -> None:
    assert here(site).get(path).status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/component_server",
        "/gradio_api/process_recording",
        "/gradio_api/vibe-edit",
        "/gradio_api/run/process_audio",
        "/gradio_api/api/process_audio",
        "/gradio_api/call/anything_else",
    ],
)
def test_nothing_can_be_sent_where_the_page_sends_nothing(site: Site, path: str) -> None:
    assert here(site).post(path, json={}).status_code == 404


def test_no_file_of_this_machine_is_served(site: Site, root: Path, tmp_path: Path) -> None:
    data = site.service.settings.data_dir.resolve()
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    inside = data / "uploads" / "link.txt"
    inside.symlink_to(secret)
    (data / "jobs").mkdir(exist_ok=True)
    (data / "jobs" / "x.srt").write_text("somebody's words")
    stored = [data / name for name in ("secret", "users.txt", "api_keys.txt", "jobs/x.srt")]
    asked_for = [*stored, *data.glob("jobs.sqlite3*"), root / "app.py", Path("/etc/passwd"), inside]
    assert all(path.exists() for path in asked_for)
    client = here(site)
    for path in asked_for:
        detours = [
            str(path),
            str(path).replace("/", "%2F"),
            f"{data}/uploads/..{os.sep}{os.path.relpath(path, data)}",
            f"{data}/uploads/%2e%2e/{os.path.relpath(path, data)}",
            os.path.relpath(path),
            f"file://{path}",
        ]
        for detour in detours:
            for address in (f"/gradio_api/file={detour}", f"/gradio_api/file/{detour}"):
                assert client.get(address).status_code in (403, 404), address


def test_an_uploads_name_is_no_path(site: Site) -> None:
    files = {"files": ("../../../evil<script>.wav", b"sound")}
    stored = Path(here(site).post("/gradio_api/upload", files=files).json()[0])
    assert stored.is_relative_to(site.service.settings.data_dir / "uploads")
    assert stored.name == "evilscript.wav"
    files = {"files": ("page.html", b"<script>alert(1)</script>")}
    stored = Path(here(site).post("/gradio_api/upload", files=files).json()[0])
    answer = here(site).get(f"/gradio_api/file={stored}")
    assert answer.headers["content-disposition"].startswith("attachment")


def test_a_file_that_is_too_large_is_refused_and_leaves_nothing(site: Site) -> None:
    uploads = site.service.settings.data_dir / "uploads"
    before = set(uploads.iterdir())
    files = {"files": ("a.wav", bytes(2 * 1024 * 1024))}
    assert here(site).post("/gradio_api/upload", files=files).status_code == 413
    assert set(uploads.iterdir()) == before


def test_an_upload_that_breaks_off_leaves_nothing(site_of: MakeSite) -> None:
    site = site_of(host="0.0.0.0")
    uploads = site.service.settings.data_dir / "uploads"
    before = set(uploads.iterdir())
    during: list[set[Path]] = []

    async def breaks_off() -> AsyncIterator[dict[str, Any]]:
        first = part("files", bytes(100_000), "a.wav")
        yield {"type": "http.request", "body": first, "more_body": True}
        yield {"type": "http.request", "body": bytes(100_000), "more_body": True}
        during.append(set(uploads.iterdir()))

    kind = f"multipart/form-data; boundary={BOUNDARY}"
    call = asked(site.app, site.key, breaks_off(), path="/gradio_api/upload", content_type=kind)
    assert asyncio.run(call)[0] in (0, 400)
    assert during[0] - before, "it had begun to write"
    assert set(uploads.iterdir()) == before


def test_the_page_tells_no_details_and_calls_nobody(site: Site) -> None:
    config = here(site).get("/config").json()
    assert config["show_error"] is False
    assert config["analytics_enabled"] is False
    assert config["enable_queue"] is True
    assert not config.get("mcp_server")
    named = [one["api_name"] for one in config["dependencies"] if one["api_visibility"] == "public"]
    assert named == ["process_audio"]


def test_the_queue_of_the_page_is_bounded(site: Site) -> None:
    page = site.app.routes[-1].app.get_blocks()  # type: ignore[attr-defined]
    assert page._queue.max_size is not None
    assert page.delete_cache is not None
    assert page.enable_monitoring is False


def test_what_pages_of_a_killed_service_sent_is_removed_after_a_day(
    site_of: MakeSite, tmp_path: Path
) -> None:
    uploads = tmp_path / "uploads"
    for name in ("old", "new"):
        (uploads / name).mkdir(parents=True)
        (uploads / name / "a.wav").write_bytes(b"sound")
        (uploads / f"tmp{name}").write_bytes(b"half of it")
    for path in (uploads / "old", uploads / "tmpold"):
        os.utime(path, (0, 0))
    site_of(data_dir=tmp_path)
    assert {path.name for path in uploads.iterdir()} == {"new", "tmpnew"}
