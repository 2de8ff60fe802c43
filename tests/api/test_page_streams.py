"""An event of the page that is sent just when its stream would end is answered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from tests.apps import running_app
from tests.waiting import PATIENCE_S

SESSION = "abcdefghij"


def test_a_stream_goes_on_with_an_event_that_comes_after_its_last(tmp_path: Path) -> None:
    with (
        running_app(tmp_path, WHISPER_WORKERS="1") as app,
        httpx.Client(base_url=app.url, timeout=PATIENCE_S, trust_env=False) as client,
    ):
        known = client.get("/config").json()["dependencies"]
        (drop,) = [one["id"] for one in known if "drop_source" in str(one["targets"])]

        def send() -> str:
            event = {"fn_index": drop, "data": [], "session_hash": SESSION}
            sent: str = client.post("/gradio_api/queue/join", json=event).json()["event_id"]
            return sent

        first = send()
        address = f"/gradio_api/queue/data?session_hash={SESSION}"
        with client.stream("GET", address) as stream:
            messages = _messages(stream.iter_lines())
            assert _answered(messages) == first
            second = send()
            assert _answered(messages) == second
            assert next(messages)["msg"] == "close_stream"
            assert next(messages, None) is None


def _messages(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


def _answered(messages: Iterator[dict[str, Any]]) -> str:
    """The next event that has been answered."""
    done = next(message for message in messages if message["msg"] == "process_completed")
    assert done["success"]
    event: str = done["event_id"]
    return event
