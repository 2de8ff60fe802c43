"""The server as a process: nothing holds its health up, and it stops without losing anything."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client, handle_file  # type: ignore[import-untyped]
from gradio_client.exceptions import AuthenticationError  # type: ignore[import-untyped]
from starlette.exceptions import HTTPException

from access.credentials import ApiKeys
from api.jobs import READERS, SUBMITTERS
from api.server import Closing
from core.settings import Settings
from jobs.database import Database
from jobs.states import JobState
from jobs.store import JobStore
from tests.api.conftest import MakeSite, Site
from tests.api.test_uploads import asked
from tests.apps import App, running_app
from tests.jobs.recordings import SHORT, joined
from tests.waiting import PATIENCE_S, eventually


async def nothing() -> AsyncIterator[dict[str, Any]]:
    yield {"type": "http.request", "body": b"", "more_body": False}


def test_health_answers_while_everything_else_is_held_up(
    site_of: MakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    site: Site = site_of(host="0.0.0.0")
    free = threading.Event()
    held_up = threading.Barrier(READERS + SUBMITTERS + 1)

    def waits(*_: object, **__: object) -> Any:
        held_up.wait(PATIENCE_S)
        free.wait(PATIENCE_S)

    monkeypatch.setattr(site.service.store, "get", waits)
    monkeypatch.setattr(site.service, "admit", waits)

    async def ask() -> None:
        reads = [
            asyncio.create_task(asked(site.app, site.key, nothing(), "/api/jobs/x", "GET"))
            for _ in range(READERS)
        ]
        posts = [
            asyncio.create_task(asked(site.app, site.key, nothing())) for _ in range(SUBMITTERS)
        ]
        await asyncio.to_thread(held_up.wait, PATIENCE_S)
        for path in ("/health", "/ready") * 5:
            status, _, _ = await asked(site.app, "", nothing(), path, "GET")
            assert status in (200, 503)
        assert not any(task.done() for task in (*reads, *posts)), "nothing was freed for them"
        free.set()
        await asyncio.gather(*reads, *posts)

    asyncio.run(ask())


@pytest.mark.parametrize("started", [True, False])
def test_a_stream_whose_session_is_gone_ends_without_an_error(started: bool) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if started:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        raise HTTPException(404)

    async def run() -> list[Any]:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        await Closing(app)({"type": "http", "method": "GET"}, nothing().__anext__, send)
        return sent

    if not started:
        with pytest.raises(HTTPException):  # it becomes an answer further inside
            asyncio.run(run())
        return
    last = asyncio.run(run())[-1]
    assert last == {"type": "http.response.body", "body": b"", "more_body": False}


@pytest.fixture(scope="module")
def key_and_app(tmp_path_factory: pytest.TempPathFactory, tiny_en: Path) -> Iterator[Any]:
    """An app that asks for a login, and a key to it."""
    folder = tmp_path_factory.mktemp("server")
    key = ApiKeys(Settings(data_dir=folder / "data")).add("bot")
    with running_app(
        folder,
        WHISPER_ACCESS="login",
        WHISPER_WORKERS="1",
        WHISPER_SHUTDOWN_GRACE_S=str(PATIENCE_S),
    ) as app:
        app.wait_ready()
        yield key, app


def ask(
    app: App, key: str, path: str, data: bytes | None = None, method: str | None = None
) -> tuple[int, Message, Any]:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/octet-stream"}
    request = urllib.request.Request(app.url + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return answer.status, answer.headers, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, json.loads(error.read() or b"null")


def test_an_early_refusal_reaches_a_client_that_is_still_sending(key_and_app: Any) -> None:
    key, app = key_and_app
    status, _, body = ask(app, key, "/api/jobs?model=nonsense", bytes(30_000_000))
    assert (status, body["error"]["type"]) == (422, "ModelError")
    status, _, body = ask(app, "wrong", "/api/jobs", bytes(30_000_000))
    assert (status, body["error"]["type"]) == (401, "LoginNeeded")


def test_gradios_client_comes_in_with_a_key_and_owns_its_jobs(key_and_app: Any) -> None:
    key, app = key_and_app
    with pytest.raises(AuthenticationError, match="credentials were not provided"):
        Client(app.url, verbose=False)
    client = Client(
        app.url,
        headers={"Authorization": f"Bearer {key}"},
        verbose=False,
        httpx_kwargs={"timeout": PATIENCE_S},
    )
    try:
        _, srt, path = client.predict(handle_file(SHORT), api_name="/process_audio")
    finally:
        client.close()
    assert "-->" in srt
    assert Path(path).read_text(encoding="utf-8") == srt
    jobs = ask(app, key, "/api/jobs")[2]["jobs"]
    assert [job["name"] for job in jobs] == [SHORT.name], "a queued event knows who asked"


def test_it_stops_taking_jobs_finishes_what_runs_and_pauses_the_rest(
    key_and_app: Any, tmp_path: Path
) -> None:
    key, app = key_and_app
    long = joined(tmp_path / "long.wav", 8).read_bytes()
    job = ask(app, key, "/api/jobs?name=long.wav", long)[2]["id"]

    def is_running() -> bool:
        return bool(ask(app, key, f"/api/jobs/{job}")[2]["done_s"] > 0)

    eventually(is_running, "some of it is done")
    # What a worker has in hand holds the end up until it goes on.
    with app.standing_still():
        app.process.send_signal(signal.SIGTERM)
        refused: tuple[int, Message, Any] = (0, Message(), None)
        while refused[0] != 503:
            refused = ask(app, key, "/api/jobs", SHORT.read_bytes())
        assert refused[2]["error"]["type"] == "Paused"
        assert int(refused[1]["Retry-After"]) > 0
        assert app.get("/ready")[0] == 503
    assert app.process.wait(PATIENCE_S) == 0
    log = app.log.read_text()
    assert "Traceback" not in log
    database = Database.open(Settings(data_dir=app.data_dir))
    try:
        record = JobStore(database).get(job)
    finally:
        database.close()
    assert record is not None
    assert (record.state, record.runner) == (JobState.PAUSED, None)


def test_a_second_signal_does_not_wait_for_the_work(tmp_path: Path, tiny_en: Path) -> None:
    with running_app(tmp_path, WHISPER_WORKERS="1", WHISPER_SHUTDOWN_GRACE_S="3600") as app:
        app.wait_ready()
        ask(app, "", "/api/jobs?name=long.wav", joined(tmp_path / "long.wav", 4).read_bytes())
        eventually(lambda: app.get("/health")[1]["workers"][0]["state"] == "busy", "it works")
        # What the worker does now will never be finished.
        with app.standing_still() as workers:
            app.process.send_signal(signal.SIGTERM)
            eventually(lambda: app.get("/ready")[0] == 503, "it is stopping")
            assert app.process.poll() is None
            app.process.send_signal(signal.SIGTERM)
            assert app.process.wait(PATIENCE_S) == 0
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), "all are gone")
    assert "no sign of life" not in app.log.read_text(), "it waited until they counted as hung"
