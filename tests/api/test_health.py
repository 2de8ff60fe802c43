"""What the container's check and a load balancer hear, in every state of the workers."""

from __future__ import annotations

from time import monotonic
from typing import Any, cast

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from api.health import health_router
from jobs.health import Health
from jobs.service import JobService
from workers.fleet import WorkerStatus


def worker(
    state: Any, model: str | None = "base", pid: int | None = 7, **fields: Any
) -> WorkerStatus:
    heard_at_s = monotonic() if pid else None
    deaths = fields.pop("deaths", 1 if state == "dead" else 0)
    return WorkerStatus(
        "CPU 0", pid, state, model, None, deaths, heard_at_s, compute_type="int8", **fields
    )


def ask(health: Health, path: str) -> tuple[int, Any]:
    class Service:
        def health(self) -> Health:
            return health

    app = FastAPI()
    app.include_router(health_router(cast(JobService, Service()), "1.2.3"))
    answer = TestClient(app).get(path)
    return answer.status_code, answer.json()


def state(
    *workers: WorkerStatus,
    reason: str = "",
    alive: bool = True,
    degraded: str = "",
    database: bool = True,
) -> Health:
    return Health(
        alive=alive,
        ready=not reason,
        workers=workers,
        reason=reason,
        degraded=degraded,
        database=database,
    )


@pytest.mark.parametrize(
    ("health", "alive", "ready"),
    [
        (state(worker("idle"), worker("busy")), 200, 200),
        (state(worker("dead", None, None), worker("busy")), 200, 200),
        (state(worker("loading"), reason="The model is being loaded."), 200, 503),
        (state(worker("loading")), 200, 503),
        (state(worker("idle", None)), 200, 503),
        (state(worker("starting", None, unloaded=True)), 200, 200),
        (state(worker("idle", None, unloaded=True)), 200, 200),
        (state(worker("loading", unloaded=True)), 200, 200),
        (state(worker("dead", None, None, unloaded=True)), 503, 503),
        (state(), 200, 503),
        (state(worker("idle"), reason="The model x is not on this machine."), 200, 503),
        (state(worker("dead", None, None)), 503, 503),
        # Its first process is about to start.
        (state(worker("dead", None, None, deaths=0)), 200, 503),
        (state(worker("retired", None, None), reason="No worker is left."), 503, 503),
        (state(worker("idle"), alive=False, reason="The service is closed."), 503, 503),
    ],
)
def test_health_and_readiness_follow_the_workers(health: Health, alive: int, ready: int) -> None:
    status, body = ask(health, "/health")
    assert (status, body["alive"]) == (alive, alive == 200)
    status, body = ask(health, "/ready")
    assert (status, body["ready"]) == (ready, ready == 200)
    assert bool(body["reason"]) is (ready != 200)
    if health.reason:
        assert body["reason"] == health.reason


def test_health_tells_each_workers_state() -> None:
    _, body = ask(state(worker("busy"), worker("dead", None, None)), "/health")
    first, second = body["workers"]
    assert first["heartbeat_age_s"] < 5
    assert {**first, "heartbeat_age_s": 0} == {
        "label": "CPU 0",
        "state": "busy",
        "model": "base",
        "compute_type": "int8",
        "unloaded": False,
        "reason": "",
        "heartbeat_age_s": 0,
    }
    assert second["heartbeat_age_s"] is None


def test_a_device_that_is_out_is_told_while_the_rest_goes_on() -> None:
    health = state(worker("busy"), worker("retired", None, None), degraded="GPU 1 is out")
    status, body = ask(health, "/health")
    assert (status, body["alive"], body["degraded"]) == (200, True, True)
    assert body["degraded_reason"] == "GPU 1 is out"
    assert body["version"] == "1.2.3"
    assert ask(health, "/ready")[0] == 200


def test_without_its_database_it_lives_and_takes_no_jobs() -> None:
    health = state(worker("idle"), database=False, degraded="the job database does not answer")
    status, body = ask(health, "/health")
    assert (status, body["database"], body["degraded"]) == (200, False, True)
    status, body = ask(health, "/ready")
    assert (status, body["reason"]) == (503, "The job database does not answer.")
