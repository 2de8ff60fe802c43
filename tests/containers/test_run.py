"""A container as operators have it: hardened, replaced, with a volume that is wrong."""

from __future__ import annotations

from pathlib import Path

from tests.containers.conftest import IMAGE, Serve, Start
from tests.containers.engine import ROOT, Engine, own_name
from tests.containers.service import OPEN, Service
from tests.jobs.recordings import SHORT, joined
from tests.waiting import eventually

VOLUME = Path(__file__).with_name("data") / "volume.tar.gz"
"""The data volume of a killed service of the release before speech endpoints: a database at its
fourth migration, a job that is complete, and one that had just begun."""

FINISHED, BEGUN = "ot3uXrZh_U5i-E4M", "sWG39f12fFiy-nDB"
"""Its jobs."""


def test_it_keeps_its_work_over_a_stop_and_a_new_container(engine: Engine, serve: Serve) -> None:
    first = serve(**OPEN)
    first.wait_ready()
    job = first.submit(SHORT)
    srt = first.subtitles(job)
    assert b"-->" in srt
    engine.run("stop", "--time=60", first.container)
    assert engine.inspect(first.container)["State"]["ExitCode"] == 0
    engine.run("rm", "--volumes", first.container)
    second = serve(**OPEN)
    eventually(lambda: second.answers("/health"), "it is healthy")
    assert second.subtitles(job) == srt


def test_commands_of_a_container_keep_finished_segments(
    engine: Engine, start: Start, volume: str
) -> None:
    mounts = (f"--volume={volume}:/app/cache", f"--volume={SHORT.parent}:/in:ro")
    transcribe = f"python -m cli.main transcribe /in/{SHORT.name} --output-dir /tmp"
    command = ("sh", "-c", f"{transcribe} && cat /tmp/{SHORT.stem}.srt")
    container = start(*mounts, command=command, WHISPER_MODEL="tiny.en")
    eventually(lambda: not engine.inspect(container)["State"]["Running"], "it ends")
    said = engine.logs(container)
    assert "-->" in said
    assert "Read-only" not in said, said
    listing = ("find", "/app/cache/whisper-for-subs/segments", "-type", "f")
    assert engine.run("run", "--rm", mounts[0], IMAGE, *listing).strip()


def test_a_volume_of_the_release_before_is_taken_over(
    engine: Engine, serve: Serve, volume: str
) -> None:
    mounts = (f"--volume={volume}:/app/data", f"--volume={VOLUME}:/volume.tar.gz:ro")
    unpack = ("tar", "--extract", "--file=/volume.tar.gz", "--directory=/app/data")
    engine.run("run", "--rm", "--user=0", *mounts, IMAGE, *unpack)
    show = ("cat", f"/app/data/jobs/{FINISHED}/talk.srt")
    old = engine.run("run", "--rm", mounts[0], IMAGE, *show)
    assert "-->" in old
    service = serve(**OPEN)
    eventually(lambda: service.answers("/health"), "it is healthy")
    assert service.subtitles(FINISHED).decode() == old
    assert b"-->" in service.subtitles(BEGUN)
    assert "Traceback" not in service.log


def test_a_full_volume_refuses_what_does_not_fit_and_harms_nothing_else(
    engine: Engine, serve: Serve, tmp_path: Path
) -> None:
    small = own_name()
    size = ("--opt=type=tmpfs", "--opt=device=tmpfs", "--opt=o=size=8m,uid=1000")
    engine.run("volume", "create", *size, small)
    service = serve(data=small, WHISPER_MIN_FREE_MIB="1", **OPEN)
    service.wait_ready()
    job = service.submit(SHORT)
    srt = service.subtitles(job)
    refused = service.send(joined(tmp_path / "large.wav", times=8))
    assert refused.status_code == 507, refused.text
    assert "MiB" in refused.text
    assert service.answers("/health")
    assert service.subtitles(job) == srt
    assert service.subtitles(service.submit(SHORT)) == srt


def test_a_volume_of_another_owner_is_told_with_its_fix(
    engine: Engine, start: Start, volume: str
) -> None:
    mounted = f"--volume={volume}:/app/data"
    # Into a volume that is empty Docker would copy the image's owner again.
    spoil = "touch /app/data/file && chown 0:0 /app/data && chmod 700 /app/data"
    root = ("run", "--rm", "--user=0", "--entrypoint=sh")
    engine.run(*root, mounted, IMAGE, "-c", spoil)
    service = Service(engine, start(mounted, "--publish=127.0.0.1::7860", **OPEN))
    eventually(lambda: not service.running, "it ends")
    assert "chown" in service.log, service.log
    assert "Traceback" not in service.log, service.log
    fix = ("chown", "-R", "1000:1000", "/app/data")
    page = (ROOT / "docs" / "docker.md").read_text(encoding="utf-8")
    command = "docker run --rm --user 0 --volumes-from whisper-for-subs whisper-for-subs "
    assert f"\n{command}{' '.join(fix)}\n" in page
    engine.run("run", "--rm", "--user=0", f"--volumes-from={service.container}", IMAGE, *fix)
    engine.run("start", service.container)
    service.wait_ready()


def test_a_container_without_the_gpu_that_is_asked_for_says_so(
    engine: Engine, start: Start
) -> None:
    service = Service(engine, start(WHISPER_DEVICE="cuda"))
    eventually(lambda: "A GPU was asked for" in service.log, "it says so")
    assert "Traceback" not in service.log, service.log
