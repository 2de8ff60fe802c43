"""``Idempotency-Key``: a submission that is sent again makes no second job."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from access.credentials import ApiKeys
from tests.api.conftest import MakeSite, Site
from tests.api.test_uploads import asked
from tests.jobs.recordings import SHORT

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def site(site_of: MakeSite) -> Site:
    return site_of(host="0.0.0.0", max_client_jobs=1)


def send(site: Site, key: str, sound: bytes = b"sound", owner: str = "", **fields: str) -> Any:
    client = site.client(Authorization=f"Bearer {owner or site.key}")
    files = {"file": ("talk.wav", sound)}
    return client.post("/api/jobs", files=files, data=fields, headers={"Idempotency-Key": key})


def test_the_same_again_is_the_same_job_and_anything_else_is_refused(site: Site) -> None:
    first = send(site, "same", formats="srt")
    assert first.status_code == 202, first.text
    assert "idempotency-replayed" not in first.headers
    # The client has its share of jobs already, and this is none more.
    again = send(site, "same", formats="srt")
    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["location"] == first.headers["location"]
    for other in (
        send(site, "same", formats="vtt"),
        send(site, "same", formats="srt", language="en"),
        send(site, "same"),
        send(site, "same", b"other sound", formats="srt"),
    ):
        assert (other.status_code, other.json()["error"]["type"]) == (422, "IdempotencyKeyUsed")
    assert site.program().delete(first.headers["location"]).status_code == 204
    assert send(site, "same", formats="vtt").json()["id"] != first.json()["id"]


def test_keys_of_others_are_other_keys_and_a_refused_request_leaves_its_key_free(
    site: Site,
) -> None:
    other = ApiKeys(site.service.settings).add("other")
    assert send(site, "free", owner=other, model="no-such-model").status_code == 422
    job = send(site, "free", owner=other).json()["id"]
    assert send(site, "free", owner=other).json()["id"] == job
    third = ApiKeys(site.service.settings).add("third")
    assert send(site, "free", owner=third).json()["id"] != job


@pytest.mark.parametrize("key", ["", "a b", "x" * 201, "ä"])
def test_a_key_that_is_none_is_explained(site: Site, key: str) -> None:
    answer = send(site, key.encode("latin-1"))  # type: ignore[arg-type]
    assert answer.status_code == 400
    assert "Idempotency-Key" in answer.json()["error"]["message"]


class Blocks:
    """A recording of some MiB that counts what is read of it."""

    def __init__(self, mib: int) -> None:
        self.mib = mib
        self.read = 0
        self.half = asyncio.Event()
        self.go = asyncio.Event()

    async def __call__(self) -> AsyncIterator[dict[str, Any]]:
        for number in range(self.mib):
            if number == self.mib // 2:
                self.half.set()
                await self.go.wait()
            self.read += 1
            more = number + 1 < self.mib
            yield {"type": "http.request", "body": bytes([number]) * MIB, "more_body": more}


def test_a_large_recording_is_recognised_by_its_beginning(site_of: MakeSite) -> None:
    site = site_of(host="0.0.0.0")
    headers = {"idempotency-key": "large"}

    async def both() -> tuple[list[Any], int]:
        first, during, second = Blocks(2), Blocks(1), Blocks(100)
        second.go.set()
        sending = asyncio.create_task(asked(site.app, site.key, first(), **headers))
        await first.half.wait()
        answers = [await asked(site.app, site.key, during(), **headers)]
        first.go.set()
        answers += [await sending, await asked(site.app, site.key, second(), **headers)]
        return answers, second.read

    (during, first, second), read = asyncio.run(both())
    assert (during[0], during[2]["error"]["type"]) == (409, "StillArriving")
    assert int(during[1]["retry-after"]) > 0
    assert (first[0], second[0]) == (202, 202)
    assert second[2]["id"] == first[2]["id"]
    assert read < 100, "the rest of it is not waited for"


def test_a_key_is_remembered_after_a_restart(site_of: MakeSite, tmp_path: Path) -> None:
    first = site_of(host="0.0.0.0", data_dir=tmp_path)
    job = send(first, "kept", SHORT.read_bytes()).json()["id"]
    first.service.close()
    others = {"api_keys_file": tmp_path / "keys", "users_file": tmp_path / "users"}
    again = site_of(host="0.0.0.0", data_dir=tmp_path, **others)
    assert send(again, "kept", SHORT.read_bytes()).json()["id"] == job
