"""A container that is stopped, killed or lost in the middle of a job: the next one goes on with it,
to the same bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.containers.conftest import Serve
from tests.containers.engine import Engine
from tests.containers.service import OPEN, Service
from tests.jobs.recordings import joined
from tests.waiting import eventually

SETTINGS = {**OPEN, "WHISPER_WORKERS": "2", "WHISPER_SHUTDOWN_GRACE_S": "3"}


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two minutes: some segments."""
    return joined(tmp_path_factory.mktemp("recording") / "talk.wav", times=2)


def begin(service: Service, recording: Path) -> str:
    """A job of which something is finished, and which does not end: one of the two workers stands
    still with a segment of it."""
    eventually(lambda: service.log.count("Loading Whisper model") >= 2, "both workers run")
    service.signal_worker(1, "STOP")
    job = service.submit(recording)

    def begun() -> bool:
        lines = [line for line in service.log.splitlines() if job in line]
        return any("✓ Segment" in line for line in lines)

    eventually(begun, "a segment is finished")
    return job


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_the_next_start_goes_on_with_a_job_to_the_same_bytes(
    engine: Engine, serve: Serve, recording: Path, how: str
) -> None:
    service = serve(**SETTINGS, WHISPER_LOG_LEVEL="debug")
    service.wait_ready()
    undisturbed = service.subtitles(service.submit(recording))
    assert undisturbed.count(b"-->") > 10
    job = begin(service, recording)
    if how == "stop":
        # Within Docker's time: it is not killed.
        engine.run("stop", "--time=60", service.container)
        assert engine.inspect(service.container)["State"]["ExitCode"] == 0
        assert "talk.wav is not finished" in service.log
    else:
        engine.run("kill", service.container)
    engine.run("start", service.container)
    eventually(lambda: service.answers("/health"), "it is healthy again")
    assert service.subtitles(job) == undisturbed
    assert "Going on with talk.wav" in service.log
    lines = [line for line in service.log.splitlines() if job in line]
    assert any("is in the journal already" in line for line in lines), service.log
