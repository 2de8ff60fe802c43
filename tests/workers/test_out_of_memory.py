"""The ladder of a segment that does not fit into memory."""

from __future__ import annotations

import pytest

from core.events import Incident
from tests.waiting import PATIENCE_S, eventually
from tests.workers.conftest import Bench, gaps, incidents, reported, segment, texts
from tests.workers.scripted_engine import read_log

FULL = "say:CUDA failed with error out of memory"
DISGUISED = "say:parallel_for failed: cudaErrorInvalidDevice: invalid device ordinal"


@pytest.mark.parametrize("wording", [FULL, DISGUISED])
def test_fresh_process_of_the_same_device_tries_first(bench: Bench, wording: str) -> None:
    """The other device is free all the time and must not be asked."""
    model = bench.gpu_model(actions={"1": f"{wording}_once"})
    pool = bench.pool(gpus=2)
    pool.preload(model).result(PATIENCE_S)
    job = bench.submit(pool, model, 6, batch_size=1)
    events = list(job.events())
    assert len(texts(events)) == 6
    assert incidents(events) == ["worker_recycled"]
    tried = [entry for entry in read_log(model, "decode") if 1 in entry["indices"]]
    assert [entry["indices"] for entry in tried] == [[1], [1]]
    assert tried[0]["pid"] != tried[1]["pid"]
    (failed_on,) = {e.device for e in events if isinstance(e, Incident)}
    assert job.reports[1].device == failed_on
    assert {status.deaths for status in pool.status()} == {0}


@pytest.mark.parametrize("wording", [FULL, DISGUISED])
def test_then_another_device_tries_and_nothing_is_lost(bench: Bench, wording: str) -> None:
    model = bench.gpu_model(devices={"0": wording})
    pool = bench.pool(gpus=2)
    pool.preload(model).result(PATIENCE_S)
    job = bench.submit(pool, model, 2, batch_size=1)
    events = list(job.events())
    assert len(texts(events)) == 2
    assert gaps(events) == {}
    assert {report.device for report in job.reports} == {"GPU 1"}
    kinds = incidents(events)
    assert kinds.count("worker_recycled") == kinds.count("other_device") >= 1
    assert pool.counters()["other_device"] == kinds.count("other_device")


def test_in_the_end_the_window_is_a_gap(bench: Bench) -> None:
    model = bench.gpu_model(actions={"1": FULL})
    pool = bench.pool(gpus=2)
    events = list(bench.submit(pool, model, 3).events())
    said = "Out of memory: CUDA failed with error out of memory."
    assert gaps(events) == {1: f"ran out of memory 3 times: {said}"}
    assert set(texts(events)) == {0, 2}
    assert incidents(events) == ["worker_recycled", "other_device", "segment_given_up"]


def test_only_device_tries_twice(bench: Bench) -> None:
    model = bench.gpu_model(actions={"1": FULL})
    events = list(bench.submit(bench.pool(gpus=1), model, 3).events())
    assert set(gaps(events)) == {1}
    assert incidents(events) == ["worker_recycled", "segment_given_up"]


def test_batch_that_does_not_fit_is_one_step_for_all_its_segments(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    actions = {"1": f"{FULL}_once", "2": f"{FULL}_once"}
    model, pool = bench.gpu_model(actions=actions), bench.pool(gpus=1)
    events = list(bench.submit(pool, model, 4, batch_size=3).events())
    assert len(texts(events)) == 4
    assert [event.text for event in events if isinstance(event, Incident)] == [
        "Out of memory in segments 1, 2; the process of GPU 0 is replaced, then each is tried"
        " alone."
    ]
    assert sum("Out of memory in segments" in record.message for record in caplog.records) == 1


def test_halved_batch_is_told_and_stands_in_the_report(bench: Bench) -> None:
    model, pool = bench.gpu_model(actions={"1": "halve", "2": "halve"}), bench.pool(gpus=1)
    job = bench.submit(pool, model, 4, batch_size=3)
    events = list(job.events())
    assert [report.reduced_batch for report in job.reports] == [0, 4, 4, 0]
    assert incidents(events) == ["batch_halved"]
    assert pool.counters() == {"batch_halved": 1}


def test_device_that_is_always_full_is_taken_out(bench: Bench) -> None:
    """Others finish what it cannot, three times: then it is the device."""
    model = bench.gpu_model(devices={"0": FULL})
    pool = bench.pool(gpus=2)
    job = bench.submit(pool, model, batch_size=1)
    for pair in ((0, 1), (2, 3), (4, 5)):
        eventually(lambda: [s.state for s in pool.status()] == ["idle"] * 2, "both are idle")
        job.add([segment(index) for index in pair])
        reported(job, pair[1] + 1)
    job.finish_input()
    events = list(job.events())
    assert len(texts(events)) == 6
    assert incidents(events)[-1] == "device_out"
    eventually(lambda: "out of memory" in pool.status()[0].reason, "the reason is told")
