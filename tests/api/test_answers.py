"""Every error has its answer over HTTP, and an unexpected one tells strangers nothing."""

from __future__ import annotations

import inspect

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from api.errors import STATUS, add_handlers, answer, retry_after_s
from core import errors
from core.errors import SubtitleError

KINDS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, SubtitleError)
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_has_a_status_of_its_own(kind: type[SubtitleError]) -> None:
    assert kind in STATUS
    made = answer(kind("What happened."))
    assert made.status_code == STATUS[kind]
    assert made.headers.get("retry-after") == (
        None if (wait_s := retry_after_s(kind("x"))) is None else str(wait_s)
    )


@pytest.mark.parametrize(
    ("error", "status", "retry"),
    [
        (errors.NoSuchJob("x"), 404, None),
        (errors.UnreadableMedia("x"), 415, None),
        (errors.MediaLimitExceeded("x"), 413, None),
        (errors.ClientLimit("x"), 429, "30"),
        (errors.QueueFull("x"), 503, "30"),
        (errors.DatabaseUnavailable("x"), 503, "10"),
        (errors.DiskFull("x"), 507, None),
        (errors.Paused(), 503, "30"),
        (errors.OutOfMemory("x"), 503, "60"),
        (errors.EndpointFailed("x"), 503, "60"),
        (errors.EndpointRefused("x"), 502, None),
        (errors.NoSuchEndpoint("x"), 404, None),
        (errors.Cancelled(), 409, None),
    ],
)
def test_overload_says_when_to_come_again(
    error: SubtitleError, status: int, retry: str | None
) -> None:
    made = answer(error)
    assert (made.status_code, made.headers.get("retry-after")) == (status, retry)


def app_that_raises(error: Exception) -> TestClient:
    app = FastAPI()
    add_handlers(app)

    @app.get("/v1/x")
    @app.get("/")
    def broken() -> None:
        raise error

    return TestClient(app, raise_server_exceptions=False)


def test_an_error_says_what_and_what_to_do() -> None:
    made = app_that_raises(errors.DiskFull("The disk is full.", hint="Buy one.")).get("/")
    assert made.status_code == 507
    wanted = {"type": "DiskFull", "message": "The disk is full.", "hint": "Buy one."}
    assert made.json() == {"error": wanted}


def test_an_unexpected_error_tells_a_stranger_nothing() -> None:
    made = app_that_raises(RuntimeError("/srv/secret/path")).get("/")
    assert made.status_code == 500
    assert made.json()["error"]["type"] == "InternalError"
    assert "secret" not in made.text


@pytest.mark.parametrize(
    ("error", "status", "kind", "code"),
    [
        (errors.UnreadableMedia("x"), 400, "invalid_request_error", "unreadable_media"),
        (errors.ModelError("x"), 400, "invalid_request_error", "model_error"),
        (errors.MediaLimitExceeded("x"), 413, "invalid_request_error", "media_limit_exceeded"),
        (errors.ClientLimit("x"), 429, "rate_limit_error", "rate_limit_exceeded"),
        (errors.OutOfMemory("x"), 503, "server_error", "out_of_memory"),
        (errors.DiskFull("x"), 503, "server_error", "disk_full"),
        (RuntimeError("/srv/secret/path"), 500, "server_error", "internal_error"),
    ],
)
def test_under_v1_it_is_one_of_openais(error: Exception, status: int, kind: str, code: str) -> None:
    made = app_that_raises(error).get("/v1/x")
    body = made.json()["error"]
    assert (made.status_code, body["type"], body["code"]) == (status, kind, code)
    assert body["message"]
    assert body["param"] is None
    assert "secret" not in made.text
    assert ("retry-after" in made.headers) == (status in (429, 503) and code != "disk_full")
