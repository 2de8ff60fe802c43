"""A job's recording is fetched from a link first: places, stopping, restarting, running again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import Cancelled, DownloadFailed, DownloadRefused, InvalidOption
from core.settings import Settings
from jobs.links import why_no_links
from jobs.request import JobRequest
from jobs.service import JobService
from jobs.states import JobState
from tests.jobs.conftest import ended, seen
from tests.jobs.recordings import SHORT
from tests.link_server import LinkServer, serving
from tests.waiting import PATIENCE_S

SITES = {"download_sites": ("generic",), "download_networks": ("127.0.0.1",)}


@pytest.fixture
def server() -> Iterator[LinkServer]:
    with serving() as server:
        yield server


@pytest.fixture
def linked(settings: Settings, tmp_path: Path) -> Settings:
    """One running job at a time, and links to the server of the tests."""
    return settings.model_copy(update={**SITES, "data_dir": tmp_path / "data"})


def link(url: str) -> JobRequest:
    return JobRequest(path=Path(), url=url)


@pytest.mark.parametrize(
    ("links", "access", "host", "off"),
    [
        ("auto", "auto", "127.0.0.1", ""),
        ("auto", "auto", "0.0.0.0", ""),
        ("auto", "login", "0.0.0.0", ""),
        ("auto", "open", "0.0.0.0", "without a login"),
        # Through a reverse proxy.
        ("auto", "open", "127.0.0.1", "without a login"),
        ("on", "open", "0.0.0.0", ""),
        ("off", "auto", "127.0.0.1", "turned off"),
    ],
)
def test_links_are_off_where_strangers_may_come_in(
    links: str, access: str, host: str, off: str
) -> None:
    settings = Settings(links=links, access=access, host=host)  # type: ignore[arg-type]
    refused = why_no_links(settings)
    assert (refused is None) == (off == "")
    if refused is not None:
        assert off in refused.message
        assert "WHISPER_LINKS" in refused.hint


def test_no_sites_means_no_links() -> None:
    refused = why_no_links(Settings(links="on", download_sites=()))
    assert refused is not None
    assert "WHISPER_DOWNLOAD_SITES" in refused.hint


def test_a_download_takes_no_place_of_a_running_job(linked: Settings, server: LinkServer) -> None:
    with JobService(linked) as service:
        slow = service.submit(link(f"{server.url}/held.flac"))
        view = seen(slow, lambda view: view.fraction > 0.0)
        assert (view.state, view.name) == (JobState.DOWNLOADING, f"{server.url}/held.flac")
        assert view.message.startswith("Downloading held: 0.0 of 0.")
        # One place, and it is free.
        assert ended(service.submit(JobRequest(path=SHORT))).state is JobState.COMPLETE
        assert slow.state is JobState.DOWNLOADING
        server.release.set()
        view = ended(slow)
        assert (view.state, view.name) == (JobState.COMPLETE, "held.flac")
        assert view.outputs["srt"].name == "held.srt"
        kinds = [entry.kind for entry in service.history(slow.id)]
        assert kinds[:4] == ["submitted", "downloading", "downloaded", "running"]
        record = service.store.get(slow.id)
        assert record is not None
        assert (record.name, record.request.url) == ("held.flac", None)
        assert record.request.path.read_bytes() == SHORT.read_bytes()


def test_downloads_count_as_jobs(linked: Settings, server: LinkServer) -> None:
    with JobService(linked.model_copy(update={"max_client_jobs": 1})) as service:
        job = service.submit(
            JobRequest(path=Path(), url=f"{server.url}/drip.flac", client="user:a")
        )
        seen(job, lambda view: view.state is JobState.DOWNLOADING)
        with pytest.raises(Exception, match="1 of your jobs"):
            service.admit("user:a")
        job.cancel()
        assert ended(job).state is JobState.CANCELLED
        service.admit("user:a")


def test_a_download_can_be_cancelled_and_run_again(linked: Settings, server: LinkServer) -> None:
    with JobService(linked) as service:
        job = service.submit(link(f"{server.url}/held.flac"))
        seen(job, lambda view: view.fraction > 0.0)
        job.cancel()
        view = ended(job)
        assert view.state is JobState.CANCELLED
        assert isinstance(view.error, Cancelled)
        assert list(service.folders.path(job.id).iterdir()) == []
        server.release.set()
        again = ended(service.rerun(job.id, link("ignored")))
        assert (again.state, again.name) == (JobState.COMPLETE, "held.flac")


def test_what_is_no_link_of_an_allowed_site_is_refused_before_there_is_a_job(
    settings: Settings, tmp_path: Path
) -> None:
    with JobService(settings.model_copy(update={"data_dir": tmp_path / "data"})) as service:
        with pytest.raises(InvalidOption, match="is not a web link"):
            service.submit(link("file:///etc/passwd"))
        with pytest.raises(DownloadRefused, match="this site"):
            service.submit(link("http://127.0.0.1/talk.flac"))
        assert service.jobs() == ()
        assert service.find(None) == ([], 0)


def test_why_a_download_failed_is_the_jobs_error(linked: Settings, server: LinkServer) -> None:
    with JobService(linked) as service:
        secret = server.url.replace("//", "//me:hidden@")
        job = service.submit(link(f"{secret}/gone.flac?token=hidden"))
        view = ended(job)
        assert view.state is JobState.FAILED
        assert isinstance(view.error, DownloadFailed)
        assert view.error.hint == "Check the link in a browser."
        told = [view.name, view.message, *(entry.text for entry in service.history(job.id))]
        assert view.name == f"{server.url}/gone.flac"
        assert "hidden" not in " ".join(told)


def test_a_restart_during_the_download_fetches_again(
    linked: Settings, server: LinkServer, database_settings: Settings
) -> None:
    """On SQLite and on PostgreSQL."""
    where = database_settings.model_dump(include={"data_dir", "database_url"})
    linked = linked.model_copy(update=where)
    with JobService(linked) as service:
        job = service.submit(link(f"{server.url}/held.flac"))
        seen(job, lambda view: view.fraction > 0.0)
        assert service.store.get(job.id) is not None
    assert job.state is JobState.PAUSED
    server.release.set()
    with JobService(linked) as service:
        found = service.get(job.id)
        assert found is not None
        assert found.wait(PATIENCE_S)
        view = found.view()
        assert (view.state, view.name) == (JobState.COMPLETE, "held.flac")
        kinds = [entry.kind for entry in service.history(job.id)]
        assert kinds.count("downloading") == 2
        assert kinds.count("downloaded") == 1


def test_what_was_switched_off_meanwhile_is_not_fetched(
    linked: Settings, server: LinkServer
) -> None:
    with JobService(linked) as service:
        job = service.submit(link(f"{server.url}/held.flac"))
        seen(job, lambda view: view.fraction > 0.0)
    asked = len(server.seen)
    with JobService(linked.model_copy(update={"links": "off"})) as service:
        found = service.get(job.id)
        assert found is not None
        assert isinstance(ended(found).error, DownloadRefused)
    assert len(server.seen) == asked
