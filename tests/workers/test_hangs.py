"""When silence is a hang, and when it is not."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import replace
from pathlib import Path

from core.pcm import PcmSpool
from core.pool_job import DecodeRequest, PoolJob
from core.types import DecodeOptions, ModelSpec
from tests.waiting import PATIENCE_S, eventually
from tests.workers.conftest import HANG_S, QUICK, Bench, incidents, segment, texts
from tests.workers.scripted_engine import read_log
from tests.workers.test_scheduler import NOBODY
from workers.devices import Device
from workers.limits import PoolLimits
from workers.messages import Decode
from workers.pending import PendingSegment, PoolJobState, Task
from workers.pool import WorkerPool
from workers.slot_state import SlotState
from workers.worker_slot import WorkerSlot

TINY = ModelSpec("tiny", "/tiny", "int8", "cpu")
LIMITS = PoolLimits()
ALERT = replace(QUICK, silence_s=HANG_S, pause_s=HANG_S / 4)
TRUSTING = replace(QUICK, silence_s=1e6, pause_s=1e6)
"""Only the deadline of the work itself is looked at."""


def task(windows: int, batch_size: int = 8) -> Task:
    options = DecodeOptions(language="en", batch_size=batch_size)
    request, spool = DecodeRequest(model=TINY, options=options), PcmSpool(Path("x"))
    state = PoolJobState(PoolJob(request, spool, lambda event: None, NOBODY))
    entry = PendingSegment(segment(0, windows=windows))
    return Task(Decode(1, request, spool, (entry.segment,)), state, {0: entry}, 0.0, 0.0)


def test_patience_follows_one_batch_and_not_the_whole_task() -> None:
    cpu, gpu = WorkerSlot(Device("CPU 0", "cpu")), WorkerSlot(Device("GPU 0", "cuda", "0"))
    assert cpu.hang_s(task(1), LIMITS) == 120 + 10 * 30
    assert cpu.hang_s(task(100), LIMITS) == cpu.hang_s(task(8), LIMITS) == 120 + 10 * 240
    assert gpu.hang_s(task(8), LIMITS) == 120 + 2 * 240


def test_patience_follows_the_measured_speed() -> None:
    slot = WorkerSlot(Device("GPU 0", "cuda", "0"))
    slot.measure(task(8), 2.4)  # a hundredth of the 240 s
    assert slot.hang_s(task(8), LIMITS) == 30 + 10 * 2.4
    slot.measure(task(8), 24.0)
    assert slot.hang_s(task(8), LIMITS) == 30 + 10 * 24
    slot.measure(task(8), 2.4)
    assert 30 + 10 * 2.4 < slot.hang_s(task(8), LIMITS) < 30 + 10 * 24


def test_after_a_hang_the_slot_is_believed_to_be_slower() -> None:
    slot = WorkerSlot(Device("GPU 0", "cuda", "0"))
    slot.measure(task(8), 2.4)
    slot.task, slot.state = task(8), SlotState.HUNG
    slot.bury("no progress for 54 s", 0.0, LIMITS)
    assert slot.hang_s(task(8), LIMITS) == 30 + 10 * 2.4 * 4


def deadlines(pool: WorkerPool, heartbeats: int) -> set[float]:
    """When the only worker was to be killed if it stayed as it was, over so many heartbeats."""
    (slot,) = pool._supervisor.pool.slots
    heard: set[float] = set()
    found: set[float] = set()

    def listened() -> bool:
        deadline = slot.deadline(TRUSTING)
        assert slot.worker is not None
        assert deadline is not None
        heard.add(slot.worker.heard_s)
        found.add(deadline.at_s)
        return len(heard) > heartbeats

    eventually(listened, "the worker has sent heartbeats")
    return found


def test_worker_that_shows_progress_is_slow_and_does_not_hang(bench: Bench) -> None:
    model, pool = bench.model(actions={"0": "gate"}), bench.pool(1, TRUSTING)
    job = bench.submit(pool, model, 1)
    eventually(lambda: bool(read_log(model, "waiting")), "the worker is in segment 0")
    assert len(deadlines(pool, 10)) > 3, "progress puts the deadline off again and again"
    Path(model.path, "gate").touch()
    assert len(texts(list(job.events()))) == 1


def test_heartbeats_alone_are_no_progress(bench: Bench) -> None:
    model, pool = bench.model(actions={"0": "hang"}), bench.pool(1, TRUSTING)
    job = bench.submit(pool, model, 1)
    eventually(lambda: bool(read_log(model, "waiting")), "the worker is in segment 0")
    assert len(deadlines(pool, 5)) <= 2, "the first may still be that of the start"
    job.cancel()
    assert job.wait(PATIENCE_S)


def test_stopped_worker_is_found_by_its_missing_heartbeats(bench: Bench) -> None:
    """Long before its work would count as hanging: the deadline of the task is minutes away."""
    model, pool = bench.model(actions={"0": "gate_once"}), bench.pool(1, ALERT)
    job = bench.submit(pool, model, 2)
    eventually(lambda: bool(read_log(model, "waiting")), "the worker is in segment 0")
    os.kill(bench.note_pids(pool)[0], signal.SIGSTOP)
    events = list(job.events())
    assert len(texts(events)) == 2
    assert incidents(events) == ["worker_hung"]


def test_idle_worker_that_was_stopped_is_replaced(bench: Bench) -> None:
    model, pool = bench.model(), bench.pool(1, ALERT)
    pool.preload(model).result(PATIENCE_S)
    (first,) = bench.note_pids(pool)
    os.kill(first, signal.SIGSTOP)
    eventually(lambda: pool.status()[0].pid not in (None, first), "it is replaced")
    assert pool.counters() == {"worker_hung": 1}


def test_pause_of_the_pool_itself_is_nobodys_silence(bench: Bench) -> None:
    """As in a suspended laptop: parent and worker stand still together, and go on together."""
    model, pool = bench.model(actions={"0": "gate_once"}), bench.pool(1, ALERT)
    job = bench.submit(pool, model, 2)
    eventually(lambda: bool(read_log(model, "waiting")), "the worker is in segment 0")
    (pid,) = bench.note_pids(pool)
    paused, release = threading.Event(), threading.Event()

    def pause() -> None:
        paused.set()
        assert release.wait(PATIENCE_S)

    pool._supervisor.post(pause)
    assert paused.wait(PATIENCE_S)
    os.kill(pid, signal.SIGSTOP)
    release.wait(2 * ALERT.silence_s)  # the pause itself, longer than silence may be
    release.set()
    os.kill(pid, signal.SIGCONT)
    Path(model.path, "gate").touch()
    events = list(job.events())
    assert len(texts(events)) == 2
    assert incidents(events) == []
    assert bench.note_pids(pool) == [pid]
