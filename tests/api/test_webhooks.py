"""Webhooks of a running app: what receivers are told, and that a restart loses none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from tests.api.test_documentation import verified_of_the_page
from tests.apps import App, running_app
from tests.hooks import receiving
from tests.jobs.recordings import SHORT
from tests.waiting import PATIENCE_S, eventually

SECRET = "only receivers know it"
SETTINGS = {
    "WHISPER_WORKERS": "1",
    "WHISPER_WEBHOOK_SECRET": SECRET,
    "WHISPER_WEBHOOK_NETWORKS": '["127.0.0.1"]',
}


def submitted(app: App, hook: str) -> Any:
    files = {"file": ("talk.flac", SHORT.read_bytes())}
    answer = httpx.post(
        f"{app.url}/api/jobs", files=files, data={"webhook": hook}, timeout=PATIENCE_S
    )
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def test_a_receiver_that_fails_twice_hears_of_the_job_across_a_restart(
    tmp_path: Path, tiny_en: Path, root: Path
) -> None:
    verified = verified_of_the_page(root)
    with receiving(503, 500, 200) as receiver:
        with running_app(tmp_path, **SETTINGS) as app:
            job = submitted(app, receiver.url)
            eventually(lambda: len(receiver.calls) >= 1, "the receiver is called")
        with running_app(tmp_path, **SETTINGS) as app:
            delivered = f"{app.url}/api/jobs/{job}/history"

            def told() -> bool:
                return "webhook_delivered" in httpx.get(delivered).text

            eventually(told, "it is delivered")
            shown = httpx.get(f"{app.url}/api/jobs/{job}").json()
        assert len(receiver.calls) == 3
        for call in receiver.calls:
            assert verified(call.headers, call.body, SECRET)
            assert not verified(call.headers, call.body + b" ", SECRET)
            assert httpx.Response(200, content=call.body).json() == shown
        assert len({call.headers["X-Whisper-Delivery"] for call in receiver.calls}) == 1
