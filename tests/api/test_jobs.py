"""``/api/jobs`` over the real service: a recording becomes subtitles, and jobs have owners."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pysubs2
import pytest
from fastapi.testclient import TestClient

from access.credentials import ApiKeys
from core.types import Gap
from jobs.records import HistoryEntry, JobRecord
from jobs.request import JobRequest
from jobs.states import JobState
from tests.api.conftest import MakeSite, Site
from tests.jobs.recordings import SHORT, SHORT_TEXT
from tests.spoken import word_errors
from tests.waiting import eventually

CSRF = {"Sec-Fetch-Site": "same-origin"}


def ended(client: TestClient, job_id: str) -> dict[str, Any]:
    def has_ended() -> bool:
        return bool(client.get(f"/api/jobs/{job_id}").json()["ended"])

    eventually(has_ended, "the job ends")
    body: dict[str, Any] = client.get(f"/api/jobs/{job_id}", params={"text": 1}).json()
    return body


def stored(site: Site, job_id: str, owner: str, **fields: Any) -> str:
    """Id of a job that was done some time ago."""
    folder = site.service.folders.path(job_id)
    folder.mkdir(parents=True)
    recording = folder / "recording.flac"
    recording.write_bytes(SHORT.read_bytes())
    srt = folder / "talk.srt"
    srt.write_text("1\n")
    given: dict[str, Any] = {
        "id": job_id,
        "origin": "service",
        "owner": owner,
        "client": owner,
        "name": "talk.flac",
        "state": JobState.COMPLETE,
        "request": JobRequest(path=recording, name="talk.flac", owner=owner, client=owner,
                              adopt="move"),
        "created_at": time.time(),
        "ended_at": time.time(),
        "storage_id": "here",
        "outputs": {"srt": str(srt)},
    }  # fmt: skip
    site.service.store.insert(JobRecord(**{**given, **fields}))
    return job_id


@pytest.fixture(scope="module")
def site(site_of: MakeSite, tiny_en: Path) -> Site:
    return site_of(host="0.0.0.0")


def test_a_recording_becomes_subtitles(site: Site) -> None:
    program = site.program()
    with SHORT.open("rb") as file:
        answer = program.post(
            "/api/jobs",
            files={"file": ("Rede über Druck.flac", file)},
            data={"formats": "srt,vtt", "beam_size": "2", "use_vad": "true", "language": "en"},
        )
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert answer.headers["location"] == job["status_url"] == f"/api/jobs/{job['id']}"
    assert job["url"] == f"/?job={job['id']}"
    assert job["name"] == "Rede über Druck.flac"
    done = ended(program, job["id"])
    assert done["state"] == "complete", done
    assert word_errors(SHORT_TEXT, done["segments"][0]["text"]).wer <= 0.5
    assert done["cues"][0]["lines"]
    assert done["report"]["model"] == done["model"] == "tiny.en"
    srt = program.get(done["files"]["srt"])
    assert "Rede%20%C3%BCber%20Druck.srt" in srt.headers["content-disposition"]
    assert pysubs2.SSAFile.from_string(srt.text)[0].plaintext
    assert program.get(done["files"]["vtt"]).text.startswith("WEBVTT")
    # One that was not asked for.
    text = program.get(f"/jobs/{job['id']}/files/txt")
    assert word_errors(SHORT_TEXT, text.text).wer <= 0.5
    assert "Rede%20%C3%BCber%20Druck.txt" in text.headers["content-disposition"]
    unknown = program.get(f"/jobs/{job['id']}/files/docx")
    assert (unknown.status_code, "srt, vtt" in unknown.json()["error"]["hint"]) == (404, True)
    assert program.get(done["recording"]).content == SHORT.read_bytes()
    history = program.get(f"/api/jobs/{job['id']}/history").json()["history"]
    assert history[0]["kind"] == "submitted"
    assert list((site.service.settings.data_dir / "incoming").iterdir()) == []


def test_the_body_may_be_the_recording(site: Site) -> None:
    program = site.program()
    answer = program.post(
        "/api/jobs",
        params={"name": "talk.flac", "formats": "txt", "beam_size": 1},
        content=SHORT.read_bytes(),
    )
    assert answer.status_code == 202, answer.text
    done = ended(program, answer.json()["id"])
    assert (done["state"], list(done["files"])) == ("complete", ["txt"])


def test_it_runs_again_with_other_options_and_no_upload(site: Site) -> None:
    program = site.program()
    old = stored(site, "old-job-to-run-again", "user:somebody")
    answer = program.post(f"/api/jobs/{old}/rerun", json={"formats": ["json"], "beam_size": 1})
    assert answer.status_code == 202, answer.text
    done = ended(program, answer.json()["id"])
    assert (done["state"], done["name"], list(done["files"])) == ("complete", "talk.flac", ["json"])
    assert done["id"] in [job["id"] for job in program.get("/api/jobs").json()["jobs"]]


@pytest.mark.parametrize(
    ("params", "status", "said"),
    [
        ({"model": "no-such-model"}, 422, "Unknown model"),
        ({"model": "/etc"}, 422, "Unknown model"),
        ({"model": "../../models/tiny.en"}, 422, "Unknown model"),
        ({"model": "somebody/model"}, 422, "Unknown model"),
        ({"task": "sing"}, 400, "task"),
        ({"task": "translate"}, 422, "cannot translate"),
        ({"language": "xx"}, 400, "xx"),
        ({"beam_size": "many"}, 400, "beam_size"),
        ({"beam_size": "99"}, 400, "Beam size"),
        ({"vad_threshold": "nan"}, 400, "Speech threshold"),
        ({"min_segment_duration": "50", "max_segment_duration": "20"}, 400, "Segments"),
        ({"formats": "srt,docx"}, 400, "docx"),
        ({"audio_track": "-1"}, 400, "track"),
        ({"compute_type": "int3"}, 400, "int3"),
        ({"compute_type": "int4"}, 400, "int8"),
        ({"compute_type": "float16", "device": "cpu"}, 400, "float16 needs a GPU"),
        ({"device": "toaster"}, 400, "toaster"),
        ({"output_dir": "/tmp"}, 400, "output_dir"),
        ({"priority": "urgent"}, 400, "priority"),
        ({"webhook": "https://example.org/"}, 400, "webhook"),
        ({"owner": "user:alice"}, 400, "owner"),
    ],
)
def test_what_cannot_work_is_refused_and_leaves_nothing(
    site: Site, params: dict[str, str], status: int, said: str
) -> None:
    program = site.program()
    before = program.get("/api/jobs").json()["total"]
    answer = program.post("/api/jobs", params=params, content=b"sound")
    assert answer.status_code == status, answer.text
    assert said in answer.json()["error"]["message"]
    assert program.get("/api/jobs").json()["total"] == before
    assert list((site.service.settings.data_dir / "incoming").iterdir()) == []


def test_a_priority_is_kept_and_shown(site: Site) -> None:
    program = site.program()
    job = program.post("/api/jobs", params={"priority": "low"}, content=b"sound").json()
    assert job["priority"] == "low"
    assert program.get("/api/jobs").json()["jobs"][0]["priority"] == "low"
    again = program.post(f"{job['status_url']}/rerun", json={"priority": "high"}).json()
    assert again["priority"] == "high"


def test_anonymous_users_do_not_push_in_and_have_nobody_called(open_site: Site) -> None:
    visitor = open_site.client()
    files = {"file": ("talk.wav", b"sound")}
    for options in ({"priority": "high"}, {"webhook": "https://example.org/"}):
        answer = visitor.post("/api/jobs", files=files, data=options)
        assert (answer.status_code, answer.json()["error"]["type"]) == (403, "NotAllowed")
    assert visitor.post("/api/jobs", params={"priority": "high"}).status_code == 403
    assert visitor.post("/api/jobs", files=files, data={"priority": "low"}).status_code == 202


def test_a_list_holds_ones_own_jobs_alone(site: Site) -> None:
    other = ApiKeys(site.service.settings).add("other")
    for number in range(3):
        stored(site, f"of-other-{number}", "key:other", name=f"talk {number} 100%.mp3")
    stored(site, "of-alice", "user:alice", state=JobState.FAILED)
    client = site.client(Authorization=f"Bearer {other}")
    found = client.get("/api/jobs").json()
    assert {job["id"] for job in found["jobs"]} == {f"of-other-{n}" for n in range(3)}
    assert found["total"] == 3
    page = client.get("/api/jobs", params={"limit": 2, "offset": 2}).json()
    assert (len(page["jobs"]), page["total"]) == (1, 3)
    assert client.get("/api/jobs", params={"text": "100%"}).json()["total"] == 3
    assert client.get("/api/jobs", params={"text": "_"}).json()["total"] == 0
    assert client.get("/api/jobs", params={"state": "failed"}).json()["total"] == 0
    states = {"state": ["failed", "complete"]}
    assert client.get("/api/jobs", params=states).json()["total"] == 3
    assert [job["id"] for job in site.browser().get("/api/jobs").json()["jobs"]] == ["of-alice"]
    for wrong in ({"limit": 0}, {"limit": 999}, {"offset": -1}, {"offset": 2**63}, {"state": "?"}):
        assert client.get("/api/jobs", params=wrong).status_code == 400


def test_who_has_the_link_sees_a_job_and_only_its_owner_changes_it(site: Site) -> None:
    program, owner = site.program(), site.browser()
    owner.headers.update(CSRF)
    gap = Gap(1.0, 2.0, "the model crashed")
    job = stored(site, "alices", "user:alice", state=JobState.COMPLETE_WITH_GAPS, gaps=(gap,))
    seen = program.get(f"/api/jobs/{job}").json()
    assert seen["gaps"] == [{"start": 1.0, "end": 2.0, "reason": "the model crashed"}]
    assert program.get(seen["files"]["srt"]).status_code == 200
    for method, path in (("POST", "/cancel"), ("POST", "/retry-gaps"), ("DELETE", "")):
        answer = program.request(method, f"/api/jobs/{job}{path}")
        assert (answer.status_code, answer.json()["error"]["type"]) == (403, "NotYours")
    assert owner.post(f"/api/jobs/{job}/cancel").json()["state"] == "complete_with_gaps"
    wrong = owner.post(f"/api/jobs/{job}/retry-gaps", json={"model": "/etc"})
    assert wrong.status_code == 422
    assert owner.delete(f"/api/jobs/{job}").status_code == 204
    assert owner.get(f"/api/jobs/{job}").status_code == 404
    assert not site.service.folders.path(job).exists()


def test_who_sits_at_the_machine_may_change_every_job(site_of: MakeSite) -> None:
    site = site_of()
    job = stored(site, "of-a-time-with-logins", "user:alice")
    here = site.client(("127.0.0.1", 1), "localhost")
    assert here.delete(f"/api/jobs/{job}").status_code == 204


def test_visitors_of_an_open_site_do_not_see_each_others_lists(open_site: Site) -> None:
    first, second = open_site.client(), open_site.client()
    job = first.post("/api/jobs", params={"name": "a.flac"}, content=SHORT.read_bytes()).json()
    assert [one["id"] for one in first.get("/api/jobs").json()["jobs"]] == [job["id"]]
    assert second.get("/api/jobs").json()["total"] == 0
    assert second.get(job["status_url"]).status_code == 200
    assert second.delete(job["status_url"]).status_code == 403
    assert first.delete(job["status_url"]).status_code == 204


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("GET", "/history"),
        ("POST", "/cancel"),
        ("POST", "/rerun"),
        ("POST", "/retry-gaps"),
        ("DELETE", ""),
    ],
)
def test_a_job_that_is_not_there_is_not_found(site: Site, method: str, path: str) -> None:
    answer = site.program().request(method, f"/api/jobs/nothing{path}")
    assert (answer.status_code, answer.json()["error"]["type"]) == (404, "NoSuchJob")


def test_history_tells_what_happened(site: Site) -> None:
    job = stored(site, "with-history", "key:bot")
    entry = HistoryEntry(time.time(), "worker_lost", "GPU 0 died: signal 9")
    site.service.store.add_history(job, entry)
    found = site.program().get(f"/api/jobs/{job}/history").json()["history"]
    assert found == [{"at": entry.at, "kind": "worker_lost", "text": "GPU 0 died: signal 9"}]
