"""Calls of webhooks: signed, repeated, never made by two services nor into private networks."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.errors import InvalidOption
from core.networks import parse_networks
from core.settings import Settings
from jobs import webhooks
from jobs.database import Database
from jobs.records import HistoryEntry
from jobs.request import JobRequest
from jobs.states import JobState
from jobs.store import JobStore
from jobs.webhook_call import Caller
from jobs.webhook_rules import check_webhook
from jobs.webhook_store import WebhookStore
from jobs.webhooks import Webhooks
from telemetry.metrics import REGISTRY, WEBHOOK_OUTCOMES
from tests.hooks import Receiver, receiving
from tests.jobs.test_store import record
from tests.waiting import eventually

SECRET = "only receivers know it"
OPEN = Settings(webhook_secret=SECRET, webhook_networks=("127.0.0.0/8",))
BODY = b'{"id":"a"}'


def counted() -> Counter[str]:
    """Calls by outcome, of all services in this process so far."""
    value = REGISTRY.get_sample_value
    name = "whisper_webhook_deliveries_total"
    return Counter({each: int(value(name, {"outcome": each}) or 0) for each in WEBHOOK_OUTCOMES})


@pytest.fixture
def store(database: Database) -> JobStore:
    return JobStore(database)


@pytest.fixture
def calls(database: Database) -> WebhookStore:
    return WebhookStore(database)


def ended_job(store: JobStore, url: str, job_id: str = "a") -> None:
    request = JobRequest(path=Path("talk.mp3"), webhook=url)
    times = {"created_at": 1.0, "ended_at": 2.5}
    fields: dict[str, Any] = {"request": request, "state": JobState.FAILED, "storage_id": "here"}
    store.insert(record(job_id, **fields, **times))


def sender(store: JobStore, calls: WebhookStore, settings: Settings = OPEN) -> Webhooks:
    return Webhooks(settings, store, calls, "here", lambda job_id: BODY)


def told(store: JobStore, kind: str) -> Callable[[], bool]:
    return lambda: any(line.kind == kind for line in store.history("a"))


def texts(lines: list[HistoryEntry]) -> list[str]:
    return [line.text for line in lines if line.kind.startswith("webhook")]


def test_a_receiver_that_fails_twice_gets_the_same_call_signed_each_time(
    store: JobStore, calls: WebhookStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "FIRST_WAIT_S", 0.01)
    with receiving(500, 503, 204) as receiver, sender(store, calls):
        before = counted()
        ended_job(store, receiver.url)
        eventually(told(store, "webhook_delivered"), "it is delivered")
    assert len(receiver.calls) == 3
    for call in receiver.calls:
        signed = call.headers["X-Whisper-Timestamp"].encode() + b"." + BODY
        expected = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
        assert call.headers["X-Whisper-Signature"] == f"sha256={expected}"
        assert (call.headers["X-Whisper-Event"], call.body) == ("job.ended", BODY)
    assert len({call.headers["X-Whisper-Delivery"] for call in receiver.calls}) == 1
    lines = texts(store.history("a"))
    assert [line.partition(";")[0] for line in lines] == [
        "Webhook failed: 127.0.0.1 answered 500",
        "Webhook failed: 127.0.0.1 answered 503",
        "Webhook delivered: 127.0.0.1 answered 204.",
    ]
    assert counted() - before == Counter(delivered=1, retried=2)


@pytest.mark.parametrize("status", [410, 404, 302])
def test_a_final_refusal_ends_it_and_a_redirect_is_not_followed(
    status: int, store: JobStore, calls: WebhookStore
) -> None:
    with receiving(status, 200) as receiver, sender(store, calls):
        ended_job(store, receiver.url)
        eventually(told(store, "webhook_failed"), "it is given up")
        assert calls.due("here", time.time() + 1e6, 10) == []
    assert [call.path for call in receiver.calls] == ["/hook"]
    assert texts(store.history("a")) == [f"Webhook given up: 127.0.0.1 answered {status}."]


def test_only_one_of_several_services_makes_a_call_and_a_dead_ones_is_made_again(
    store: JobStore, calls: WebhookStore
) -> None:
    ended_job(store, "http://127.0.0.1:9/")
    (seen,) = calls.due("here", 100.0, 10)
    assert [calls.claim(seen, 160.0), calls.claim(seen, 160.0)] == [True, False]
    assert calls.due("here", 100.0, 10) == []
    (again,) = calls.due("here", 161.0, 10)
    assert calls.claim(again, 221.0)
    calls.settle(seen, 160.0)  # the first one wakes up: the call is not its own any more
    assert calls.due("here", 222.0, 10) != []
    calls.settle(again, 221.0)
    assert calls.due("here", 1e9, 10) == []
    assert calls.due("there", 1e9, 10) == []


def test_every_end_of_a_job_is_told_and_nothing_before_it(
    store: JobStore, calls: WebhookStore
) -> None:
    ended_job(store, "http://127.0.0.1:9/")
    (seen,) = calls.due("here", 100.0, 10)
    assert calls.claim(seen, 160.0)
    calls.settle(seen, 160.0)
    store.update("a", state=JobState.QUEUED, ended_at=None)  # its gaps are tried again
    assert calls.due("here", 1e9, 10) == []
    store.update("a", state=JobState.COMPLETE, ended_at=99.5)
    assert [call.ended_at for call in calls.due("here", 1e9, 10)] == [99.5]
    store.delete("a")
    assert calls.due("here", 1e9, 10) == []


def test_no_name_leads_a_call_into_a_private_network() -> None:
    async def post(receiver: Receiver, *networks: str) -> Any:
        url = receiver.url.replace("127.0.0.1", "localhost")
        return await Caller(parse_networks(networks)).post(url, BODY, {})

    with receiving(200) as receiver:
        refused = asyncio.run(post(receiver))
        assert (refused.delivered, refused.final) == (False, True)
        assert "private address" in refused.text
        assert receiver.calls == []
        assert asyncio.run(post(receiver, "127.0.0.0/8", "::1/128")).delivered


def test_a_receiver_that_is_not_there_is_called_again() -> None:
    outcome = asyncio.run(
        Caller(parse_networks(["127.0.0.1"])).post("http://127.0.0.1:1/", BODY, {})
    )
    assert (outcome.delivered, outcome.final) == (False, False)


@pytest.mark.parametrize(
    ("url", "settings", "said"),
    [
        ("https://example.org/", Settings(), "calls no webhooks"),
        ("ftp://example.org/", OPEN, "not a web link"),
        ("https://example.org:0/", OPEN, "port 0"),
        ("https://example.org:99999/", OPEN, "port"),
        ("https://me:secret@example.org/", OPEN, "user name"),
        ("http://169.254.169.254/latest", OPEN, "private address"),
        ("http://0x7f.1/", Settings(webhook_secret=SECRET), "private address"),
    ],
)
def test_an_address_that_will_not_do_is_refused_at_once(
    url: str, settings: Settings, said: str
) -> None:
    with pytest.raises(InvalidOption, match=said):
        check_webhook(url, settings)
    check_webhook("https://example.org/hook?token=x", OPEN)


def test_networks_that_are_none_are_refused_at_the_start(
    store: JobStore, calls: WebhookStore
) -> None:
    with pytest.raises(InvalidOption, match="WHISPER_WEBHOOK_NETWORKS"):
        sender(store, calls, Settings(webhook_networks=("my server",)))
