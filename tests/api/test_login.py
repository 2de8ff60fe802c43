"""Logging in and out: what a login is good for, how long, and how it ends."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from access.credentials import ApiKeys, Users
from api import login
from api.login import FIRST_USER, ensure_somebody, login_router, safe_next
from api.sessions import Cookies
from api.throttle import FREE_TRIES, Throttle
from core.errors import InvalidOption
from core.settings import Settings
from tests.api.conftest import ELSEWHERE, PASSWORD, USER, Site


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, host="0.0.0.0")


def client_of(settings: Settings, address: str = ELSEWHERE[0]) -> TestClient:
    """The login routes alone."""
    users = Users(settings)
    app = FastAPI()
    app.include_router(login_router(settings, users, Cookies(settings, users)))
    return TestClient(app, client=(address, 1), follow_redirects=False)


def test_a_login_opens_the_app_and_a_logout_ends_it_everywhere(locked: Site) -> None:
    client = locked.browser()
    stolen = dict(client.cookies)
    assert client.get("/api/jobs").status_code == 200
    assert USER in client.get("/logout").text
    gone = client.post("/logout")
    assert (gone.status_code, gone.headers["location"]) == (303, "/login")
    assert not client.cookies
    assert client.get("/api/jobs").status_code == 401
    thief = locked.client()
    thief.cookies.update(stolen)
    assert thief.get("/api/jobs").status_code == 401
    assert locked.browser().get("/api/jobs").status_code == 200, "another login is another one"


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(locked: Site) -> None:
    client = locked.client(("127.0.0.1", 1), X_Forwarded_Proto="https")
    answer = client.post("/login", data={"user": USER, "password": PASSWORD})
    cookie = answer.headers["set-cookie"]
    assert re.fullmatch(
        r"wfs-login-\w{8}=[\w.-]+; Path=/; Max-Age=604800; HttpOnly; SameSite=Lax; Secure", cookie
    )


def test_a_changed_password_or_a_removed_user_ends_the_logins(settings: Settings) -> None:
    users = Users(settings)
    users.add("bob", "first password")
    cookies = Cookies(settings, users)
    jar = {cookies.login_name: cookies.login("bob", secure=False).split("=", 1)[1].split(";")[0]}
    assert cookies.user(jar) == "bob"
    assert Cookies(settings, users).user(jar) == "bob", "a restart ends no login"
    users.add("bob", "second password")
    assert cookies.user(jar) is None
    users.add("carol", "third password")
    jar = {cookies.login_name: cookies.login("carol", secure=False).split("=", 1)[1].split(";")[0]}
    users.remove("carol")
    assert cookies.user(jar) is None


def test_a_login_ends_with_its_time(settings: Settings) -> None:
    users = Users(settings)
    users.add("bob", "first password")
    cookies = Cookies(settings, users)
    jar = {cookies.login_name: cookies.login("bob", secure=False).split("=", 1)[1].split(";")[0]}
    later = settings.model_copy(update={"login_hours": -1.0})
    assert Cookies(later, users).user(jar) is None


@pytest.mark.parametrize("value", ["", "x", "null", "W10.x.y", "a" * 5000, '"'])
def test_a_forged_cookie_is_nobodys(settings: Settings, value: str) -> None:
    cookies = Cookies(settings, Users(settings))
    assert cookies.user({cookies.login_name: value}) is None
    assert cookies.visitor({cookies.visitor_name: value}) is None


def test_a_visitors_cookie_is_no_login(settings: Settings) -> None:
    cookies = Cookies(settings, Users(settings))
    _, cookie = cookies.new_visitor(secure=False)
    value = cookie.split("=", 1)[1].split(";")[0]
    assert cookies.visitor({cookies.visitor_name: value})
    assert cookies.user({cookies.login_name: value}) is None


def test_the_secret_is_made_once_and_for_its_owner_alone(settings: Settings) -> None:
    Cookies(settings, Users(settings))
    secret = settings.data_dir / "secret"
    first = secret.read_text()
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    Cookies(settings, Users(settings))
    assert secret.read_text() == first
    assert os.listdir(settings.data_dir) == ["secret"], "no draft is left"
    secret.write_text("short")
    with pytest.raises(InvalidOption, match="damaged"):
        Cookies(settings, Users(settings))


def test_wrong_passwords_are_refused_and_then_slowed_down(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The time of the tries themselves must not count towards the wait.
    monkeypatch.setattr(login, "Throttle", lambda: Throttle(clock=lambda: 0.0))
    Users(settings).add(USER, PASSWORD)
    client = client_of(settings)
    wrong = {"user": USER, "password": "wrong password"}
    for _ in range(FREE_TRIES):
        answer = client.post("/login", data=wrong)
        assert answer.status_code == 401
        assert "The user name or the password is wrong." in answer.text
        assert "set-cookie" not in answer.headers
    answer = client.post("/login", data={"user": USER, "password": PASSWORD})
    assert answer.status_code == 429, "even the right one must wait"
    assert int(answer.headers["retry-after"]) >= 1
    assert "Try again in" in answer.text
    other = {"user": "nobody", "password": "wrong password"}
    assert client.post("/login", data=other).status_code == 429, "the address must wait"


def test_nobody_learns_which_users_there_are(settings: Settings) -> None:
    Users(settings).add(USER, PASSWORD)
    client = client_of(settings)
    known = client.post("/login", data={"user": USER, "password": "wrong"})
    unknown = client.post("/login", data={"user": "mallory", "password": "wrong"})
    assert known.status_code == unknown.status_code
    assert known.text.replace(USER, "X") == unknown.text.replace("mallory", "X")


@pytest.mark.parametrize(
    "wanted",
    [
        "https://attacker.example",
        "//attacker.example",
        "/\\attacker.example",
        "\\\\attacker.example",
        "/x\r\nSet-Cookie: a=b",
        "/\tx",
        "javascript:alert(1)",
        "",
        "/login?next=/login",
    ],
)
def test_the_way_back_never_leads_elsewhere(wanted: str) -> None:
    assert safe_next(wanted) == "/"


def test_the_way_back_is_kept_and_cannot_break_the_page(locked: Site) -> None:
    assert safe_next("/?job=abc") == "/?job=abc"
    client = locked.client(Origin="http://subs.example")
    evil = '"><script>alert(1)</script>'
    answer = client.post("/login", data={"user": evil, "password": "x", "next": f"/{evil}"})
    assert "<script>" not in answer.text
    assert "&lt;script&gt;" in answer.text
    fields = {"user": USER, "password": PASSWORD, "next": "/?job=abc"}
    answer = client.post("/login", data=fields)
    assert (answer.status_code, answer.headers["location"]) == (303, "/?job=abc")


def test_a_foreign_page_cannot_log_anybody_in_or_out(locked: Site) -> None:
    headers = {"Origin": "https://attacker.example"}
    fields = {"user": USER, "password": PASSWORD}
    answer = locked.client().post("/login", data=fields, headers=headers)
    assert answer.status_code == 403
    client = locked.browser()
    assert client.post("/logout", headers=headers).status_code == 403
    assert client.get("/api/jobs").status_code == 200


def test_an_endless_form_is_not_read(locked: Site) -> None:
    answer = locked.client().post("/login", content=b"user=" + b"x" * 1_000_000)
    assert answer.status_code == 413


def test_the_page_works_without_scripts(locked: Site) -> None:
    answer = locked.client().get("/login")
    assert "script" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert 'autocomplete="current-password"' in answer.text


def test_a_service_without_users_makes_one_and_tells_once(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    ensure_somebody(settings, Users(settings), ApiKeys(settings))
    found = re.search(r"password  (\S+)", caplog.text)
    assert found is not None
    assert f"user      {FIRST_USER}" in caplog.text
    assert Users(settings).verify(FIRST_USER, found.group(1))
    caplog.clear()
    ensure_somebody(settings, Users(settings), ApiKeys(settings))
    assert caplog.text == ""


@pytest.mark.parametrize("fields", [{"host": "127.0.0.1"}, {"access": "open"}])
def test_no_user_is_made_where_none_is_needed(settings: Settings, fields: dict[str, str]) -> None:
    settings = settings.model_copy(update=fields)
    ensure_somebody(settings, Users(settings), ApiKeys(settings))
    assert Users(settings).names() == []


def test_a_service_with_a_key_needs_no_user(settings: Settings) -> None:
    ApiKeys(settings).add("bot")
    ensure_somebody(settings, Users(settings), ApiKeys(settings))
    assert Users(settings).names() == []
