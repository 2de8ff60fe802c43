"""Devices that fail again and again: taken out, waited for, replaced by the CPU, taken back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import DeviceUnavailable, ModelError, WorkerCrashed
from core.events import Incident
from core.pool_job import PoolEvent
from tests.waiting import PATIENCE_S, eventually
from tests.workers.conftest import (
    QUICK,
    Bench,
    WatchedJob,
    gaps,
    incidents,
    reported,
    segment,
    texts,
)
from tests.workers.scripted_engine import read_log
from workers.breaker import Breaker, blames_device
from workers.devices import Device
from workers.limits import PoolLimits
from workers.pool import WorkerPool

BROKEN = "say:CUDA failed with error an illegal memory access was encountered"
AGAIN = replace(QUICK, retry_out_s=0.2)
LIMITS = PoolLimits()
CPU = (Device("CPU 0", "cpu"),)


def repair(bench: Bench) -> None:
    (bench.directory / "scripted" / "repaired").touch()


def wait_for(job: WatchedJob, events: list[PoolEvent], kind: str) -> None:
    """Read the job's events up to the incident."""
    for event in job.events():
        events.append(event)
        if isinstance(event, Incident) and event.kind == kind:
            return
    raise AssertionError(f"the job ended without {kind}")


def test_row_of_deaths_takes_a_slot_out_and_one_success_ends_the_row() -> None:
    breaker = Breaker()
    assert [breaker.died("SIGKILL", 0.0, LIMITS) for _ in range(4)] == [False] * 4
    assert not breaker.succeeded()
    assert [breaker.died("SIGKILL", 0.0, LIMITS) for _ in range(5)] == [False] * 4 + [True]
    assert breaker.out
    assert breaker.reason == "5 workers in a row died before finishing a segment (SIGKILL)"


def test_slot_is_tried_after_five_minutes_and_then_after_twice_as_long_up_to_an_hour() -> None:
    breaker, now, waits = Breaker(), 0.0, []
    breaker.condemn(DeviceUnavailable("gone"), now, LIMITS)
    for _ in range(6):
        until_s = breaker.out_until_s
        assert until_s is not None
        waits.append(until_s - now)
        assert not breaker.let_in(until_s - 0.1)
        now = until_s
        assert breaker.let_in(now)
        assert not breaker.out
        # On trial one failure is enough.
        assert breaker.died("SIGKILL", now, LIMITS)
    assert waits == [300.0, 600.0, 1200.0, 2400.0, 3600.0, 3600.0]
    breaker.let_in(now + 3600.0)
    assert breaker.succeeded()
    breaker.condemn(DeviceUnavailable("gone"), 0.0, LIMITS)
    assert breaker.out_until_s == 300.0


def test_device_is_blamed_by_what_ctranslate2_says() -> None:
    assert blames_device(DeviceUnavailable("no CUDA-capable device is detected"))
    assert blames_device(WorkerCrashed("cuBLAS failed with status CUBLAS_STATUS_NOT_SUPPORTED"))
    assert not blames_device(WorkerCrashed("ValueError: cannot hear"))


def test_gpu_that_keeps_failing_is_taken_out_and_the_other_goes_on(bench: Bench) -> None:
    model, pool = bench.gpu_model(devices={"0": BROKEN}), bench.pool(gpus=2)
    pool.preload(model).result(PATIENCE_S)
    job = bench.submit(pool, model, batch_size=1)
    for index in range(0, 8, 2):
        eventually(
            lambda: all(s.state in ("idle", "retired") for s in pool.status()), "none is busy"
        )
        job.add([segment(index), segment(index + 1)])
        reported(job, index + 2)
    job.finish_input()
    events = list(job.events())
    assert len(texts(events)) == 8
    assert gaps(events) == {}
    assert incidents(events).count("device_out") == 1
    eventually(
        lambda: [status.state for status in pool.status()] == ["retired", "idle"], "one is out"
    )
    first, second = pool.status()
    assert "illegal memory access" in first.reason
    assert second.reason == ""
    assert pool.counters()["device_out"] == 1


def test_slot_whose_workers_die_is_taken_out_and_the_other_goes_on(bench: Bench) -> None:
    model = bench.gpu_model(devices={"0": "kill"})
    pool = bench.pool(gpus=2, limits=replace(QUICK, deaths_to_retire=2))
    pool.preload(model).result(PATIENCE_S)
    job = bench.submit(pool, model, batch_size=1)
    for index in range(0, 4, 2):
        eventually(
            lambda: all(s.state in ("idle", "retired") for s in pool.status()), "none is busy"
        )
        job.add([segment(index), segment(index + 1)])
        reported(job, index + 2)
    job.finish_input()
    events = list(job.events())
    assert gaps(events) == {}
    assert "device_out" in incidents(events)
    eventually(
        lambda: [status.state for status in pool.status()] == ["retired", "idle"], "one is out"
    )


def test_without_waiting_the_job_fails_with_the_devices_own_error(bench: Bench) -> None:
    pool = bench.pool(gpus=2)
    with pytest.raises(DeviceUnavailable, match="unknown error") as caught:
        list(bench.submit(pool, bench.gpu_model(load="device"), 2).events())
    assert "nvidia-smi" in caught.value.hint
    eventually(
        lambda: [status.state for status in pool.status()] == ["retired", "retired"],
        "both are taken out",
    )


def test_job_waits_for_the_only_gpu_and_goes_on_when_it_is_back(bench: Bench) -> None:
    model = bench.gpu_model(load="device")
    pool = bench.pool(gpus=1, limits=AGAIN, wait_for_devices=True)
    job = bench.submit(pool, model, 4)
    events: list[PoolEvent] = []
    wait_for(job, events, "no_device")
    eventually(lambda: len(read_log(model, "load")) >= 2, "it was tried again")
    assert not job.ended
    repair(bench)
    events += list(job.events())
    assert len(texts(events)) == 4
    assert incidents(events) == ["device_out", "no_device", "device_back"]
    eventually(lambda: pool.status()[0].state == "idle", "it waits for the next job")
    assert pool.status()[0].reason == ""


def test_gpu_that_breaks_in_the_middle_costs_no_text(bench: Bench) -> None:
    model = bench.gpu_model(devices={"0": BROKEN})
    pool = bench.pool(gpus=1, limits=AGAIN, wait_for_devices=True)
    job = bench.submit(pool, model, 4)
    events: list[PoolEvent] = []
    wait_for(job, events, "no_device")
    repair(bench)
    events += list(job.events())
    assert len(texts(events)) == 4
    assert gaps(events) == {}


def test_model_refused_everywhere_fails_its_job_even_where_jobs_wait(bench: Bench) -> None:
    pool = bench.pool(gpus=2, wait_for_devices=True)
    model = bench.gpu_model(load="raise")
    events: list[PoolEvent] = []
    with pytest.raises(ModelError, match="damaged"):
        wait_for(bench.submit(pool, model, 2), events, "no_device")
    assert incidents(events) == ["model_refused", "model_refused"]
    eventually(
        lambda: {status.reason for status in pool.status()} == {"model.bin is damaged"},
        "the reason is told",
    )
    assert len(read_log(model, "load")) == 2


def fallback_pool(bench: Bench) -> WorkerPool:
    return bench.pool(gpus=1, limits=AGAIN, cpu_fallback=CPU, threads=3)


def test_cpu_takes_over_when_no_gpu_is_left_and_leaves_when_one_is_back(bench: Bench) -> None:
    model, pool = bench.gpu_model(load="device", actions={"2": "gate_once"}), fallback_pool(bench)
    assert [status.label for status in pool.status()] == ["GPU 0"]
    job = bench.submit(pool, model, batch_size=1)
    job.add([segment(0), segment(1), segment(2)])
    eventually(lambda: bool(read_log(model, "waiting")), "the CPU does the work")
    assert {report.device for report in job.reports} == {"CPU 0"}
    repair(bench)
    job.add([segment(index) for index in range(3, 7)])
    eventually(lambda: len(job.reports) == 6, "the GPU does the rest")
    assert {report.device for report in job.reports[2:]} == {"GPU 0"}
    Path(model.path, "gate").touch()
    job.finish_input()
    events = list(job.events())
    assert len(texts(events)) == 7
    assert incidents(events) == ["device_out", "cpu_fallback", "device_back"]
    eventually(lambda: [s.label for s in pool.status()] == ["GPU 0"], "the CPU worker left")
    loads = {(load["device"], load["compute_type"]) for load in read_log(model, "load")}
    assert loads == {("cuda", "float16"), ("cpu", "int8")}
