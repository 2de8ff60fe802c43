"""A container as operators have it: hardened, stopped, killed, with a volume that is wrong."""

from __future__ import annotations

import json

import httpx

from tests.containers.conftest import IMAGE, Start
from tests.containers.engine import Engine
from tests.jobs.recordings import SHORT
from tests.waiting import PATIENCE_S, eventually

OPEN = {"WHISPER_ACCESS": "open", "WHISPER_MODEL": "tiny.en"}


def address(engine: Engine, container: str) -> str:
    return f"http://127.0.0.1:{engine.run('port', container, '7860').split(':')[-1].strip()}"


def healthy(engine: Engine, container: str) -> bool:
    state = engine.inspect(container)["State"]
    assert state["Running"], engine.logs(container)
    try:
        return httpx.get(f"{address(engine, container)}/health", timeout=10.0).status_code == 200
    except httpx.TransportError:
        return False


def submit(url: str) -> str:
    answer = httpx.post(
        f"{url}/api/jobs",
        params={"name": "talk.flac", "language": "en"},
        content=SHORT.read_bytes(),
        timeout=PATIENCE_S,
    )
    assert answer.status_code == 202, answer.text
    job: str = answer.json()["id"]
    return job


def subtitles(url: str, job: str) -> bytes:
    def ended() -> bool:
        found = json.loads(httpx.get(f"{url}/api/jobs/{job}", timeout=PATIENCE_S).text)
        return bool(found["ended"])

    eventually(ended, "the job ends")
    answer = httpx.get(f"{url}/jobs/{job}/files/srt", timeout=PATIENCE_S)
    assert answer.status_code == 200, answer.text
    return answer.content


def test_it_makes_subtitles_and_keeps_them_over_a_stop_and_a_new_container(
    engine: Engine, start: Start, volume: str
) -> None:
    data = f"--volume={volume}:/app/data"
    first = start(data, "--publish=127.0.0.1::7860", **OPEN)
    eventually(lambda: healthy(engine, first), "it is healthy")
    url = address(engine, first)
    job = submit(url)
    srt = subtitles(url, job)
    assert b"-->" in srt
    said = engine.logs(first)
    for line in ("Initialized ParallelWhisperTranscriber", "Processing segment", "Complete! "):
        assert line in said
    engine.run("stop", "--time=60", first)
    assert engine.inspect(first)["State"]["ExitCode"] == 0
    engine.run("rm", first)
    second = start(data, "--publish=127.0.0.1::7860", **OPEN)
    eventually(lambda: healthy(engine, second), "it is healthy")
    assert subtitles(address(engine, second), job) == srt


def test_a_killed_container_goes_on_with_its_job(engine: Engine, start: Start, volume: str) -> None:
    data = f"--volume={volume}:/app/data"
    first = start(data, "--publish=127.0.0.1::7860", **OPEN)
    eventually(lambda: healthy(engine, first), "it is healthy")
    job = submit(address(engine, first))
    engine.run("kill", first)
    second = start(data, "--publish=127.0.0.1::7860", **OPEN)
    eventually(lambda: healthy(engine, second), "it is healthy")
    assert b"-->" in subtitles(address(engine, second), job)


def test_the_first_password_is_told_once_and_users_are_added_inside(
    engine: Engine, start: Start, volume: str
) -> None:
    container = start(f"--volume={volume}:/app/data")
    eventually(lambda: "password" in engine.logs(container), "the password is told")
    added = engine.run("exec", container, "python", "-m", "cli.main", "users", "list")
    assert "admin" in added


def test_a_volume_of_another_owner_is_told_with_its_fix(
    engine: Engine, start: Start, volume: str
) -> None:
    mounted = f"--volume={volume}:/app/data"
    # Into a volume that is empty Docker would copy the image's owner again.
    spoil = "touch /app/data/file && chown 0:0 /app/data && chmod 700 /app/data"
    root = ("run", "--rm", "--user=0", "--entrypoint=sh")
    engine.run(*root, mounted, IMAGE, "-c", spoil)
    container = start(mounted, **OPEN)
    eventually(lambda: not engine.inspect(container)["State"]["Running"], "it ends")
    said = engine.logs(container)
    assert "chown" in said, said
    assert "Traceback" not in said, said
