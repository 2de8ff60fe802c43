"""Links at ``POST /api/jobs``: accepted, refused, fetched, cancelled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.api.conftest import MakeSite, Site
from tests.api.test_jobs import ended
from tests.jobs.recordings import SHORT
from tests.link_server import LinkServer, serving
from tests.waiting import eventually

SITES = {"download_sites": ("generic",), "download_networks": ("127.0.0.1",)}


@pytest.fixture(scope="module")
def server() -> Iterator[LinkServer]:
    with serving() as server:
        yield server


@pytest.fixture(scope="module")
def site(site_of: MakeSite, tiny_en: object) -> Site:
    return site_of(host="0.0.0.0", **SITES)


@pytest.fixture(scope="module")
def program(site: Site) -> TestClient:
    return site.program()


def refused(answer: Any, status: int, kind: str) -> str:
    """The message and hint of a refusal."""
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["type"] == kind
    return f"{error['message']} {error['hint']}"


def test_a_link_in_a_form_becomes_subtitles(program: TestClient, server: LinkServer) -> None:
    url = f"{server.url}/talk.flac?token=hidden"
    form = {"url": (None, f" {url} "), "formats": (None, "srt,vtt")}
    answer = program.post("/api/jobs", files=form)
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert (job["name"], job["state"] in ("queued", "downloading")) == (url[:-13], True)
    done = ended(program, job["id"])
    assert (done["state"], done["name"]) == ("complete", "talk.flac"), done
    assert done["segments"][0]["text"].strip()
    assert list(done["files"]) == ["srt", "vtt"]
    srt = program.get(done["files"]["srt"])
    assert "talk.srt" in srt.headers["content-disposition"]
    assert program.get(done["recording"]).content == SHORT.read_bytes()
    history = program.get(f"/api/jobs/{job['id']}/history").text
    assert "hidden" not in history
    again = program.post(f"/api/jobs/{job['id']}/rerun", json={"formats": "txt"})
    asked = len(server.seen)
    assert ended(program, again.json()["id"])["state"] == "complete"
    assert len(server.seen) == asked, "the recording is kept"


def test_a_link_in_json_takes_a_name_and_options(program: TestClient, server: LinkServer) -> None:
    wanted = {"url": f"{server.url}/talk.flac", "name": "Opening.flac", "formats": ["txt"]}
    answer = program.post("/api/jobs", json=wanted)
    assert (answer.status_code, answer.json()["name"]) == (202, "Opening.flac"), answer.text
    done = ended(program, answer.json()["id"])
    assert (done["state"], done["name"], list(done["files"])) == (
        "complete",
        "Opening.flac",
        ["txt"],
    )


def test_a_download_shows_how_far_it_is_and_can_be_cancelled(
    program: TestClient, server: LinkServer
) -> None:
    job = program.post("/api/jobs", json={"url": f"{server.url}/held.flac"}).json()

    def now() -> dict[str, Any]:
        body: dict[str, Any] = program.get(f"/api/jobs/{job['id']}").json()
        return body

    eventually(lambda: now()["fraction"] > 0.0, "the download runs")
    assert now()["state"] == "downloading"
    assert now()["message"].startswith("Downloading held: ")
    listed = program.get("/api/jobs", params={"state": "downloading"}).json()["jobs"]
    assert [one["id"] for one in listed] == [job["id"]]
    assert program.post(f"/api/jobs/{job['id']}/cancel").status_code == 200
    assert ended(program, job["id"])["state"] == "cancelled"


def test_a_private_address_fails_the_job_with_its_reason(
    site_of: MakeSite, server: LinkServer
) -> None:
    program = site_of(host="0.0.0.0", download_sites=("generic",)).program()
    asked = len(server.seen)
    job = program.post("/api/jobs", json={"url": f"{server.url}/talk.flac"})
    done = ended(program, job.json()["id"])
    assert (done["state"], done["error"]["type"]) == ("failed", "DownloadRefused")
    assert "private address" in done["error"]["message"]
    assert "WHISPER_DOWNLOAD_NETWORKS" in done["error"]["hint"]
    assert len(server.seen) == asked


def test_what_cannot_be_fetched_is_refused_and_makes_no_job(
    site: Site, program: TestClient, locked: Site, server: LinkServer
) -> None:
    url, asked = f"{server.url}/talk.flac", len(server.seen)
    before = program.get("/api/jobs").json()["total"]

    def post(**options: Any) -> Any:
        return program.post("/api/jobs", **options)

    said = refused(post(json={"url": "ftp://me:hidden@a/b?c"}), 400, "InvalidOption")
    assert "ftp://a/b is not a web link" in said
    said = refused(post(json={"url": url, "model": "no-such"}), 422, "ModelError")
    said = refused(post(json={"url": 5}), 400, "InvalidOption")
    assert "url" in said
    said = refused(post(json={"model": "base"}), 400, "InvalidOption")
    assert "'url'" in said
    refused(post(json=[url]), 400, "InvalidOption")
    refused(post(json={"url": url, "initial_prompt": "x" * 20_000}), 400, "InvalidOption")
    json_type = {"Content-Type": "application/json"}
    refused(post(content=b"{", headers=json_type), 400, "InvalidOption")
    # Addresses of requests stand in logs.
    refused(post(params={"url": url}), 400, "InvalidOption")
    both = {"url": (None, url), "file": ("a.flac", b"sound")}
    assert "not both" in refused(post(files=both), 400, "InvalidOption")
    assert program.get("/api/jobs").json()["total"] == before
    # YouTube and Bilibili, as the default has it.
    other = locked.program()
    said = refused(other.post("/api/jobs", json={"url": url}), 403, "DownloadRefused")
    assert "WHISPER_DOWNLOAD_SITES" in said
    assert len(server.seen) == asked


def test_links_are_refused_where_strangers_may_come_in_unless_a_setting_admits_them(
    open_site: Site, site_of: MakeSite, server: LinkServer, tiny_en: object
) -> None:
    wanted = {"url": f"{server.url}/talk.flac"}
    said = refused(open_site.client().post("/api/jobs", json=wanted), 403, "DownloadRefused")
    assert "without a login" in said
    assert "WHISPER_LINKS=on" in said
    admitted = site_of(host="0.0.0.0", access="open", links="on", **SITES).client()
    answer = admitted.post("/api/jobs", json=wanted)
    assert answer.status_code == 202, answer.text
    assert ended(admitted, answer.json()["id"])["state"] == "complete"
