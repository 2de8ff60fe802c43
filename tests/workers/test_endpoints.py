"""Remote endpoints as slots of a real pool, with real worker processes; folders are the servers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from core.endpoints import REMOTE, SHARED, Endpoint
from core.errors import EndpointRefused
from core.events import WorkersLoading
from core.pool_job import PoolEvent
from core.types import ModelSpec
from tests.waiting import eventually
from tests.workers.conftest import (
    QUICK,
    Bench,
    WatchedJob,
    gaps,
    incidents,
    reported,
    segments,
    texts,
)
from tests.workers.endpoint_engine import FACTORY, asked, endpoint, open_gate, tell
from tests.workers.scripted_engine import read_log
from workers.limits import PoolLimits
from workers.pool import WorkerPool

LIMITS = replace(QUICK, endpoint_retry_s=0.1, endpoint_retry_max_s=0.2)
NEVER_AGAIN = replace(QUICK, endpoint_retry_s=3600.0, endpoint_retry_max_s=3600.0)
WAITS = replace(LIMITS, endpoints_wait=True)
HELD = {str(index): "gate" for index in range(20)}
"""This machine's worker stops with its first segment, whichever it is, until the gate opens."""


def pool_of(
    bench: Bench, *endpoints: Endpoint, limits: PoolLimits = LIMITS, workers: int = 1
) -> WorkerPool:
    pool = bench.pool(workers, limits, endpoint_engine=FACTORY)
    pool.set_endpoints(endpoints)
    return pool


def held(model: ModelSpec) -> None:
    """Wait until this machine's worker stands at the gate."""
    eventually(lambda: bool(read_log(model, "waiting")), "a worker waits")


def go_on(model: ModelSpec) -> None:
    Path(model.path, "gate").touch()


def devices(job: WatchedJob) -> list[str]:
    return [report.device for report in job.reports]


def whole(job: WatchedJob, count: int) -> list[PoolEvent]:
    """All events of a job that has to lose nothing."""
    events = list(job.events())
    assert sorted(texts(events)) == list(range(count))
    assert len(job.reports) == count
    assert gaps(events) == {}
    return events


def test_nothing_of_a_local_job_reaches_an_endpoint(bench: Bench) -> None:
    model, a = bench.model(), endpoint(bench.directory, "a")
    pool = pool_of(bench, a)
    whole(bench.submit(pool, model, 6, language=None), 6)
    whole(bench.submit(pool, model, 6, language=None, task="translate"), 6)
    eventually(lambda: pool.endpoint_status()[0].state == "idle", "its worker has been there")
    assert asked(a) == []
    assert [status.label for status in pool.status()] == ["CPU 0"]


def test_a_shared_job_is_done_here_and_there_and_the_key_is_nowhere(bench: Bench) -> None:
    model, a = bench.model(actions=HELD), endpoint(bench.directory, "a")
    pool = pool_of(bench, a)
    job = bench.submit(pool, model, where=SHARED)
    eventually(lambda: any(s.model for s in pool.status()), "this machine's model is loaded")
    job.add(segments(8))
    job.finish_input()
    held(model)
    reported(job, 7)
    go_on(model)
    whole(job, 8)
    assert devices(job).count("Endpoint a") == 7
    assert {r.compute_type for r in job.reports} == {"int8", "remote"}
    (status,) = pool.endpoint_status()
    told = [repr(pool.endpoint_status()), Path(f"/proc/{status.pid}/cmdline").read_text()]
    told += [Path(f"/proc/{status.pid}/environ").read_text(), repr(a)]
    assert not any("geheim" in text for text in told)


def test_an_endpoint_comes_and_goes_while_a_job_runs(bench: Bench) -> None:
    model, a = bench.model(actions=HELD), endpoint(bench.directory, "a")
    pool = pool_of(bench)
    job = bench.submit(pool, model, 6, where=SHARED)
    held(model)
    tell(a, "ok", "gate")
    pool.set_endpoints([a])
    eventually(lambda: len(asked(a)) == 2, "it has done one and has another")
    reported(job, 1)
    pool.set_endpoints([])
    eventually(lambda: pool.endpoint_status() == (), "its slot is gone")
    go_on(model)
    events = whole(job, 6)
    assert devices(job).count("Endpoint a") == 1
    # It was no fault of anybody's, and no segment is under suspicion.
    assert incidents(events) == []


def test_new_settings_start_over(bench: Bench) -> None:
    a = endpoint(bench.directory, "a")
    tell(a, "refuse", "ok")
    pool, model = pool_of(bench, a), bench.model()
    whole(bench.submit(pool, model, 4, where=SHARED), 4)
    job = bench.submit(pool, model, 1, where="a")
    with pytest.raises(EndpointRefused, match="wrong key"):
        list(job.events())
    (status,) = pool.endpoint_status()
    assert (status.state, status.reason) == ("retired", "a answered HTTP 401: wrong key")
    pool.set_endpoints([replace(a, api_key="another")])
    job = bench.submit(pool, model, 3, where="a")
    whole(job, 3)
    assert set(devices(job)) == {"Endpoint a"}
    assert len(pool.endpoint_status()) == 1


def test_an_endpoint_that_always_fails_costs_no_segment(bench: Bench) -> None:
    model, a = bench.model(actions=HELD), endpoint(bench.directory, "a")
    tell(a, "fail")
    pool = pool_of(bench, a, limits=NEVER_AGAIN)
    job = bench.submit(pool, model, 6, where=SHARED)
    held(model)
    eventually(lambda: pool.endpoint_status()[0].state == "retired", "it is out")
    (status,) = pool.endpoint_status()
    assert status.starts == 1
    assert "HTTP 500" in status.reason
    go_on(model)
    events = whole(job, 6)
    assert set(devices(job)) == {"CPU 0"}
    assert len(asked(a)) == 2
    assert incidents(events).count("device_out") == 1
    assert set(incidents(events)) == {"segment_retried", "device_out"}
    # Its worker did nothing wrong.
    assert pool.endpoint_status()[0].pid == status.pid


def test_it_is_told_once_however_often_it_fails(bench: Bench) -> None:
    model, a = bench.model(actions=HELD), endpoint(bench.directory, "a")
    tell(a, *["fail"] * 6, "ok")
    pool = pool_of(bench, a)
    job = bench.submit(pool, model, 12, where=SHARED, batch_size=1)
    held(model)
    eventually(lambda: bool(job.reports), "it works again")
    go_on(model)
    kinds = incidents(whole(job, 12))
    assert kinds.count("device_out") == kinds.count("device_back") == 1
    assert kinds.count("segment_retried") == 2
    assert pool.endpoint_status()[0].starts == 1


def test_a_busy_endpoint_is_left_alone_until_it_says(bench: Bench) -> None:
    a, model = endpoint(bench.directory, "a"), bench.model()
    tell(a, "ok", "busy:0.2", "ok")
    pool = pool_of(bench, a, limits=WAITS)
    job = bench.submit(pool, model, 4, where="a")
    events = whole(job, 4)
    assert set(devices(job)) == {"Endpoint a"}
    assert incidents(events)[:2] == ["endpoint_busy", "endpoint_wait"]
    assert "device_out" not in pool.counters()
    assert read_log(model, "decode") == []
    tell(a, "busy:3600")
    whole(bench.submit(pool, model, 3, where=SHARED), 3)
    eventually(lambda: pool.endpoint_status()[0].state == "retired", "it is left alone")


def test_a_refusal_is_told_and_nobody_else_is_asked(bench: Bench) -> None:
    a, b = endpoint(bench.directory, "a", is_default=True), endpoint(bench.directory, "b")
    tell(a, "ok", "ok", "refuse")
    pool, model = pool_of(bench, a, b), bench.model()
    job = bench.submit(pool, model, 6, where=REMOTE)
    with pytest.raises(EndpointRefused, match="HTTP 401") as caught:
        list(job.events())
    assert "key" in caught.value.hint
    assert len(job.reports) == 2
    assert asked(b) == []
    # Nor is anybody by the next job, until a test succeeded.
    with pytest.raises(EndpointRefused):
        list(bench.submit(pool, model, 2, where=REMOTE).events())
    assert read_log(model, "decode") == []
    assert asked(b) == []
    tell(a, "ok")
    pool.endpoint_tested("a")
    whole(bench.submit(pool, model, 2, where=REMOTE), 2)
    assert asked(b) == []


def test_a_job_fails_over_in_order_and_comes_back(bench: Bench) -> None:
    b = endpoint(bench.directory, "b", priority=10)
    a = endpoint(bench.directory, "a", is_default=True, parallel=1)
    c = endpoint(bench.directory, "c")
    tell(a, "ok", "fail", "fail", "ok")
    tell(b, "gate", "ok")
    pool, model = pool_of(bench, c, b, a), bench.model()
    job = bench.submit(pool, model, 6, where=REMOTE)
    # The first endpoint is tried again and proves itself while the second works.
    reported(job, 5)
    open_gate(b)
    events = whole(job, 6)
    assert incidents(events)[:3] == ["segment_retried", "segment_retried", "device_out"]
    assert incidents(events).count("failover") == 2
    assert incidents(events).count("device_back") == 1
    assert devices(job).count("Endpoint b") == 1
    assert asked(c) == []
    assert read_log(model, "decode") == []


def test_when_all_are_down_this_machine_goes_on(bench: Bench) -> None:
    a, b = endpoint(bench.directory, "a"), endpoint(bench.directory, "b")
    tell(a, "ok", "fail")
    tell(b, "fail")
    pool = pool_of(bench, a, b, limits=NEVER_AGAIN)
    job = bench.submit(pool, bench.model(), 6, where=REMOTE)
    events = whole(job, 6)
    assert devices(job).count("Endpoint a") == 1
    assert devices(job).count("CPU 0") == 5
    assert incidents(events).count("failover") == 2
    # It is all the same where the one that is named is gone.
    gone = bench.submit(pool, bench.model(), 2, where="gone")
    whole(gone, 2)
    assert set(devices(gone)) == {"CPU 0"}


def test_when_all_are_down_a_job_may_wait_instead(bench: Bench) -> None:
    a, model = endpoint(bench.directory, "a"), bench.model()
    tell(a, "ok", "fail")
    pool = pool_of(bench, a, limits=WAITS)
    job = bench.submit(pool, model, 4, where=REMOTE)
    eventually(lambda: len(asked(a)) >= 8, "it was tried again and again")
    assert not job.ended
    tell(a, "ok")
    events = whole(job, 4)
    assert incidents(events).count("endpoint_wait") == 1
    loading = [event.text for event in events if isinstance(event, WorkersLoading)]
    assert any(text.startswith("Waiting for an endpoint: Endpoint a: ") for text in loading)
    assert read_log(model, "decode") == []
    tell(a, "fail")
    waiting = bench.submit(pool, model, 2, where="a")
    eventually(lambda: len(asked(a)) >= 16, "it was tried again")
    waiting.cancel()
    eventually(lambda: waiting.ended, "a job that waits can be cancelled")


def test_what_an_endpoint_cannot_translate_does_not_go_there(bench: Bench) -> None:
    funasr = endpoint(bench.directory, "f", kind="funasr", is_default=True)
    a, model = endpoint(bench.directory, "a"), bench.model()
    pool = pool_of(bench, funasr, a)
    job = bench.submit(pool, model, 3, where=REMOTE, task="translate")
    whole(job, 3)
    assert set(devices(job)) == {"Endpoint a"}
    whole(bench.submit(pool, model, 5, where=SHARED, task="translate"), 5)
    assert asked(funasr) == []
    with pytest.raises(EndpointRefused, match="Endpoint f cannot translate"):
        list(bench.submit(pool, model, 2, where="f", task="translate").events())


def test_a_killed_worker_and_a_fault_of_the_client_cost_no_segment(bench: Bench) -> None:
    a, model = endpoint(bench.directory, "a"), bench.model()
    tell(a, "kill", "ok", "raise", "ok")
    pool = pool_of(bench, a, limits=WAITS)
    events = whole(bench.submit(pool, model, 4, where="a"), 4)
    assert incidents(events) == ["worker_lost", "segment_retried"]
    assert pool.endpoint_status()[0].starts == 2


def test_a_segment_it_never_does_is_a_gap_only_where_nobody_else_may(bench: Bench) -> None:
    a, model = endpoint(bench.directory, "a"), bench.model()
    tell(a, "ok", "raise")
    pool = pool_of(bench, a, limits=replace(WAITS, errors_in_all=3))
    events = list(bench.submit(pool, model, 2, where="a").events())
    assert texts(events) == {0: "a 0"}
    assert "failed 3 times: ValueError: a fault of the client" in gaps(events)[1]


def test_the_language_is_heard_by_whoever_decodes(bench: Bench) -> None:
    a, b = endpoint(bench.directory, "a", is_default=True), endpoint(bench.directory, "b")
    tell(a, "fail")
    pool, model = pool_of(bench, a, b, limits=NEVER_AGAIN), bench.model()
    job = bench.submit(pool, model, 4, where=REMOTE, language=None)
    whole(job, 4)
    assert job.job.language == "de"
    assert asked(a) == ["detection"] * 2
    assert asked(b)[0] == "detection"
    assert read_log(model, "detect") == []


@pytest.mark.parametrize("does", ["gate", "hang"])
def test_nobody_waits_for_an_endpoint_that_does_not_answer(bench: Bench, does: str) -> None:
    """Whether its engine gives a task back, or has to be killed for it."""
    a, model = endpoint(bench.directory, "a"), bench.model()
    tell(a, does)
    pool = pool_of(bench, a)
    pool.start()
    # Otherwise this machine may have done everything before it is there.
    eventually(lambda: pool.endpoint_status()[0].state == "idle", "its worker is there")
    job = bench.submit(pool, model, where=SHARED)
    job.add(segments(6))
    eventually(lambda: bool(asked(a)), "it has one that it never does")
    job.finish_input()
    events = whole(job, 6)
    assert set(devices(job)) == {"CPU 0"}
    assert incidents(events) == []
    eventually(lambda: pool.endpoint_status()[0].state in ("idle", "starting"), "it goes on")
    assert pool.endpoint_status()[0].deaths == 0
