from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import Cancelled
from tests.waiting import PATIENCE_S, eventually
from tests.workers.conftest import QUICK, Bench, WatchedJob, texts
from tests.workers.scripted_engine import read_log

PATIENT = replace(QUICK, cancel_grace_s=PATIENCE_S)
"""A worker that listens is not killed, however slow the machine is."""


def cancelled(job: WatchedJob) -> None:
    """The job ends although its worker still waits at its gate."""
    job.cancel()
    with pytest.raises(Cancelled):
        list(job.events())


def test_cancel_stops_a_batch_in_the_middle_and_keeps_the_worker(bench: Bench) -> None:
    model, pool = bench.model(actions={"2": "gate"}), bench.pool(1, PATIENT)
    job = bench.submit(pool, model, 20)
    eventually(lambda: bool(read_log(model, "waiting")), "the worker is in segment 2")
    pids = bench.note_pids(pool)
    cancelled(job)
    assert bench.note_pids(pool) == pids
    assert [report.index for report in job.reports] == [0, 1]
    Path(model.path, "gate").touch()
    assert len(texts(list(bench.submit(pool, model, 4).events()))) == 4
    assert len(read_log(model, "load")) == 1


def test_worker_that_does_not_listen_is_killed_and_replaced(bench: Bench) -> None:
    model, pool = bench.model(actions={"0": "hang_once"}), bench.pool(1)
    job = bench.submit(pool, model, 4)
    eventually(lambda: bool(read_log(model, "waiting")), "the worker is stuck in segment 0")
    (stuck,) = bench.note_pids(pool)
    cancelled(job)
    eventually(lambda: pool.status()[0].pid not in (None, stuck), "it is replaced")
    assert pool.status()[0].deaths == 0
    assert len(texts(list(bench.submit(pool, model, 4).events()))) == 4


def test_cancel_leaves_the_other_job_alone(bench: Bench) -> None:
    model, pool = bench.model(actions={"0": "gate"}), bench.pool(limits=PATIENT)
    first, second = bench.submit(pool, model, 6), bench.submit(pool, model, 6)
    eventually(lambda: len(read_log(model, "waiting")) == 2, "both jobs are in work")
    cancelled(first)
    Path(model.path, "gate").touch()
    assert len(texts(list(second.events()))) == 6


def test_cancel_before_any_worker_is_ready(bench: Bench) -> None:
    job = bench.submit(bench.pool(), bench.model(), 6)
    cancelled(job)


def test_cancel_after_the_end_changes_nothing(bench: Bench) -> None:
    job = bench.submit(bench.pool(1), bench.model(), 2)
    list(job.events())
    job.cancel()
    assert list(job.events()) == []
    assert job.error is None
