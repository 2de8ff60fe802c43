"""The service itself dies or is stopped: its jobs go on at the next start, to the same bytes."""

from __future__ import annotations

import re
import signal
import sqlite3
from pathlib import Path

from bench.service import Service, until
from tests.faults.conftest import StartService, kinds, wait_ended, wait_text
from tests.link_server import serving
from tests.waiting import PATIENCE_S


def state_of(service: Service, job_id: str) -> str:
    """As the database says, without a service."""
    with sqlite3.connect(service.data_dir / "jobs.sqlite3") as database:
        (state,) = database.execute("SELECT state FROM jobs WHERE id = ?", (job_id,)).fetchone()
    database.close()
    return str(state)


def test_a_killed_service_goes_on_with_the_missing_segments_to_the_same_bytes(
    service: Service, talk: Path, undisturbed: bytes
) -> None:
    job_id = service.submit(talk, language="en")
    waiting = service.submit(talk, language="en")
    wait_text(service, job_id)
    service.kill()
    assert service.gone(PATIENCE_S) == [], "workers and decoder end with the service"
    assert state_of(service, job_id) == "running"
    service.start()
    service.wait_ready()
    for each in (job_id, waiting):
        wait_ended(service, each)
        assert service.subtitles(each) == undisturbed
    notified = {entry["kind"]: entry["text"] for entry in service.history(job_id)}
    found = re.fullmatch(r"Resumed with (\d+) finished segments\.", notified["resumed"])
    assert found is not None
    assert int(found[1]) >= 1
    assert service.leftovers() == []


def test_sigterm_pauses_within_the_grace_and_the_next_start_goes_on(
    service: Service, talk: Path, undisturbed: bytes
) -> None:
    job_id = service.submit(talk, language="en")
    wait_text(service, job_id)
    assert service.stop() == 0
    assert service.gone(PATIENCE_S) == []
    assert service.leftovers() == []
    assert state_of(service, job_id) == "paused"
    service.start()
    service.wait_ready()
    wait_ended(service, job_id)
    assert service.subtitles(job_id) == undisturbed
    assert kinds(service, job_id).count("paused") == 1


def test_a_second_signal_hurries_and_loses_nothing_either(
    service: Service, talk: Path, undisturbed: bytes
) -> None:
    job_id = service.submit(talk, language="en")
    wait_text(service, job_id)
    service.parent.send_signal(signal.SIGTERM)
    service.parent.send_signal(signal.SIGINT)
    service.stop()
    assert service.gone(PATIENCE_S) == []
    service.start()
    service.wait_ready()
    wait_ended(service, job_id)
    assert service.subtitles(job_id) == undisturbed


def test_an_ended_job_is_there_after_a_restart_with_its_text_and_files(
    service: Service, talk: Path, undisturbed: bytes
) -> None:
    job_id = service.submit(talk, name="lecture.wav", language="en", formats="srt,vtt,json")
    wait_ended(service, job_id)
    before = service.http.get(f"/api/jobs/{job_id}", params={"text": "1"}).json()
    assert service.stop() == 0
    service.start()
    service.wait_ready()
    after = service.http.get(f"/api/jobs/{job_id}", params={"text": "1"}).json()
    assert after == before
    assert after["cues"]
    assert service.subtitles(job_id) == undisturbed
    listed = service.http.get("/api/jobs", params={"text": "lecture"}).json()
    assert [job["id"] for job in listed["jobs"]] == [job_id]


def test_a_service_killed_during_a_download_fetches_again(start_service: StartService) -> None:
    with serving() as server:
        service = start_service(
            WHISPER_DOWNLOAD_SITES='["generic"]', WHISPER_DOWNLOAD_NETWORKS='["127.0.0.1"]'
        )
        answer = service.http.post("/api/jobs", json={"url": f"{server.url}/held.flac"})
        assert answer.status_code == 202, answer.text
        job_id = answer.json()["id"]

        def half() -> bool:
            job = service.job(job_id)
            return job is not None and job["fraction"] > 0.0

        until(half, PATIENCE_S, "the download runs")
        service.kill()
        assert service.gone() == [], "the download ends with the service"
        assert state_of(service, job_id) == "downloading"
        server.release.set()
        service.start()
        service.wait_ready()
        wait_ended(service, job_id)
        folder = service.data_dir / "jobs" / job_id
        assert sorted(path.name for path in folder.iterdir()) == [
            "held.srt",
            "recording.flac",
            "transcript.json.gz",
        ]
