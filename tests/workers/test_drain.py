"""Shutdown: what is in work is finished, what is not goes on another time."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from core.errors import Paused
from tests.waiting import PATIENCE_S, eventually
from tests.workers.conftest import Bench, segment, segments
from tests.workers.scripted_engine import read_log


def test_drain_finishes_what_is_in_work_and_begins_nothing(bench: Bench) -> None:
    model, pool = bench.model(actions={"1": "gate"}), bench.pool(1)
    job = bench.submit(pool, model, batch_size=2)
    job.add(segments(6))
    eventually(lambda: bool(read_log(model, "waiting")), "the worker is in segment 1")
    assert not pool.drain(0.05)
    Path(model.path, "gate").touch()
    assert pool.drain(PATIENCE_S)
    assert [report.index for report in job.reports] == [0, 1, 2]
    job.add([segment(6)])
    assert pool.drain(PATIENCE_S)
    assert len(job.reports) == 3
    assert not job.ended
    job.cancel(Paused("The service stops."))
    with pytest.raises(Paused):
        list(job.events())


def test_worker_that_dies_while_draining_is_not_replaced(bench: Bench) -> None:
    model, pool = bench.model(actions={"0": "gate"}), bench.pool(1)
    job = bench.submit(pool, model, 2)
    eventually(lambda: bool(read_log(model, "waiting")), "the worker is in segment 0")
    assert not pool.drain(0.05)
    os.kill(bench.note_pids(pool)[0], signal.SIGKILL)
    assert pool.drain(PATIENCE_S)
    eventually(lambda: pool.status()[0].state == "dead", "the slot is empty")
    assert len(read_log(model, "load")) == 1
    assert not job.ended
    job.cancel()
    assert job.wait(PATIENCE_S)


def test_unused_pool_has_nothing_to_drain(bench: Bench) -> None:
    assert bench.pool(1).drain(0.0)
