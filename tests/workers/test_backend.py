"""The pool with another kind of worker: what does the work is known by its interface alone."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from pathlib import Path

import pytest

from core.errors import Cancelled
from core.types import ModelSpec
from tests.waiting import PATIENCE_S, eventually
from tests.workers.conftest import QUICK, Bench, gaps, incidents, texts
from tests.workers.scripted_engine import ScriptedEngine, load_engine, read_log
from workers.backend import SlotBackend
from workers.devices import Device
from workers.messages import (
    CancelTask,
    Command,
    Decode,
    Heartbeat,
    LoadEnded,
    LoadModel,
    Message,
    Stop,
    TaskDone,
    WorkerReady,
    WorkerSpec,
)
from workers.pool import WorkerPool
from workers.reporting import TaskReporter
from workers.worker import Worker

THREADS = "threads of this process"


class ThreadBackend:
    """Commands in a queue, messages in a pipe, the scripted engine in a thread. It ends when the
    thread does, which closes its end of the pipe."""

    pid = None
    lost = False

    def __init__(self, spec: WorkerSpec) -> None:
        self.spec = spec
        self.spawned_s = self.heard_s = time.monotonic()
        self.closed_s: float | None = None
        self.killed_s: float | None = None
        self.reason = "its thread ended"
        self.stopping = threading.Event()
        self.cancelled: set[int] = set()
        self.commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self.ours: Connection[Message, Message]
        self.ours, self.theirs = Pipe()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    # What the pool calls.

    @property
    def ended(self) -> bool:
        return self.closed_s is not None or not self.thread.is_alive()

    def waitables(self) -> list[Connection[Message, Message]]:
        return [self.ours]

    def send(self, command: Command) -> None:
        if isinstance(command, CancelTask):
            self.cancelled.add(command.task_id)
        else:
            self.commands.put(command)

    def messages(self) -> Iterator[Message]:
        try:
            while self.closed_s is None and self.ours.poll(0):
                message = self.ours.recv()
                self.heard_s = time.monotonic()
                yield message
        except EOFError:
            self.closed_s = time.monotonic()

    def kill(self, reason: str) -> None:
        if self.killed_s is None:
            self.killed_s, self.reason = time.monotonic(), reason
            self.stopping.set()
            self.commands.put(Stop())

    def reap(self) -> str:
        self.thread.join(PATIENCE_S)
        self.ours.close()
        return self.reason

    # The thread.

    def run(self) -> None:
        with self.theirs, suppress(SystemExit):
            engines: dict[ModelSpec, ScriptedEngine] = {}
            self.theirs.send(WorkerReady())
            while True:
                try:
                    command = self.commands.get(timeout=self.spec.heartbeat_s)
                except queue.Empty:
                    self.theirs.send(Heartbeat())
                    continue
                if isinstance(command, Stop):
                    return
                if isinstance(command, LoadModel):
                    engines = {command.model: load_engine(command.model)}
                    self.theirs.send(LoadEnded(command.model, 0.0))
                elif isinstance(command, Decode):
                    self.decode(engines[command.request.model], command)

    def decode(self, engine: ScriptedEngine, task: Decode) -> None:
        reporter = TaskReporter(task, self.theirs.send)
        with suppress(Cancelled):
            engine.decode(
                task.spool,
                task.segments,
                task.request.options,
                on_started=reporter.started,
                on_result=reporter.result,
                on_error=reporter.error,
                should_stop=lambda: self.stopping.is_set() or task.task_id in self.cancelled,
            )
        self.theirs.send(TaskDone(task.task_id, 0.0))


def start(spec: WorkerSpec) -> SlotBackend:
    """A pool may have workers of more than one kind."""
    return ThreadBackend(spec) if spec.device.name == THREADS else Worker(spec)


@pytest.fixture(autouse=True)
def _visible(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine asks for it; worker processes are told, this one is not."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def pool_of(bench: Bench, *devices: Device) -> WorkerPool:
    pool = WorkerPool(
        devices, engine="tests.workers.scripted_engine:load_engine", limits=QUICK, start=start
    )
    bench.pools.append(pool)
    return pool


def thread(index: int) -> Device:
    return Device(f"thread {index}", "cpu", name=THREADS)


@pytest.mark.parametrize(
    ("action", "incident"), [("raise_once", "segment_retried"), ("sys_exit_once", "worker_lost")]
)
def test_a_segment_that_failed_on_another_kind_of_worker_is_tried_again(
    bench: Bench, action: str, incident: str
) -> None:
    model, pool = bench.model(actions={"1": action}), pool_of(bench, thread(0), thread(1))
    job = bench.submit(pool, model, 6)
    events = list(job.events())
    assert len(texts(events)) == 6
    assert gaps(events) == {}
    assert incidents(events) == [incident]
    assert job.reports[1].attempts == 2
    assert [status.pid for status in pool.status()] == [None, None]


def test_processes_and_other_workers_share_a_job(bench: Bench) -> None:
    model = bench.model(actions={"0": "gate"})
    pool = pool_of(bench, thread(0), Device("CPU 0", "cpu"))
    pool.preload(model).result(PATIENCE_S)
    assert [status.pid is None for status in pool.status()] == [True, False]
    job = bench.submit(pool, model, 4, batch_size=1)
    eventually(lambda: len(job.reports) == 3, "one worker holds segment 0, the other does the rest")
    assert [entry["gate"] for entry in read_log(model, "waiting")] == ["gate"]
    Path(model.path, "gate").touch()
    assert len(texts(list(job.events()))) == 4
    assert {report.device for report in job.reports} == {"thread 0", "CPU 0"}


def test_another_kind_of_worker_can_be_cancelled_and_replaced(bench: Bench) -> None:
    model, pool = bench.model(actions={"0": "gate"}), pool_of(bench, thread(0))
    job = bench.submit(pool, model, 2)
    eventually(lambda: bool(read_log(model, "waiting")), "the worker is in segment 0")
    job.cancel()
    assert job.wait(PATIENCE_S)
    (released,) = pool.release()
    assert (released.outcome, released.freed_mib) == ("unloaded", None)
    assert len(texts(list(bench.submit(pool, bench.model("other"), 2).events()))) == 2
