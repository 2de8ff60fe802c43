"""What the page answers when something does not go: in words, to its owner, without details."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from access.identity import LOCAL, STATE_KEY, Identity
from core.errors import (
    ClientLimit,
    DatabaseUnavailable,
    DiskFull,
    InvalidOption,
    NoSuchJob,
    Paused,
    QueueFull,
    SubtitleError,
)
from core.settings import Settings
from core.types import TranscriptSegment
from jobs.request import JobRequest
from jobs.service import JobService
from tests.ui.test_options import SHOWN
from tests.ui.test_render import RUNNING, Reader
from ui import entries
from ui.details import Details
from ui.handlers import Handlers
from ui.jobs_tab import Listing

FORM = tuple(SHOWN.values())


class Request:
    """As much of ``gr.Request`` as the handlers use."""

    session_hash = "page"

    def __init__(self, who: Identity = LOCAL) -> None:
        self.state = type("State", (), {STATE_KEY: who})()


class Handle:
    id = "job"

    def __init__(self, request: JobRequest) -> None:
        self.request = request
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Service(JobService):
    """A service that does nothing but answer, or refuse, as told."""

    def __init__(self, error: SubtitleError | None = None, owner: str = "local") -> None:
        self.settings = Settings(keep_jobs_hours=48)
        self._error = error
        self._owner = owner
        self.submitted: list[JobRequest] = []
        self.handle: Handle | None = None
        self.deleted: list[str] = []

    def submit(self, request: JobRequest, *, source_id: str | None = None, key: Any = None) -> Any:
        return self._take(request)

    def rerun(self, job_id: str, request: JobRequest) -> Any:
        return self._take(request)

    def retry_gaps(
        self, job_id: str, *, model: str | None = None, device: str | None = None
    ) -> Any:
        return self._take(self.handle.request if self.handle else None)

    def _take(self, request: JobRequest | None) -> Any:
        if self._error is not None:
            raise self._error
        assert request is not None
        self.submitted.append(request)
        self.handle = Handle(request)
        return self.handle

    def get(self, job_id: str) -> Any:
        if self._error is not None:
            raise self._error
        return self.handle if job_id == "job" else None

    def find(self, *args: Any, **kwargs: Any) -> Any:
        raise self._error or AssertionError

    def delete(self, job_id: str) -> None:
        self.deleted.append(job_id)


def event(job_id: object) -> gr.EventData:
    return gr.EventData(None, {"id": job_id})


def started(
    service: Service, who: Identity = LOCAL, source: str = "", links: str = ""
) -> list[entries.Entry]:
    files = [] if source or links else ["/tmp/uploads/1/talk.mp3"]
    found: list[entries.Entry] = Handlers(service).start(
        Request(who),  # type: ignore[arg-type]
        files,
        None,
        links,
        source,
        *FORM,
    )[0]
    return found


REFUSALS = [
    QueueFull("The queue is full: 100 jobs are running or waiting."),
    ClientLimit("20 of your jobs are already running or waiting, and that is the limit."),
    DiskFull("Too little disk space: 3 MiB are free in data, 512 MiB are needed."),
    DatabaseUnavailable("The database does not answer."),
    Paused("The service is stopping.", hint="Try again in a minute."),
]


@pytest.mark.parametrize("error", REFUSALS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("source", ["", "job"])
def test_what_is_refused_is_said_with_what_to_do(error: SubtitleError, source: str) -> None:
    (entry,) = started(Service(error), source=source)
    shown = Reader(entry["card"])
    assert error.message in shown.text
    assert error.hint in shown.text
    assert "Not started" in shown.text


def test_a_job_belongs_to_who_started_it_and_keeps_its_recording() -> None:
    service, who = Service(), Identity("visitor:abc", "ip:192.0.2.7")
    (entry,) = started(service, who)
    (request,) = service.submitted
    assert (request.owner, request.client) == ("visitor:abc", "ip:192.0.2.7")
    assert request.adopt == "link"
    assert entry["mine"]


def test_others_may_look_at_a_job_and_not_change_it() -> None:
    service = Service()
    started(service, Identity("visitor:abc", "ip:192.0.2.7"))
    other: Any = Request(Identity("visitor:xyz", "ip:192.0.2.8"))
    handlers = Handlers(service)
    (entry,) = handlers.resume(other, "job", [])[0]
    assert not entry["mine"]
    with pytest.raises(gr.Error, match="Only the person who started a job may change it"):
        handlers.delete(event("job"), other, [entry])
    with pytest.raises(gr.Error, match="Only the person who started"):
        handlers.cancel_one(event("job"), other)
    with pytest.raises(gr.Error, match="Only the person who started"):
        Details(service, handlers.watchers).retry(other, "job", "tiny.en", "cpu")
    handlers.cancel(other, [entry])
    assert service.handle is not None
    assert not service.handle.cancelled
    assert service.deleted == []


@pytest.mark.parametrize("asked", ["", "unknown", "x" * 5000, None, 7, {"id": 1}, "../../etc"])
def test_a_button_that_asks_for_nonsense_is_told_so(asked: object) -> None:
    handlers, anybody = Handlers(Service()), Request()
    with pytest.raises(gr.Error, match="no longer exists"):
        handlers.delete(event(asked), anybody, [])  # type: ignore[arg-type]


def test_a_link_to_no_job_says_how_long_jobs_are_kept() -> None:
    for link in ("unknown", "", "x" * 100_000):
        entry = entries.opened(Service(), link, LOCAL)
        assert entry["id"] == ""
        assert "removed 2 days after they end" in Reader(entry["card"]).text


@pytest.mark.parametrize("link", ["job", ""])
def test_without_the_database_the_page_opens_and_says_so(link: str) -> None:
    handlers = Handlers(Service(DatabaseUnavailable("The database does not answer.")))
    (entry,) = handlers.resume(Request(), link, ["job"])[0]  # type: ignore[arg-type]
    assert "does not answer" in Reader(entry["card"]).text
    assert "Try again in a moment" in Reader(entry["card"]).text


def test_without_the_database_the_list_says_so() -> None:
    listing = Listing(Service(DatabaseUnavailable("The database does not answer.")))
    markup, page = listing.refresh(Request(), "", "All", 3)  # type: ignore[arg-type]
    assert "does not answer" in Reader(markup).text
    assert page == 3


def test_what_a_browser_remembers_is_only_ever_ids() -> None:
    assert entries.remembered_ids(["a", 1, None, {"id": "b"}, "", "x" * 100]) == ["a"]
    assert entries.remembered_ids({"id": "a"}) == []
    assert len(entries.remembered_ids(["a"] * 1000)) == entries.MAX_REMEMBERED


def test_a_message_that_gradio_shows_as_html_is_no_markup() -> None:
    shown = entries.toast(InvalidOption("No <img src=x onerror=alert(1)> here.", hint="<b>"))
    assert shown.message == "No &lt;img src=x onerror=alert(1)&gt; here. &lt;b&gt;"


def test_who_did_not_pass_the_access_check_gets_nothing() -> None:
    nobody: Any = type("Request", (), {"state": None, "session_hash": "page"})()
    with pytest.raises(LookupError):
        Handlers(Service()).resume(nobody, "job", [])
    with pytest.raises(LookupError):
        Handlers(Service()).start_example(nobody, *FORM)


def test_no_such_job_is_what_a_deleted_one_answers() -> None:
    with pytest.raises(NoSuchJob):
        entries.owned(Service(), "job", LOCAL)


def test_the_text_is_there_for_whoever_opens_its_tab() -> None:
    said = (TranscriptSegment(0.0, 1.0, " Hello"), TranscriptSegment(1.0, 2.0, " world."))

    class OneJob:
        async def job(self, job_id: str) -> Any:
            return SimpleNamespace(view=lambda: replace(RUNNING, segments=said))

        async def call(self, call: Callable[[], Any]) -> Any:
            return call()

    details = Details(Service(), OneJob())  # type: ignore[arg-type]
    assert asyncio.run(details.text("job")) == "Hello\nworld."
    assert asyncio.run(details.text(None)) == gr.skip()
