"""The files of a job, as a player and a browser ask for them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from api.errors import add_handlers
from api.files import files_router
from core.settings import Settings
from jobs.records import JobRecord
from jobs.request import JobRequest
from jobs.service import JobService
from jobs.states import JobState

JOB = "abcdefghijklmnop"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[JobService]:
    with JobService(Settings(data_dir=tmp_path, device="cpu")) as service:
        yield service


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "upload"
    path.write_bytes(bytes(range(100)))
    return path


@pytest.fixture
def client(service: JobService) -> TestClient:
    app = FastAPI()
    add_handlers(app)
    app.include_router(files_router(service))
    return TestClient(app)


def finished(service: JobService, recording: Path, name: str = "Böse rede.mp3") -> str:
    """Address of a job that has ended."""
    srt, vtt = recording.with_name("Böse rede.srt"), recording.with_name("Böse rede.vtt")
    srt.write_text("1\n", encoding="utf-8")
    vtt.write_text("WEBVTT\n", encoding="utf-8")
    service.store.insert(
        JobRecord(
            id=JOB,
            origin="service",
            owner="local",
            client="local",
            name=name,
            state=JobState.COMPLETE,
            request=JobRequest(path=recording, name=name),
            created_at=time.time(),
            ended_at=time.time(),
            storage_id="here",
            outputs={"srt": srt, "vtt": vtt},
        )
    )
    return f"/jobs/{JOB}"


def test_a_player_gets_the_part_of_the_recording_it_asks_for(
    client: TestClient, service: JobService, recording: Path
) -> None:
    address = finished(service, recording)
    answer = client.get(f"{address}/recording", headers={"Range": "bytes=10-19"})
    assert (answer.status_code, answer.content) == (206, bytes(range(10, 20)))
    assert answer.headers["content-type"] == "audio/mpeg"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", ["page.html", "picture.svg", "film", "x.js"])
def test_an_upload_is_never_served_as_a_page(
    client: TestClient, service: JobService, recording: Path, name: str
) -> None:
    answer = client.get(f"{finished(service, recording, name)}/recording")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert "sandbox" in answer.headers["content-security-policy"]


def test_subtitles_download_under_the_recordings_name(
    client: TestClient, service: JobService, recording: Path
) -> None:
    address = finished(service, recording)
    answer = client.get(f"{address}/files/srt")
    assert answer.text == "1\n"
    wanted = "attachment; filename*=UTF-8''B%C3%B6se%20rede.srt"
    assert answer.headers["content-disposition"] == wanted
    assert client.get(f"{address}/files/vtt").headers["content-type"].startswith("text/vtt")


def test_what_is_not_there_is_not_found(
    client: TestClient, service: JobService, recording: Path
) -> None:
    address = finished(service, recording)
    for path in (f"{address}/files/tsv", "/jobs/other/files/srt", "/jobs/other/recording"):
        assert client.get(path).status_code == 404
    recording.unlink()
    answer = client.get(f"{address}/recording")
    assert answer.status_code == 404
    assert answer.json()["error"]["message"] == "The file has been removed."


def test_a_name_that_looks_like_an_address_adds_no_header(
    client: TestClient, service: JobService, recording: Path
) -> None:
    address = finished(service, recording, name="data:audio/a\r\nX-Evil: 1,.mp3")
    answer = client.get(f"{address}/recording")
    assert answer.headers["content-type"] == "audio/mpeg"
    assert "x-evil" not in answer.headers
