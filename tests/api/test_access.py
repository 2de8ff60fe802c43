"""One check around everything: who comes in, as whom, and what a foreign page cannot do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from starlette.routing import BaseRoute, Mount
from starlette.websockets import WebSocketDisconnect

from api.access import policy_of
from core.settings import Settings
from tests.api.conftest import ELSEWHERE, HERE, Site

PAGE = {"Accept": "text/html,application/xhtml+xml"}
SAME = {"Sec-Fetch-Site": "same-origin"}


@pytest.mark.parametrize(
    ("access", "host", "policy"),
    [
        ("auto", "127.0.0.1", "local"),
        ("auto", "127.8.8.8", "local"),
        ("auto", "localhost", "local"),
        ("auto", "::1", "local"),
        ("auto", "0.0.0.0", "login"),
        ("auto", "::", "login"),
        ("auto", "192.0.2.1", "login"),
        ("auto", "subs.example", "login"),
        ("login", "127.0.0.1", "login"),
        ("open", "0.0.0.0", "open"),
    ],
)
def test_a_login_is_asked_for_wherever_strangers_could_come(
    access: Any, host: str, policy: str
) -> None:
    assert policy_of(Settings(access=access, host=host)) == policy


def paths(routes: list[BaseRoute]) -> Iterator[str]:
    for route in routes:
        inside = route if isinstance(route, Mount) else getattr(route, "original_router", None)
        if inside is not None:
            yield from paths(list(inside.routes))
        elif path := getattr(route, "path", ""):
            yield re.sub(r"\{(\w+)(:path)?\}", r"\1", path)


def test_every_route_of_the_app_and_of_gradio_needs_the_login(locked: Site) -> None:
    stranger = locked.client()
    asked = sorted(set(paths(list(locked.app.routes))))
    assert {"/api/jobs/job_id/cancel", "/gradio_api/queue/join", "/gradio_api/vibe-edit"} < {*asked}
    opened = []
    for path in asked:
        for method in ("GET", "POST"):
            answer = stranger.request(method, path)
            if answer.status_code != 401 and path not in ("/health", "/ready", "/login"):
                opened.append(f"{method} {path}: {answer.status_code}")
    assert opened == []


@pytest.mark.parametrize(
    "path",
    ["//", "/./api/jobs", "/login/../api/jobs", "/login/", "/Login/x", "/health/", "/%6cogin/x"],
)
def test_no_spelling_of_an_address_gets_around_it(locked: Site, path: str) -> None:
    assert locked.client().get(path).status_code == 401


def test_only_monitors_and_the_login_page_are_free(locked: Site) -> None:
    stranger = locked.client()
    assert stranger.get("/health").json()["alive"] is True
    assert stranger.get("/ready").status_code in (200, 503)
    assert "Log in" in stranger.get("/login").text


def test_a_program_is_told_how_to_come_in(locked: Site) -> None:
    answer = locked.client().get("/api/jobs", headers=PAGE)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.json()["error"]["type"] == "LoginNeeded"


def test_a_person_is_sent_to_the_login_and_back(locked: Site) -> None:
    answer = locked.client().get("/?job=a%20b&x=1", headers=PAGE)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/login?next=/%3Fjob%3Da%2520b%26x%3D1"
    form = locked.client().get(answer.headers["location"]).text
    assert 'name="next" value="/?job=a%20b&amp;x=1"' in form


def test_keys_open_the_api_in_both_spellings(locked: Site) -> None:
    assert locked.program().get("/api/jobs").status_code == 200
    assert locked.client(X_API_Key=locked.key).get("/api/jobs").status_code == 200
    assert locked.client(Authorization=f"bearer {locked.key}").get("/api/jobs").status_code == 200
    for wrong in (locked.key[:-1], locked.key + "x", "", "wfs_", "ü"):
        headers = {b"Authorization": f"Bearer {wrong}".encode()}
        answer = locked.client().get("/api/jobs", headers=headers)
        assert answer.status_code == 401
    assert locked.client().get(f"/api/jobs?api_key={locked.key}").status_code == 401


def test_a_media_server_may_have_the_key_in_its_address(locked: Site) -> None:
    for path in ("/asr", "/detect-language"):
        answer = locked.client().post(path, auth=("bazarr", locked.key))
        assert answer.json()["error"]["message"] == "No recording was sent."
        for auth in (("bazarr", "wrong"), (locked.key, "")):
            assert locked.client().post(path, auth=auth).status_code == 401
        broken = {"Authorization": "Basic !"}
        assert locked.client().post(path, headers=broken).status_code == 401
    for path in ("/api/jobs", "/v1/models", "/asr/"):
        assert locked.client().get(path, auth=("bazarr", locked.key)).status_code == 401


@pytest.mark.parametrize("path", ["/v1/models", "/asr", "/detect-language"])
def test_other_programs_are_never_sent_to_the_login(locked: Site, path: str) -> None:
    answer = locked.client().get(path, headers=PAGE)
    assert answer.status_code == 401
    assert answer.json()["error"]["code" if path.startswith("/v1") else "type"]


def test_an_open_site_gives_every_visitor_a_cookie(open_site: Site) -> None:
    browser = open_site.client()
    first = browser.get("/", headers=PAGE)
    assert first.status_code == 200
    cookie = first.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Secure" not in cookie
    assert "set-cookie" not in browser.get("/", headers=PAGE).headers, "it is known now"
    assert "set-cookie" not in open_site.client().get("/theme.css").headers


def test_a_cookie_of_https_stays_on_https(open_site: Site) -> None:
    behind = open_site.client(("127.0.0.1", 1), X_Forwarded_Proto="https")
    assert "; Secure" in behind.get("/", headers=PAGE).headers["set-cookie"]


def test_a_forged_visitor_is_a_new_visitor(open_site: Site) -> None:
    name = open_site.client().get("/").headers["set-cookie"].partition("=")[0]
    answer = open_site.client(Cookie=f"{name}=Imdlc3NlZCI.forged").get("/")
    assert "set-cookie" in answer.headers


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost:7860", "[::1]:7860", "a.localhost"])
def test_who_sits_at_the_machine_needs_nothing(private: Site, host: str) -> None:
    assert private.client(HERE, host).get("/api/jobs").status_code == 200


@pytest.mark.parametrize(
    ("address", "host", "headers"),
    [
        (ELSEWHERE, "127.0.0.1", {}),
        (HERE, "attacker.example", {}),
        (HERE, "127.0.0.1.attacker.example", {}),
        (HERE, "localhost.attacker.example:7860", {}),
        (HERE, "127.0.0.1", {"X_Forwarded_For": "203.0.113.7"}),
        (HERE, "127.0.0.1", {"X_Forwarded_Host": "subs.example"}),
        (HERE, "127.0.0.1", {"Forwarded": "for=203.0.113.7"}),
    ],
)
def test_a_private_service_is_not_opened_by_a_proxy_or_a_name_that_points_here(
    private: Site, address: tuple[str, int], host: str, headers: dict[str, str]
) -> None:
    answer = private.client(address, host, **headers).get("/api/jobs")
    assert answer.status_code == 403
    assert "WHISPER_ACCESS=login" in answer.json()["error"]["hint"]


FOREIGN = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "https://attacker.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:9999"},
    {"Referer": "https://attacker.example/127.0.0.1:7860"},
]


@pytest.mark.parametrize("headers", FOREIGN)
@pytest.mark.parametrize("path", ["/api/jobs", "/gradio_api/queue/join", "/gradio_api/upload"])
def test_a_foreign_page_changes_nothing_on_this_machine(
    private: Site, headers: dict[str, str], path: str
) -> None:
    answer = private.client(HERE, "127.0.0.1:7860").post(path, headers=headers)
    assert answer.status_code == 403
    assert answer.json()["error"]["type"] == "ForeignPage"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://behind.a.proxy"},
        {"Origin": "http://127.0.0.1:7860"},
        {"Referer": "http://127.0.0.1:7860/?job=1"},
    ],
)
def test_our_own_page_and_programs_may(private: Site, headers: dict[str, str]) -> None:
    answer = private.client(HERE, "127.0.0.1:7860").post("/api/jobs", headers=headers)
    assert answer.json()["error"]["message"] == "No recording was sent."


def test_a_login_changes_things_only_from_a_page_that_says_where_it_is(locked: Site) -> None:
    client = locked.browser()
    del client.headers["origin"]
    assert client.get("/api/jobs").status_code == 200
    assert client.post("/api/jobs").status_code == 403
    assert client.post("/api/jobs", headers=SAME).status_code == 400
    assert client.post("/api/jobs", headers={"Sec-Fetch-Site": "none"}).status_code == 400
    for headers in FOREIGN:
        assert client.post("/api/jobs", headers=headers).status_code == 403


def test_answers_are_never_lent_to_other_sites(locked: Site, open_site: Site) -> None:
    for client in (locked.browser(), open_site.client()):
        answer = client.get("/config", headers={"Origin": "https://attacker.example"})
        assert "access-control-allow-origin" not in answer.headers
        answer = client.get("/api/jobs", headers={"Origin": "https://attacker.example"})
        assert "access-control-allow-origin" not in answer.headers
        preflight = {"Origin": "https://attacker.example", "Access-Control-Request-Method": "POST"}
        assert client.options("/gradio_api/upload", headers=preflight).status_code == 400


def test_nobody_comes_in_by_websocket(private: Site) -> None:
    client = private.client(HERE, "127.0.0.1")
    with (
        pytest.raises(WebSocketDisconnect) as closed,
        client.websocket_connect("/gradio_api/queue/join"),
    ):
        pass
    assert closed.value.code == 1008


def test_every_answer_carries_the_browsers_orders(locked: Site) -> None:
    client: TestClient = locked.client()
    for path in ("/login", "/health", "/api/jobs", "/nothing"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "server" not in headers
