"""The files of a job, as a player and a browser ask for them."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from api.files import files_router
from core.types import JobReport, Transcript
from jobs.job import Job
from jobs.pipeline import PipelineResult
from jobs.request import JobRequest
from jobs.service import JobService

REPORT = JobReport(
    audio_s=1.0,
    speech_s=1.0,
    load_s=0.0,
    elapsed_s=1.0,
    decode_s=0.1,
    vad_s=0.1,
    transcribe_s=0.5,
    speed=1.0,
    model="base",
    language="en",
    devices=("CPU 0",),
)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    recording = tmp_path / "upload"
    recording.write_bytes(bytes(range(100)))
    srt, vtt = tmp_path / "Böse rede.srt", tmp_path / "Böse rede.vtt"
    srt.write_text("1\n", encoding="utf-8")
    vtt.write_text("WEBVTT\n", encoding="utf-8")
    made = Job(JobRequest(path=recording, name="Böse rede.mp3"), lambda _: None)
    made.finish(PipelineResult(Transcript(()), (), {"srt": srt, "vtt": vtt}, REPORT))
    return made


@pytest.fixture
def client(job: Job) -> TestClient:
    class Service:
        def get(self, job_id: str) -> Job | None:
            return job if job_id == job.id else None

    app = FastAPI()
    app.include_router(files_router(cast(JobService, Service())))
    return TestClient(app)


def test_a_player_gets_the_part_of_the_recording_it_asks_for(client: TestClient, job: Job) -> None:
    answer = client.get(f"/jobs/{job.id}/recording", headers={"Range": "bytes=10-19"})
    assert (answer.status_code, answer.content) == (206, bytes(range(10, 20)))
    assert answer.headers["content-type"] == "audio/mpeg"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", ["page.html", "picture.svg", "film", "x.js"])
def test_an_upload_is_never_served_as_a_page(client: TestClient, job: Job, name: str) -> None:
    object.__setattr__(job.request, "name", name)
    answer = client.get(f"/jobs/{job.id}/recording")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert "sandbox" in answer.headers["content-security-policy"]


def test_subtitles_download_under_the_recordings_name(client: TestClient, job: Job) -> None:
    answer = client.get(f"/jobs/{job.id}/files/srt")
    assert answer.text == "1\n"
    wanted = "attachment; filename*=UTF-8''B%C3%B6se%20rede.srt"
    assert answer.headers["content-disposition"] == wanted
    assert client.get(f"/jobs/{job.id}/files/vtt").headers["content-type"].startswith("text/vtt")


def test_what_is_not_there_is_not_found(client: TestClient, job: Job) -> None:
    for path in (f"/jobs/{job.id}/files/tsv", "/jobs/other/files/srt", "/jobs/other/recording"):
        assert client.get(path).status_code == 404
    job.request.path.unlink()
    answer = client.get(f"/jobs/{job.id}/recording")
    assert (answer.status_code, answer.json()["detail"]) == (404, "The file has been removed.")
