"""What an endpoint says of itself."""

from __future__ import annotations

import pytest

from core.endpoints import Endpoint, kind_of


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("http://10.0.5.4:8000/v1/audio/transcriptions", "openai"),
        ("https://speech.example.org/asr/", "asr"),
        ("http://10.0.5.4:9000/asr?output=json", "asr"),
        ("ws://10.0.5.4:10095", "funasr"),
        ("wss://10.0.5.4:10095/", "funasr"),
    ],
)
def test_the_address_tells_the_protocol(address: str, kind: str) -> None:
    assert kind_of(address) == kind


def endpoint(name: str, **changes: object) -> Endpoint:
    values = {"id": name, "name": name, "api_url": "http://user:pw@h:1/v1", "model_name": "m"}
    return Endpoint(**values | {"kind": "openai"} | changes)  # type: ignore[arg-type]


def test_the_default_comes_first_then_the_priority_then_the_id() -> None:
    ends = [
        endpoint("c", is_default=True),
        endpoint("b", is_default=True),
        endpoint("d", priority=5),
        endpoint("a"),
    ]
    assert [each.id for each in sorted(ends, key=lambda each: each.rank)] == ["b", "c", "d", "a"]


def test_a_key_is_never_shown() -> None:
    one = endpoint("a", api_key="sk-secret")
    assert "sk-secret" not in repr(one)
    assert "pw" not in one.host
