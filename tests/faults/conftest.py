"""The real app as processes of their own, which the tests here kill, stop and starve."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from bench.service import Job, Service
from tests.jobs.recordings import joined
from tests.waiting import eventually

SETTINGS = {
    "WHISPER_MODEL": "tiny.en",
    "WHISPER_DEVICE": "cpu",
    "WHISPER_WORKERS": "2",
    "WHISPER_BEAM_SIZE": "1",
    # Small steps, so that there is a middle to break things in.
    "WHISPER_BATCH_SIZE": "1",
    "WHISPER_MIN_FREE_MIB": "0",
}

StartService = Callable[..., Service]


@contextmanager
def running(folder: Path, **settings: str) -> Iterator[Service]:
    """The app until the end of the block, which leaves no process behind."""
    service = Service(folder, **{**SETTINGS, **settings})
    try:
        service.start()
        service.wait_ready()
        yield service
    finally:
        service.close()


@pytest.fixture
def start_service(tmp_path: Path, tiny_en: Path) -> Iterator[StartService]:
    """Start the app; ``name`` chooses its folder, the rest are settings of its environment."""
    with ExitStack() as stack:

        def start(name: str = "service", **settings: str) -> Service:
            return stack.enter_context(running(tmp_path / name, **settings))

        yield start


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, tiny_en: Path) -> Iterator[Service]:
    """One for all tests of a module: each leaves it running, and looks at its own jobs alone."""
    with running(tmp_path_factory.mktemp("service")) as service:
        yield service


@pytest.fixture(scope="session")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two minutes of speech: some five segments, and time to break things."""
    return joined(tmp_path_factory.mktemp("talk") / "talk.wav", 2)


@pytest.fixture(scope="module")
def undisturbed(talk: Path, service: Service) -> bytes:
    """The SRT of the talk from a service that nobody disturbs."""
    job_id = service.submit(talk, language="en")
    wait_ended(service, job_id)
    found = service.subtitles(job_id)
    assert found is not None
    return found


def ended(job: Job | None) -> bool:
    return job is not None and job["state"] not in ("queued", "downloading", "running", "paused")


def wait_ended(service: Service, job_id: str, state: str = "complete") -> None:
    """Until the job has ended, in that state."""
    eventually(lambda: ended(service.job(job_id)), "the job ended")
    job = service.job(job_id)
    assert job is not None
    assert job["state"] == state, (job, service.log.read_text()[-4000:])


def wait_text(service: Service, job_id: str) -> None:
    """Until part of the job is done: what then happens must not cost it."""

    def some() -> bool:
        job = service.job(job_id)
        assert job is not None
        assert not ended(job), job
        return bool(job["fraction"] > 0.1)

    eventually(some, "the first segments are done")


def kinds(service: Service, job_id: str) -> list[str]:
    return [entry["kind"] for entry in service.history(job_id)]
