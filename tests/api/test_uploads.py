"""Recordings on their way in: limits while they stream, and nothing left of what did not arrive."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from api.upload_body import FormBody, PlainBody, Upload, recording_name
from api.uploads import FORM_BYTES, Uploads
from core.errors import InvalidOption
from core.settings import Settings
from jobs.admission import MIB, Admission
from tests.api.conftest import MakeSite, Site
from tests.jobs.recordings import small_disk

BOUNDARY = "boundary"


def part(name: str, data: bytes, filename: str | None = None) -> bytes:
    called = "" if filename is None else f'; filename="{filename}"'
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{called}\r\n\r\n'
    return head.encode() + data + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()
FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def take_apart(folder: Path, body: bytes, step: int = 7) -> tuple[Upload, bytes]:
    """What a form holds that arrives in small pieces, and the recording's bytes."""
    form = FormBody(folder, BOUNDARY.encode())
    try:
        for start in range(0, len(body), step):
            form.feed(body[start : start + step])
        upload = form.end()
    finally:
        form.close()
    assert upload.path is not None
    return upload, upload.path.read_bytes()


def test_a_form_is_taken_apart_however_it_arrives(tmp_path: Path) -> None:
    sound = bytes(range(256)) * 3 + b"\r\n--boundar\r\n"
    body = part("model", b"base") + part("file", sound, "Talk.MP3") + part("task", "ü".encode())
    for step in (1, 7, 1000):
        folder = tmp_path / str(step)
        folder.mkdir()
        upload, found = take_apart(folder, body + END, step)
        assert found == sound
        assert upload.path is not None
        assert (upload.name, upload.path.name) == ("Talk.MP3", "recording.mp3")
        assert upload.fields == {"model": "base", "task": "ü"}


def test_a_field_that_is_there_twice_keeps_both_values(tmp_path: Path) -> None:
    body = part("list[]", b"a") + part("one", b"x") + part("file", b"sound", "a.wav")
    upload, _ = take_apart(tmp_path, body + part("list[]", b"b") + part("list[]", b"c") + END)
    assert upload.fields == {"list[]": ["a", "b", "c"], "one": "x"}


@pytest.mark.parametrize("sound", [b"sound", b""])
def test_what_a_recording_lacks_comes_before_it_and_is_none(tmp_path: Path, sound: bytes) -> None:
    form = FormBody(tmp_path, BOUNDARY.encode(), b"head ")
    form.feed(part("file", sound, "a.wav") + END)
    if not sound:
        with pytest.raises(InvalidOption, match="No recording was sent"):
            form.end()
        return
    path = form.end().path
    assert path is not None
    assert path.read_bytes() == b"head sound"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (part("model", b"base") + END, "No recording was sent"),
        (part("file", b"", "a.wav") + END, "No recording was sent"),
        (part("file", b"sound", "a.wav"), "ends too early"),
        (part("file", b"x", "a.wav") + part("file", b"y", "b.wav") + END, "more than one"),
        (part("model", b"x" * 20_000) + END, "too long"),
        (part("a", b"b") * 41 + END, "more than 40 fields"),
        (b"no form at all", "cannot be read"),
        (b"", "ends too early"),
    ],
)
def test_a_form_that_is_none_is_explained(tmp_path: Path, body: bytes, message: str) -> None:
    with pytest.raises(InvalidOption, match=message):
        take_apart(tmp_path, body, 1000)


@pytest.mark.parametrize(
    ("sent", "name", "stored"),
    [
        ("../../etc/passwd", "passwd", "recording"),
        ("C:\\Users\\me\\talk.wav", "talk.wav", "recording.wav"),
        ("a\r\nSet-Cookie: x.mp3", "a Set-Cookie: x.mp3", "recording.mp3"),
        ("\u202egpj.exe.mp4", "gpj.exe.mp4", "recording.mp4"),
        ("film.m4a;sh", "film.m4a;sh", "recording"),
        ("x" * 300 + ".webm", "x" * 195 + ".webm", "recording.webm"),
        ("..", "recording", "recording"),
        ("", "recording", "recording"),
        ("Über München.ogg", "Über München.ogg", "recording.ogg"),
    ],
)
def test_a_strangers_name_is_no_path(tmp_path: Path, sent: str, name: str, stored: str) -> None:
    assert recording_name(sent) == name
    plain = PlainBody(tmp_path, sent)
    plain.feed(b"sound")
    assert plain.end().path == tmp_path / stored


async def asked(
    app: Any,
    key: str,
    body: AsyncIterator[dict[str, Any]],
    path: str = "/api/jobs",
    method: str = "POST",
    **headers: str,
) -> tuple[int, dict[str, str], Any]:
    """Status, headers and JSON of a request whose messages are exactly these."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return await anext(body, {"type": "http.disconnect"})

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    given = {"host": "subs.example", "authorization": f"Bearer {key}", **headers}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"name=talk.wav",
        "headers": [(k.replace("_", "-").encode(), v.encode()) for k, v in given.items()],
        "client": ("203.0.113.7", 1),
        "server": ("subs.example", 80),
    }
    await app(scope, receive, send)
    if not sent:
        return 0, {}, None
    answer = b"".join(m.get("body", b"") for m in sent if m["type"] == "http.response.body")
    found = {k.decode(): v.decode() for k, v in sent[0]["headers"]}
    is_json = found.get("content-type") == "application/json"
    return sent[0]["status"], found, json.loads(answer) if is_json else answer


class Body:
    """An upload of so many MiB, whole or broken off."""

    def __init__(self, mib: int, *, ends: bool = True) -> None:
        self.mib = mib
        self.ends = ends

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        for number in range(self.mib):
            more = number + 1 < self.mib or not self.ends
            yield {"type": "http.request", "body": bytes(MIB), "more_body": more}


@pytest.fixture(scope="module")
def small(site_of: MakeSite) -> Site:
    """Takes 2 MiB."""
    return site_of(host="0.0.0.0", max_upload_mib=2)


def incoming(site: Site) -> list[Path]:
    return list((site.service.settings.data_dir / "incoming").iterdir())


@pytest.mark.parametrize("content_type", ["audio/wav", FORM["Content-Type"]])
def test_too_much_is_refused_as_soon_as_it_is_too_much(small: Site, content_type: str) -> None:
    async def messages() -> AsyncIterator[dict[str, Any]]:
        if content_type.startswith("multipart"):
            first = part("file", b"", "a.wav").removesuffix(b"\r\n")
            yield {"type": "http.request", "body": first, "more_body": True}
        async for message in Body(50):
            seen.append(incoming(small) != [])
            yield message

    seen: list[bool] = []
    answer = asked(small.app, small.key, messages(), content_type=content_type)
    status, headers, body = asyncio.run(answer)
    assert (status, body["error"]["type"]) == (413, "MediaLimitExceeded")
    assert headers["connection"] == "close"
    assert seen.index(False, 2) == 3, "its folder is gone with the third MiB; the rest is drained"
    assert incoming(small) == []


def test_too_much_is_refused_before_the_first_byte(small: Site) -> None:
    seen: list[list[Path]] = []

    async def messages() -> AsyncIterator[dict[str, Any]]:
        async for message in Body(2):
            seen.append(incoming(small))
            yield message

    length = str(3 * MIB + FORM_BYTES)
    answer = asked(small.app, small.key, messages(), content_length=length)
    assert asyncio.run(answer)[0] == 413
    assert seen == [[], []], "what comes is thrown away"


def test_nothing_stays_when_the_client_goes_away(small: Site) -> None:
    answer = asked(small.app, small.key, aiter(Body(1, ends=False)))
    asyncio.run(answer)
    assert incoming(small) == []
    assert small.program().get("/api/jobs").json()["total"] == 0


def test_nothing_stays_when_the_request_is_cancelled(small: Site) -> None:
    async def cut_off() -> None:
        reached, never = asyncio.Event(), asyncio.Event()

        async def messages() -> AsyncIterator[dict[str, Any]]:
            yield {"type": "http.request", "body": bytes(MIB), "more_body": True}
            reached.set()
            await never.wait()

        task = asyncio.create_task(asked(small.app, small.key, messages()))
        await reached.wait()
        assert incoming(small) != []
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cut_off())
    assert incoming(small) == []


@pytest.fixture
def full(tmp_path: Path, site_of: MakeSite) -> Iterator[Site]:
    """Its uploads go to a disk of one MiB, and it keeps nothing free."""
    site = site_of(host="0.0.0.0", min_free_mib=0)
    with small_disk(tmp_path / "disk") as disk:
        folder = site.service.settings.data_dir / "incoming"
        folder.rmdir()
        folder.symlink_to(disk)
        yield site


def test_a_full_disk_is_answered_and_nothing_stays(full: Site) -> None:
    answer = asked(full.app, full.key, aiter(Body(20)))
    status, _, body = asyncio.run(answer)
    assert (status, body["error"]["type"]) == (507, "DiskFull")
    assert incoming(full) == []


def test_space_that_must_stay_free_is_not_touched(site_of: MakeSite) -> None:
    site = site_of(host="0.0.0.0", min_free_mib=2**40)
    answer = site.program().post("/api/jobs", content=b"x")
    assert (answer.status_code, answer.json()["error"]["type"]) == (507, "DiskFull")
    page = site.program().post("/gradio_api/upload", files={"files": ("a.wav", b"x")})
    assert page.status_code == 507
    assert "Too little disk space" in page.text, "Gradio's page shows the text as it is"


def test_what_a_killed_service_left_is_removed_and_what_is_in_use_is_not(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    uploads = Uploads(settings, Admission(settings))
    dead, alive = tmp_path / "incoming" / "dead", tmp_path / "incoming" / "alive"
    for folder in (dead, alive):
        folder.mkdir()
        (folder / "recording.mp4").write_bytes(b"half")
    handle = os.open(alive, os.O_RDONLY)
    try:
        # As another service does while it takes an upload.
        fcntl.flock(handle, fcntl.LOCK_EX)
        uploads.sweep()
    finally:
        os.close(handle)
    assert list((tmp_path / "incoming").iterdir()) == [alive]
