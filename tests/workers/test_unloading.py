"""Memory that workers give back: on request, by time, and never under a job that needs it."""

from __future__ import annotations

import logging
import os
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from core.pool_job import DecodeRequest
from core.process_memory import resident_mib
from core.types import DecodeOptions, ModelSpec
from gpu.manager import GpuManager, Released, gpu_manager
from tests.waiting import PATIENCE_S, eventually
from tests.workers.conftest import QUICK, Bench, WatchedJob, reported, segments, texts
from tests.workers.scripted_engine import read_log
from workers.backend import SlotBackend
from workers.devices import Device
from workers.pool import WorkerPool
from workers.pool_state import PoolState
from workers.scheduler import Scheduler
from workers.slot_state import SlotState
from workers.unloading import Unloader
from workers.worker_slot import WorkerSlot

AT_ONCE = replace(QUICK, unload_after_s=0.05)


def outcomes(found: tuple[Released, ...]) -> list[str]:
    return [each.outcome for each in found]


def alone(bench: Bench, pool: WorkerPool, model: ModelSpec) -> WatchedJob:
    """A job of one segment that may use one worker."""
    options = DecodeOptions(language="en")
    request = DecodeRequest(model=model, options=options, max_workers=1)
    job = WatchedJob(pool, request, bench.spool)
    job.add(segments(1))
    job.finish_input()
    return job


def test_idle_workers_end_and_come_back_without_a_model(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    model, pool = bench.model("base"), bench.pool(2)
    assert pool.release() == ()
    pool.preload(model).result(PATIENCE_S)
    pids = bench.note_pids(pool)
    found = pool.release()
    assert [(each.device, each.outcome, each.model) for each in found] == [
        ("CPU 0", "unloaded", "base"),
        ("CPU 1", "unloaded", "base"),
    ]
    assert all(each.freed_mib is not None for each in found)
    line = "Unloading Whisper model: base (its memory is wanted back)"
    assert {f"[CPU 0] {line}", f"[CPU 1] {line}"} <= {r.getMessage() for r in caplog.records}
    for status in pool.status():
        assert (status.state, status.model, status.unloaded) == ("idle", None, True)
        assert status.proven
        assert status.deaths == 0
    assert not set(bench.note_pids(pool)) & set(pids)
    assert outcomes(pool.release()) == ["empty", "empty"]
    assert len(texts(list(bench.submit(pool, model, 4).events()))) == 4
    pool.preload(model).result(PATIENCE_S)
    assert not any(status.unloaded for status in pool.status())
    assert pool.counters() == {}


def test_a_running_job_keeps_what_it_needs(bench: Bench) -> None:
    """The idle worker too: the job may have something for it in a moment."""
    model, pool = bench.model(actions={"1": "gate"}), bench.pool(2)
    job = bench.submit(pool, model, 2)
    reported(job, 1)
    eventually(lambda: all(s.proven for s in pool.status()), "both workers have the model")
    pids = bench.note_pids(pool)
    assert outcomes(pool.release()) == ["busy", "busy"]
    (bench.directory / "scripted" / "gate").touch()
    assert len(texts(list(job.events()))) == 2
    assert bench.note_pids(pool) == pids
    eventually(lambda: all(s.state == "idle" for s in pool.status()), "nobody has a task")
    assert outcomes(pool.release()) == ["unloaded", "unloaded"]


def test_a_worker_that_a_job_may_not_use_gives_its_memory_back(bench: Bench) -> None:
    model, pool = bench.model(actions={"0": "gate"}), bench.pool(2)
    pool.preload(model).result(PATIENCE_S)
    job = alone(bench, pool, model)
    eventually(lambda: "busy" in {s.state for s in pool.status()}, "a worker has the segment")
    assert sorted(outcomes(pool.release())) == ["busy", "unloaded"]
    (bench.directory / "scripted" / "gate").touch()
    assert len(texts(list(job.events()))) == 1


def test_who_waits_for_a_preload_gets_it(bench: Bench) -> None:
    model, pool = bench.model(), bench.pool(2)
    pool.start()
    answers: list[Future[float]] = [pool.preload(model)]
    found = pool.release()
    assert answers[0].result(PATIENCE_S) >= 0
    assert "unloaded" not in outcomes(found)
    assert [status.model for status in pool.status()] == ["scripted", "scripted"]


def test_models_are_unloaded_after_an_idle_time_and_loaded_by_the_next_job(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    model, pool = bench.model(), bench.pool(1, AT_ONCE)
    for time in (1, 2):
        assert len(texts(list(bench.submit(pool, model, 2).events()))) == 2
        bench.note_pids(pool)
        eventually(lambda: pool.status()[0].unloaded, "the model is unloaded")
        eventually(lambda: pool.status()[0].state == "idle", "the worker is back")
        assert len(read_log(model, "load")) == time
    assert "[CPU 0] Unloading Whisper model: scripted (idle for 0 s)" in caplog.messages


def test_time_passes_only_for_workers_without_work(bench: Bench) -> None:
    slow, quick = bench.model("slow", actions={"0": "gate"}), bench.model("quick")
    pool = bench.pool(2, AT_ONCE)
    job = alone(bench, pool, slow)
    eventually(lambda: bool(read_log(slow, "waiting")), "the segment is in work")
    assert len(texts(list(alone(bench, pool, quick).events()))) == 1
    eventually(lambda: any(status.unloaded for status in pool.status()), "the idle time is over")
    assert "busy" in {status.state for status in pool.status()}
    (bench.directory / "slow" / "gate").touch()
    assert len(texts(list(job.events()))) == 1
    assert len(read_log(slow, "load")) == 1


@pytest.mark.parametrize(("after_s", "unloaded"), [(300.0, ["idle for 300 s"]), (0.0, [])])
def test_idle_time_begins_again_after_work(after_s: float, unloaded: list[str]) -> None:
    model = ModelSpec("base", "/nowhere", "int8", "cpu")
    reasons: list[str] = []
    worker = cast(SlotBackend, SimpleNamespace(killed_s=None, kill=reasons.append))
    device = Device("CPU 0", "cpu")
    slot = WorkerSlot(device, state=SlotState.IDLE, worker=worker, model=model)
    limits = replace(QUICK, unload_after_s=after_s)
    unloader = Unloader(PoolState([slot], limits), Scheduler(limits))
    unloader.look(1000.0)
    unloader.look(1299.0)
    slot.state = SlotState.LOADING
    unloader.look(1299.5)
    slot.state = SlotState.IDLE
    for now_s in (1301.0, 1600.0):
        unloader.look(now_s)
    assert reasons == []
    unloader.look(1601.0)
    assert reasons == unloaded


def test_everything_that_holds_memory_is_asked(bench: Bench) -> None:
    gpu_manager.release_all_memory()  # pools of other tests may live
    model, pool = bench.model(), bench.pool(2)
    pool.preload(model).result(PATIENCE_S)
    answer = gpu_manager.release_all_memory()
    assert answer["released_workers"] == 2
    mine = [each for each in answer["devices"] if each["model"] == "scripted"]
    assert [each["outcome"] for each in mine] == ["unloaded", "unloaded"]
    pool.close()
    assert gpu_manager.release_all_memory()["released_workers"] == 0


def test_a_holder_that_is_gone_is_forgotten() -> None:
    class Holder:
        def release(self) -> tuple[Released]:
            return (Released("CPU", "unloaded", "tiny"),)

    manager, holder = GpuManager(), Holder()
    manager.holds_memory(holder)
    assert manager.release_all_memory()["released_workers"] == 1
    del holder
    assert manager.release_all_memory()["released_workers"] == 0


def test_a_real_worker_gives_its_memory_back(tiny_en: Path) -> None:
    with WorkerPool([Device("CPU 0", "cpu")]) as pool:
        pool.start()
        eventually(lambda: pool.status()[0].state == "idle", "the worker is there")
        empty_mib = resident_mib(pool.status()[0].pid or 0)
        pool.preload(ModelSpec("tiny.en", str(tiny_en), "int8", "cpu")).result(PATIENCE_S)
        loaded_mib = resident_mib(pool.status()[0].pid or 0)
        (found,) = pool.release()
        after_mib = resident_mib(pool.status()[0].pid or 0)
    assert empty_mib is not None
    assert loaded_mib is not None
    assert after_mib is not None
    assert found.freed_mib is not None
    assert after_mib < 0.6 * loaded_mib
    assert after_mib < empty_mib + 0.3 * (loaded_mib - empty_mib)
    assert found.freed_mib > 0.4 * loaded_mib


def test_memory_of_a_process_can_be_read(tmp_path: Path) -> None:
    assert (resident_mib(os.getpid()) or 0) > 10
    assert resident_mib(1, tmp_path) is None
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "status").write_text("Name:\tpython\nVmRSS:\t  204800 kB\n")
    assert resident_mib(1, tmp_path) == 200.0
