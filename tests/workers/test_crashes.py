from __future__ import annotations

import os
import signal
import threading
from dataclasses import replace
from multiprocessing.connection import wait
from pathlib import Path

import pytest

from core.errors import ModelError, WorkerCrashed, WorkerError
from core.pool_job import PoolEvent
from tests.waiting import PATIENCE_S, eventually
from tests.workers.conftest import (
    HASTY,
    QUICK,
    Bench,
    all_gaps,
    ended,
    gaps,
    incidents,
    texts,
)
from tests.workers.scripted_engine import FACTORY, read_log
from workers.devices import Device
from workers.limits import PoolLimits
from workers.messages import WorkerSpec
from workers.worker import Worker

COUNT = 8
POISON = 3


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        ("kill", "killed two workers (SIGKILL)"),
        ("segv", "killed two workers (SIGSEGV)"),
        ("exit", "killed two workers (exit code 3)"),
        ("sys_exit", "killed two workers (exit code 4)"),
        ("raise", "failed 2 times: ValueError: cannot hear segment3"),
        ("raise_all", "failed 2 times: RuntimeError: the whole task fails"),
        ("unpicklable", "failed 2 times: Unpicklable: cannot travel"),
        ("unpicklable_result", "failed 2 times: TypeError: cannot pickle '_thread.lock' object"),
        ("silent", "failed 2 times: The engine gave neither text nor error."),
        ("oom", "ran out of memory 3 times: CUDA failed with error out of memory"),
    ],
)
def test_poison_segment_is_a_gap_and_the_others_are_done(
    bench: Bench, action: str, reason: str
) -> None:
    job = bench.submit(bench.pool(), bench.model(actions={str(POISON): action}), COUNT)
    events = list(job.events())
    assert gaps(events) == {POISON: reason}
    assert texts(events) == {i: f"text {i}" for i in range(COUNT) if i != POISON}
    (gap,) = all_gaps(events)
    assert (gap.start_s, gap.end_s, gap.segment_index) == (180.0, 190.0, POISON)


def test_workers_killed_from_outside_are_not_soon_the_segments_fault(bench: Bench) -> None:
    limits = replace(QUICK, outside_kills_to_fail=PoolLimits().outside_kills_to_fail)
    pool = bench.pool(limits=limits)
    killed = list(bench.submit(pool, bench.model(actions={"0": "kill*3"}), 1).events())
    assert texts(killed) == {0: "text 0"}
    crashed = list(bench.submit(pool, bench.model("b", actions={"0": "segv*3"}), 1).events())
    assert gaps(crashed) == {0: "killed two workers (SIGSEGV)"}


def test_hanging_segment_is_killed_and_becomes_a_gap(bench: Bench) -> None:
    job = bench.submit(bench.pool(limits=HASTY), bench.model(actions={"0": "hang"}), 3)
    events = list(job.events())
    assert gaps(events) == {0: "killed two workers (no progress for 3 s)"}
    assert texts(events) == {1: "text 1", 2: "text 2"}


@pytest.mark.parametrize("action", ["kill_once", "exit_once", "raise_once", "oom_once"])
def test_one_failure_costs_no_text(bench: Bench, action: str) -> None:
    job = bench.submit(bench.pool(), bench.model(actions={str(POISON): action}), COUNT)
    events = list(job.events())
    assert texts(events) == {i: f"text {i}" for i in range(COUNT)}
    assert gaps(events) == {}
    assert job.reports[POISON].attempts == 2


def test_failed_segment_is_left_to_another_worker(bench: Bench) -> None:
    """One worker waits in segment 0, so the other would have time to try segment 1 again."""
    model, pool = bench.model(actions={"0": "gate", "1": "raise_once"}), bench.pool()
    pool.preload(model).result(PATIENCE_S)
    job = bench.submit(pool, model, COUNT, batch_size=1)
    eventually(lambda: len(job.reports) == COUNT - 2, "all but 0 and 1 are done")
    Path(model.path, "gate").touch()
    assert len(texts(list(job.events()))) == COUNT
    tried = [entry for entry in read_log(model, "decode") if 1 in entry["indices"]]
    assert len(tried) == 2
    assert tried[0]["pid"] != tried[1]["pid"]


def test_worker_out_of_memory_is_replaced(bench: Bench) -> None:
    model, pool = bench.model(actions={"0": "oom_once"}), bench.pool(1)
    job = bench.submit(pool, model, 2)
    assert len(texts(list(job.events()))) == 2
    pids = [entry["pid"] for entry in read_log(model, "decode")]
    assert len(set(pids)) == 2
    assert pids[0] != pids[1]


def test_results_that_came_before_a_death_count(bench: Bench) -> None:
    """The supervisor is held up until results and death are both there for it to see."""
    actions = {"1": "gate", "3": "kill_once"}
    model, pool = bench.model(actions=actions), bench.pool(1)
    job = bench.submit(pool, model, 5, batch_size=4)
    eventually(lambda: bool(read_log(model, "waiting")), "the worker is in segment 1")
    (pid,) = bench.note_pids(pool)
    release = threading.Event()
    pool._supervisor.post(lambda: assert_in_time(release))
    Path(model.path, "gate").touch()
    eventually(lambda: ended(pid), "the worker died in segment 3")
    release.set()
    assert len(texts(list(job.events()))) == 5
    assert [entry["indices"] for entry in read_log(model, "decode")] == [
        [0],
        [1, 2, 3, 4],
        [3],
        [4],
    ]


def assert_in_time(event: threading.Event) -> None:
    assert event.wait(PATIENCE_S)


def test_neighbours_of_a_killer_are_tried_alone_and_kept(bench: Bench) -> None:
    """One worker: segments 1-4 go as one batch, and 3 kills it before 4 has started."""
    model = bench.model(actions={"3": "kill"})
    events = list(bench.submit(bench.pool(1), model, 5, batch_size=4).events())
    assert [entry["indices"] for entry in read_log(model, "decode")] == [
        [0],
        [1, 2, 3, 4],
        [3],
        [4],
    ]
    assert set(gaps(events)) == {3}
    assert set(texts(events)) == {0, 1, 2, 4}


def test_worker_killed_from_outside_costs_no_text_and_is_replaced(bench: Bench) -> None:
    model, pool = bench.model(actions={"2": "gate_once"}), bench.pool()
    job = bench.submit(pool, model, COUNT)
    eventually(lambda: bool(read_log(model, "waiting")), "a worker is in segment 2")
    victim = read_log(model, "waiting")[0]["pid"]
    os.kill(victim, signal.SIGKILL)
    events = list(job.events())
    assert texts(events) == {i: f"text {i}" for i in range(COUNT)}
    assert gaps(events) == {}
    eventually(
        lambda: all(status.state == "idle" for status in pool.status()), "the dead one is replaced"
    )
    assert victim not in bench.note_pids(pool)


def test_stopped_process_is_found_by_its_silence(bench: Bench) -> None:
    model, pool = bench.model(actions={"0": "gate_once"}), bench.pool(limits=HASTY)
    job = bench.submit(pool, model, 3)
    eventually(lambda: bool(read_log(model, "waiting")), "a worker is in segment 0")
    os.kill(read_log(model, "waiting")[0]["pid"], signal.SIGSTOP)
    assert len(texts(list(job.events()))) == 3


def test_idle_worker_that_dies_is_replaced_with_its_model(bench: Bench) -> None:
    model, pool = bench.model(), bench.pool(1)
    pool.preload(model).result(PATIENCE_S)
    (first,) = bench.note_pids(pool)
    os.kill(first, signal.SIGKILL)
    eventually(
        lambda: pool.status()[0].pid not in (None, first) and pool.status()[0].state == "idle",
        "a new worker is idle",
    )
    eventually(lambda: len(read_log(model, "warm_up")) == 2, "it has loaded the model")


def test_slot_is_retired_after_deaths_in_a_row_and_jobs_end(bench: Bench) -> None:
    limits = replace(QUICK, deaths_to_retire=3)
    model = bench.model(actions={str(index): "kill" for index in range(9)})
    pool = bench.pool(1, limits)
    job = bench.submit(pool, model, 9)
    events: list[PoolEvent] = []
    with pytest.raises(WorkerCrashed, match=r"No worker is left.*CPU 0: .*SIGKILL"):
        events.extend(job.events())
    # The second death of a segment is its own; the slot is charged with the first deaths only.
    assert [gap.segment_index for gap in all_gaps(events)] == [0, 1]
    assert [status.state for status in pool.status()] == ["retired"]
    with pytest.raises(WorkerCrashed):
        list(bench.submit(pool, model, 1).events())


def test_model_that_fails_everywhere_fails_its_job_only(bench: Bench) -> None:
    bad, good = bench.model("bad", load="raise"), bench.model("good")
    pool = bench.pool()
    with pytest.raises(ModelError, match="damaged"):
        pool.preload(bad).result(PATIENCE_S)
    failing, working = bench.submit(pool, bad, 3), bench.submit(pool, good, 3)
    with pytest.raises(ModelError, match="damaged"):
        list(failing.events())
    assert len(texts(list(working.events()))) == 3
    assert len(read_log(bad, "load")) <= 4  # twice on each worker at most: no loop
    assert {status.deaths for status in pool.status()} == {0}


def test_worker_that_cannot_load_leaves_the_job_to_the_others(bench: Bench) -> None:
    model, pool = bench.model(load="raise_first"), bench.pool()
    pool.preload(model).result(PATIENCE_S)
    job = bench.submit(pool, model, 4)
    assert len(texts(list(job.events()))) == 4


def test_load_that_kills_workers_fails_the_job_and_keeps_the_slot(bench: Bench) -> None:
    pool = bench.pool(1)
    model = bench.model("huge", load="kill")
    with pytest.raises(WorkerCrashed, match=r"huge on CPU 0 killed 3 workers \(SIGKILL\)"):
        list(bench.submit(pool, model, 2).events())
    assert len(read_log(model, "load")) == 3
    assert len(texts(list(bench.submit(pool, bench.model("small"), 2).events()))) == 2


def test_engine_that_cannot_be_imported_fails_the_job(bench: Bench) -> None:
    pool = bench.pool(1, engine="tests.workers.scripted_engine:nothing")
    with pytest.raises(ModelError, match="no engine factory 'nothing'"):
        list(bench.submit(pool, bench.model(), 1).events())


@pytest.mark.parametrize("detect", ["kill_once", "raise_once"])
def test_language_is_detected_again_after_a_failure(bench: Bench, detect: str) -> None:
    model = bench.model(detect=detect)
    job = bench.submit(bench.pool(), model, 5, language=None)
    assert len(texts(list(job.events()))) == 5
    assert job.job.language == "zh"
    assert len(read_log(model, "detect")) == 2


@pytest.mark.parametrize("detect", ["kill", "raise"])
def test_job_whose_language_cannot_be_detected_says_what_to_do(bench: Bench, detect: str) -> None:
    job = bench.submit(bench.pool(), bench.model(detect=detect), 5, language=None)
    with pytest.raises(WorkerError, match="language could not be detected") as caught:
        list(job.events())
    assert "Choose the language" in caught.value.hint


def test_two_jobs_share_a_pool_while_one_kills_workers(bench: Bench) -> None:
    bad, good = bench.model("bad", actions={"1": "kill", "5": "segv"}), bench.model("good")
    pool = bench.pool()
    jobs = [bench.submit(pool, bad, COUNT), bench.submit(pool, good, COUNT)]
    results = [texts(list(job.events())) for job in jobs]
    assert set(results[0]) == set(range(COUNT)) - {1, 5}
    assert set(results[1]) == set(range(COUNT))


def test_death_is_noticed_by_itself_and_not_by_silence(bench: Bench) -> None:
    never = replace(QUICK, silence_s=1e6, hang_floor_s=1e6)
    model, pool = bench.model(actions={"0": "gate_once"}), bench.pool(1, never)
    job = bench.submit(pool, model, 1)
    eventually(lambda: bool(read_log(model, "waiting")), "the worker is in segment 0")
    (pid,) = bench.note_pids(pool)
    os.kill(pid, signal.SIGKILL)
    events = list(job.events())
    assert texts(events) == {0: "text 0"}
    assert incidents(events) == ["worker_lost"]
    assert pid not in bench.note_pids(pool)


def test_a_command_that_cannot_be_read_ends_the_worker_instead_of_being_lost(
    capfd: pytest.CaptureFixture[str],
) -> None:
    spec = WorkerSpec(
        device=Device("CPU 0", "cpu"),
        engine=FACTORY,
        threads=1,
        log_level="info",
        parent_pid=os.getpid(),
        heartbeat_s=1.0,
    )
    worker = Worker(spec)
    # Pickled: a class of the caller's main program, which no worker imports.
    worker.connection.send_bytes(b"c__main__\nOfTheScript\n.")
    assert wait([worker.sentinel], PATIENCE_S) == [worker.sentinel]
    assert worker.reap() == "exit code 1"
    assert "OfTheScript" in capfd.readouterr().err
