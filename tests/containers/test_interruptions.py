"""A container that is stopped, killed or lost in the middle of a job: the next one goes on with it,
to the same bytes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.containers.conftest import Serve
from tests.containers.daemon import Daemon, hand_over, own_daemon
from tests.containers.engine import Engine
from tests.containers.service import OPEN, Service
from tests.jobs.recordings import joined
from tests.waiting import eventually

SETTINGS = {
    **OPEN,
    "WHISPER_WORKERS": "2",
    "WHISPER_SHUTDOWN_GRACE_S": "3",
    "WHISPER_LOG_LEVEL": "debug",
}


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
        held = any("[CPU 1] segment" in line and "is given" in line for line in lines)
        return held and any("✓ Segment" in line for line in lines)

    eventually(begun, "one worker has finished a segment, the other has got one")
    return job


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_the_next_start_goes_on_with_a_job_to_the_same_bytes(
    engine: Engine, serve: Serve, recording: Path, how: str
) -> None:
    service = serve(**SETTINGS)
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


def test_a_restarted_engine_starts_the_app_again_and_the_job_goes_on(
    engine: Engine, image: str, recording: Path
) -> None:
    def restart(daemon: Daemon) -> None:
        daemon.enter()
        variables = [f"--env={name}={value}" for name, value in SETTINGS.items()]
        policy = ("--restart=unless-stopped", "--stop-timeout=60", "--network=host")
        started = daemon.engine.run("run", "-d", "--init", *policy, *variables, image)
        service = Service(daemon.engine, started.strip(), host_port=7860)
        service.wait_ready()
        undisturbed = service.subtitles(service.submit(recording))
        job = begin(service, recording)
        daemon.stop()
        daemon.start()
        daemon.enter()
        eventually(lambda: service.answers("/health"), "it is healthy again")
        assert service.subtitles(job) == undisturbed
        assert "Going on with talk.wav" in service.log
        daemon.engine.run("rm", "--force", "--volumes", service.container)

    with own_daemon(engine) as daemon, ThreadPoolExecutor(1) as thread:
        hand_over(engine, daemon.engine, image)
        thread.submit(restart, daemon).result()
