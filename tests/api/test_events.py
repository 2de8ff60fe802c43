"""A job as Server-Sent Events, from a running app, and followed without a thread that waits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.following import ended, follow
from jobs.database import Database
from jobs.job import Job
from jobs.outbox import Outbox
from jobs.recorder import Recorder
from jobs.records import JobView
from jobs.request import JobRequest
from jobs.service import JobService
from jobs.states import JobState
from jobs.store import JobStore
from jobs.stored import StoredJob
from tests.api.conftest import MakeSite
from tests.apps import App, running_app
from tests.jobs.recordings import SHORT, SHORT_TEXT, joined
from tests.jobs.test_store import record
from tests.spoken import word_errors
from tests.waiting import PATIENCE_S


@dataclass(frozen=True, slots=True)
class Event:
    name: str
    id: str
    data: Any


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, tiny_en: Path) -> Iterator[App]:
    with running_app(tmp_path_factory.mktemp("app"), WHISPER_WORKERS="1") as app:
        app.wait_ready()
        yield app


@pytest.fixture(scope="module")
def http(app: App) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=app.url, timeout=PATIENCE_S, trust_env=False) as client:
        yield client


def submitted(http: httpx.Client, recording: Path) -> str:
    answer = http.post("/api/jobs", params={"name": recording.name}, content=recording.read_bytes())
    assert answer.status_code == 202, answer.text
    return str(answer.json()["status_url"])


def parsed(lines: Iterable[str]) -> Iterator[Event]:
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        fields[name] = value
        if not line:
            if "event" in fields:
                yield Event(fields["event"], fields["id"], json.loads(fields["data"]))
            fields = {}


def events_of(http: httpx.Client, job: str, after: str = "") -> list[Event]:
    headers = {"Last-Event-ID": after} if after else {}
    with http.stream("GET", f"{job}/events", headers=headers) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        return list(parsed(answer.iter_lines()))


def named(events: list[Event], name: str) -> list[Any]:
    return [event.data for event in events if event.name == name]


@pytest.fixture(scope="module")
def followed(http: httpx.Client, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Address and events of a job that was followed from its beginning to its end."""
    job = submitted(http, joined(tmp_path_factory.mktemp("talk") / "talk.wav"))
    return job, events_of(http, job)


def test_a_stream_tells_all_of_a_job_once_and_ends_with_its_files(
    http: httpx.Client, followed: tuple[str, list[Event]]
) -> None:
    job, events = followed
    kept = http.get(job, params={"text": 1}).json()
    for name, key in (("segment", "segments"), ("cue", "cues")):
        told = named(events, name)
        assert told == [{"index": index, **one} for index, one in enumerate(kept[key])]
    assert named(events, "history") == http.get(f"{job}/history").json()["history"]
    states = named(events, "state")
    assert {state["state"] for state in states} <= {"queued", "running"}
    fractions = [state["fraction"] for state in states]
    assert fractions == sorted(fractions)
    assert [event.name for event in events].index("end") == len(events) - 1
    (end,) = named(events, "end")
    assert end["state"] == "complete"
    assert end["files"] == kept["files"]


def test_a_stream_that_broke_off_goes_on_where_it_was(
    http: httpx.Client, followed: tuple[str, list[Event]]
) -> None:
    job, events = followed
    for seen in (0, len(events) // 2, len(events) - 2):
        rest = events_of(http, job, after=events[seen].id)
        for name in ("history", "segment", "cue", "end"):
            assert named(rest, name) == named(events[seen + 1 :], name)
    whole = [event for event in events if event.name != "state"]
    assert len(events_of(http, job, after="not one of ours")) == len(whole)


def test_a_browser_that_has_had_the_end_is_told_not_to_come_back(
    http: httpx.Client, followed: tuple[str, list[Event]]
) -> None:
    job, events = followed
    answer = http.get(f"{job}/events", headers={"Last-Event-ID": events[-1].id})
    assert answer.status_code == 204


def test_nothing_there_is_nothing_to_follow(http: httpx.Client) -> None:
    answer = http.get("/api/jobs/nothing/events")
    assert (answer.status_code, answer.json()["error"]["type"]) == (404, "NoSuchJob")


def test_a_stream_goes_on_while_its_job_does_and_ends_with_it(app: App, http: httpx.Client) -> None:
    with app.standing_still():
        job = submitted(http, SHORT)
        with http.stream("GET", f"{job}/events") as answer:
            events = parsed(answer.iter_lines())
            assert next(event for event in events if event.name == "state").data["ended"] is False
            assert http.post(f"{job}/cancel").status_code == 200
            last = list(events)[-1]
    assert (last.name, last.data["state"]) == ("end", "cancelled")


def test_a_job_of_another_service_is_followed_too(site_of: MakeSite, tiny_en: Path) -> None:
    service = site_of().service
    with JobService(service.settings) as other:

        async def both() -> tuple[list[JobView], JobView]:
            job = await asyncio.to_thread(service.submit, JobRequest(path=SHORT, adopt="link"))
            elsewhere = await asyncio.to_thread(other.get, job.id)
            assert isinstance(elsewhere, StoredJob)
            views = [view async for view in follow(elsewhere, text=True)]
            return views, await ended(job)

        views, here = asyncio.run(both())
    assert [view.state for view in views][-1] is here.state is JobState.COMPLETE
    assert views[-1].segments == here.segments
    assert word_errors(SHORT_TEXT, here.segments[0].text).wer <= 0.5


def test_a_quiet_job_is_shown_again_and_does_not_hear_of_those_who_left(
    database: Database,
) -> None:
    outbox = Outbox()
    job = Job(record("a"), Recorder(JobStore(database), outbox, "a"), lambda job, error: None)

    async def seen() -> list[int]:
        views = follow(job, text=False, quiet_s=0.01)
        versions = [(await anext(views)).version for _ in range(2)]
        await asyncio.to_thread(job.queued, 3)
        while versions[-1] == versions[0]:
            versions.append((await anext(views)).version)
        assert len(job._listeners) == 1
        await views.aclose()
        return versions

    versions = asyncio.run(seen())
    assert versions[0] == versions[1] < versions[-1]
    assert job._listeners == []
    assert outbox.close(PATIENCE_S)
