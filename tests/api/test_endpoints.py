"""``/api/endpoints``: what administrators set up, others may not, and nobody sees keys."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from api.schemas import EXAMPLE_ENDPOINT, EndpointJson, EndpointListJson
from jobs.endpoint_rows import FIELDS
from tests.api.conftest import USER, MakeSite, Site
from tests.probes import Probe
from tests.probes import probe as probe

URL = "http://10.0.5.4:8000/v1/audio/transcriptions"
SECRET = "sk-do-not-tell-0123456789"


@pytest.fixture(scope="module")
def site(site_of: MakeSite) -> Site:
    """Alice administers, the API key ``bot`` does not."""
    return site_of(host="0.0.0.0", admins=(USER,))


@pytest.fixture
def alice(site: Site) -> Iterator[TestClient]:
    client = site.browser()
    yield client
    for row in client.get("/api/endpoints").json()["endpoints"]:
        assert client.delete(f"/api/endpoints/{row['id']}").status_code == 204


def test_set_up_changed_tested_and_removed(alice: TestClient, site: Site, probe: Probe) -> None:
    made = alice.post(
        "/api/endpoints",
        json={"name": "Office", "api_url": URL, "api_key": SECRET, "model_name": "whisper-0"},
    )
    assert made.status_code == 201, made.text
    place = made.headers["location"]
    assert place == "/api/endpoints/office"
    assert made.json() == {**EXAMPLE_ENDPOINT, "is_active": False, "is_default": False}
    tested = alice.post(f"{place}/test")
    assert probe.asked[0].api_key == SECRET
    EndpointJson.model_validate(tested.json())
    assert tested.json()["test"]["passed"] is True
    assert tested.json()["test"]["checks"][1] == {
        "name": "model", "state": "ok", "text": "It is so.", "fix": "Load it.",
    }  # fmt: skip
    changed = alice.patch(place, json={"is_default": True, "parallel": 4}).json()
    assert (changed["is_default"], changed["parallel"], changed["model_name"]) == (
        True, 4, "whisper-0",
    )  # fmt: skip
    replaced = alice.put(place, json={"api_url": URL}).json()
    assert (replaced["parallel"], replaced["model_name"], replaced["key"]) == (2, "", "set")
    assert alice.get(place).json() == replaced
    listed = alice.get("/api/endpoints")
    EndpointListJson.model_validate(listed.json())
    assert SECRET not in listed.text + made.text + tested.text
    assert alice.delete(place).status_code == 204
    for answer in (alice.get(place), alice.delete(place), alice.post(f"{place}/test")):
        assert (answer.status_code, answer.json()["error"]["type"]) == (404, "NoSuchEndpoint")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "api_url"),
        ({"api_url": "nonsense"}, "no full address"),
        ({"api_url": URL, "colour": "red"}, "no option 'colour'"),
        ({"api_url": URL, "parallel": 0}, "parallel must be between"),
        ({"api_url": URL, "id": "local"}, "local"),
        ({"api_url": URL, "api_key": "env:DATABASE_URL"}, "cannot hold"),
        ([], "dict"),
    ],
)
def test_what_is_wrong_is_said(alice: TestClient, body: object, said: str) -> None:
    answer = alice.post("/api/endpoints", json=body)
    assert answer.status_code == 400, answer.text
    assert said in answer.json()["error"]["message"]
    assert alice.get("/api/endpoints").json() == {"endpoints": []}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""), ("POST", ""), ("GET", "/a"), ("PUT", "/a"), ("PATCH", "/a"),
        ("DELETE", "/a"), ("POST", "/a/test"),
    ],
)  # fmt: skip
def test_others_may_not(site: Site, open_site: Site, method: str, path: str, probe: Probe) -> None:
    body = {"api_url": URL} if method in ("POST", "PUT", "PATCH") and "test" not in path else None
    strangers = open_site.client(Origin="http://subs.example")
    for client, status in ((site.program(), 403), (site.client(), 401), (strangers, 403)):
        answer = client.request(method, f"/api/endpoints{path}", json=body)
        assert answer.status_code == status, answer.text
    assert probe.asked == []


def test_whatever_stands_in_the_table_can_be_answered(alice: TestClient, site: Site) -> None:
    with site.service.database.write() as connection:
        connection.execute(
            text("INSERT INTO asr_configs (id, api_url, parallel, timeout_s, name)"
                 " VALUES ('bad', X'00ff', 'many', 9e999, NULL)")
        )  # fmt: skip
    (row,) = alice.get("/api/endpoints").json()["endpoints"]
    assert (row["id"], row["usable"], row["protocol"]) == ("bad", False, None)
    assert "parallel" in row["problem"]
    mended = alice.put("/api/endpoints/bad", json={"api_url": URL}).json()
    assert (mended["usable"], mended["problem"]) == (True, "")


def test_people_may_choose_only_what_is_active(site: Site, alice: TestClient) -> None:
    alice.post("/api/endpoints", json={"api_url": URL, "id": "asleep"})
    refused = site.program().post("/api/jobs?name=a.wav&where=asleep", content=b"RIFF")
    assert refused.status_code == 400
    assert "no active speech endpoint 'asleep'" in refused.json()["error"]["message"]


def test_the_document_has_every_field_with_its_help(alice: TestClient) -> None:
    document = alice.get("/api/openapi.json").json()
    paths = document["paths"]
    for method, path in (("post", "/api/endpoints"), ("patch", "/api/endpoints/{endpoint_id}")):
        content = paths[path][method]["requestBody"]["content"]["application/json"]
        properties = content["schema"]["properties"]
        assert {*properties} - {"id"} == {*FIELDS}
        assert all(field["description"] for field in properties.values())
        assert {*content["example"]} <= {*properties}
    EndpointJson.model_validate(EXAMPLE_ENDPOINT)
