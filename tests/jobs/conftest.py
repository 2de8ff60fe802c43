from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.settings import Settings
from jobs.job import JobHandle
from jobs.records import JobView
from jobs.request import JobRequest
from jobs.service import JobService
from tests.jobs.recordings import SHORT, joined, small_disk
from tests.waiting import PATIENCE_S


def ended(job: JobHandle) -> JobView:
    assert job.wait(PATIENCE_S), job.view(text=False)
    return job.view()


def seen(job: JobHandle, condition: Callable[[JobView], bool]) -> JobView:
    """The first snapshot of which the condition holds."""
    view = job.view()
    while not condition(view):
        assert not view.state.ended, view
        newer = job.watch(view.version, PATIENCE_S)
        assert newer.version > view.version, f"nothing new within {PATIENCE_S} s: {view}"
        view = newer
    return view


@pytest.fixture(scope="session")
def settings(models_dir: Path, tiny_en: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Two workers, one running job, one waiting."""
    return Settings(
        model="tiny.en",
        device="cpu",
        workers=2,
        beam_size=1,
        models_dir=models_dir,
        data_dir=tmp_path_factory.mktemp("data"),
        max_running_jobs=1,
        max_waiting_jobs=1,
    )


@pytest.fixture(scope="session")
def service(settings: Settings) -> Iterator[JobService]:
    """Shared, so that the models load once; a test must leave no job behind."""
    with JobService(settings) as service:
        yield service


@pytest.fixture
def no_job_left(service: JobService) -> Iterator[None]:
    yield
    for job in service.jobs():
        job.cancel()
        assert job.wait(PATIENCE_S)


@pytest.fixture
def short() -> JobRequest:
    return JobRequest(path=SHORT)


@pytest.fixture(scope="session")
def long(tmp_path_factory: pytest.TempPathFactory) -> JobRequest:
    """Eight minutes: a test that does not cancel it waits."""
    return JobRequest(path=joined(tmp_path_factory.mktemp("long") / "long.wav", 8))


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk with room for 33 s of audio."""
    with small_disk(tmp_path / "disk") as path:
        yield path
