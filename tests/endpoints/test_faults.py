"""Errors of servers in plain words, with what to do on that server."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from core.endpoints import Endpoint
from core.errors import EndpointBusy, EndpointFailed, EndpointRefused
from endpoints.faults import BUSY_S, MOST_BUSY_S, answer_error, error_in, retry_after_s
from tests.endpoints.answers import OOM

ENDPOINT = Endpoint(
    id="a",
    name="Studio",
    api_url="http://10.0.5.4:9997/v1/audio/transcriptions",
    model_name="whisper-0",
    kind="openai",
    api_key="sk-secret",
)


def body(text: str) -> bytes:
    return json.dumps({"detail": text}).encode()


def test_the_guides_memory_errors_are_answered_for_that_server() -> None:
    error = answer_error(ENDPOINT, 500, {}, body(OOM))
    assert type(error) is EndpointFailed
    assert "Endpoint Studio (10.0.5.4:9997) is out of GPU memory" in error.message
    for fact in (
        "asked for 1.3 GiB",
        "GPU 0 had 1.0 GiB of 23.7 GiB free",
        "process 12345 holds 20.1 GiB",
        "nvidia-smi",
        "ps -fp 12345",
        "docker restart",
        "systemctl restart",
        "smaller model",
        "another endpoint",
        "On that server (10.0.5.4)",
    ):
        assert fact in error.hint
    assert "kill" not in error.hint


@pytest.mark.parametrize(
    "said",
    [
        "Model actor is out of memory, model id: whisper-0",
        "CUDA error: out of memory",
        "cudaMalloc failed: out of memory",
        "No available memory for the cache blocks.",
    ],
)
@pytest.mark.parametrize("status", [400, 500, 503])
def test_memory_errors_without_figures_are_known_too(said: str, status: int) -> None:
    error = answer_error(ENDPOINT, status, {}, body(said))
    assert type(error) is EndpointFailed
    assert "out of GPU memory" in error.message
    assert "nvidia-smi" in error.hint


def test_known_failures_of_servers_keep_their_fix() -> None:
    error = answer_error(ENDPOINT, 500, {}, body("EngineCore encountered an issue."))
    assert type(error) is EndpointFailed
    assert "docker restart" in error.hint


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 415, 422])
def test_refusals_say_why_in_the_servers_words(status: int) -> None:
    error = answer_error(ENDPOINT, status, {}, b'{"error": {"message": "No such thing."}}')
    assert type(error) is EndpointRefused
    assert error.message.endswith(f"(HTTP {status}): No such thing.")
    assert error.hint
    assert pickle.loads(pickle.dumps(error)).message == error.message


def test_a_redirect_is_refused_and_named() -> None:
    error = answer_error(ENDPOINT, 308, {"location": "https://speech.example/v1"}, b"")
    assert type(error) is EndpointRefused
    assert "redirects to https://speech.example/v1" in error.message


def test_a_busy_server_says_when() -> None:
    error = answer_error(ENDPOINT, 429, {"retry-after": "12"}, body("slow down"))
    assert isinstance(error, EndpointBusy)
    assert error.retry_after_s == 12.0
    assert "slow down" in error.message


def test_when_to_come_back_is_a_number_or_a_date() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=600), usegmt=True)
    assert 500 < retry_after_s(soon) <= 600
    assert retry_after_s("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    assert retry_after_s("1e12") == MOST_BUSY_S
    assert [retry_after_s(each) for each in ("", "soon", "nan")] == [BUSY_S] * 3


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"error": {"message": "gone"}}, "gone"),
        ({"error": "gone"}, "gone"),
        ({"detail": [{"msg": "gone"}]}, "gone"),
        ({"object": "error", "message": "gone"}, "gone"),
        ({"text": "", "error": None}, None),
        ({"text": "words", "error": None}, None),
        ([], None),
    ],
)
def test_errors_in_answers_are_found(answer: object, said: str | None) -> None:
    assert error_in(answer) == said


def test_the_key_stands_in_no_error() -> None:
    error = answer_error(ENDPOINT, 401, {}, b"")
    assert "sk-secret" not in error.explain()
