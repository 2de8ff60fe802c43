"""What runs inside a worker process.

    parent ──pipe──► reader thread ──► commands ──► main thread: load, decode
                          │ CancelTask, Stop              │
                          └──► should_stop() ◄────────────┤
    parent ◄──pipe── Ready, Started, Progress, … ◄────────┘
    parent ◄──pipe── Heartbeat ◄── heartbeat thread

A worker keeps nothing that matters: everything it finishes is handed over at once, so it may be
killed at any moment. It must start fast, so the engine is imported only when a model is loaded.
"""

from __future__ import annotations

import ctypes
import faulthandler
import logging
import os
import queue
import signal
import sys
import threading
import time
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import NoReturn, cast

from core.errors import ModelError, SubtitleError
from core.logs import set_job, setup_logging
from core.process_memory import return_to_system
from core.types import ModelSpec
from gpu.peaks import Peak
from workers.engine import EndpointEngineFactory, Engine, import_factory
from workers.messages import (
    CancelTask,
    Command,
    Decode,
    Heartbeat,
    LanguageDetected,
    LoadEnded,
    LoadModel,
    Message,
    Stop,
    TaskDone,
    TaskError,
    TaskProgress,
    WorkerReady,
    WorkerSpec,
)
from workers.meter import MemoryMeter
from workers.reporting import SERVERS_FAULTS, TaskReporter, portable

log = logging.getLogger(__name__)

NICENESS = 5
"""Where cores are short the page, the API and the decoder that feeds the workers go first."""

PR_SET_PDEATHSIG = 1
"""From <linux/prctl.h>."""


def worker_main(connection: Connection, spec: WorkerSpec) -> None:
    """Entry of the process. Order matters: nothing may import CTranslate2 before the environment
    is set, and nothing may take long before the process is bound to its parent's life."""
    die_with_parent(spec.parent_pid)
    faulthandler.enable()
    os.nice(NICENESS)
    setup_logging(spec.log_level, spec.device.label, spec.log_format)
    # Written, never read: the settings reach a worker through its spec. The CUDA driver and the
    # OpenMP runtime can be told in no other way.
    os.environ.update(
        CUDA_VISIBLE_DEVICES=spec.device.visible,
        # Counted as nvidia-smi and NVML count, not by speed: what was planned for a card is loaded
        # on that card.
        CUDA_DEVICE_ORDER="PCI_BUS_ID",
        OMP_NUM_THREADS=str(spec.threads),
    )
    WorkerLoop(connection, spec).run()


def die_with_parent(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent ends, however that happens."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        # It ended before the kernel knew. On other systems than Linux, the closed pipe tells.
        os._exit(0)


class WorkerLoop:
    """Takes commands one after the other; a cancel overtakes them."""

    def __init__(self, connection: Connection, spec: WorkerSpec) -> None:
        self._connection = connection
        self._spec = spec
        self._label = spec.device.label
        self._send_lock = threading.Lock()
        self._commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._cancelled: set[int] = set()
        self._stopping = threading.Event()
        self._model: ModelSpec | None = None
        self._engine: Engine | None = None
        self._meter = MemoryMeter(spec.device)

    def run(self) -> NoReturn:
        threading.Thread(target=self._read, name="pipe reader", daemon=True).start()
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()
        self.send(WorkerReady())
        while True:
            command = self._commands.get()
            if isinstance(command, LoadModel):
                self._load(command.model)
            elif isinstance(command, Decode):
                self._run_task(command)
            elif isinstance(command, Stop):
                # Without the interpreter's own end: tearing down a CUDA context may abort.
                logging.shutdown()
                _leave("stopped")

    def send(self, message: Message) -> None:
        """Raises what pickling raises; nothing has been written then."""
        try:
            with self._send_lock:
                self._connection.send(message)
        except OSError:
            _leave("the parent closed the pipe")

    def _read(self) -> None:
        while True:
            try:
                command = cast(Command, self._connection.recv())
            except (EOFError, OSError):
                _leave("the parent closed the pipe")
            except Exception:
                # For example a class of the caller's main program, which is not imported here.
                log.exception("[%s] A command cannot be read", self._label)
                os._exit(1)
            if isinstance(command, CancelTask):
                self._cancelled.add(command.task_id)
                continue
            if isinstance(command, Stop):
                self._stopping.set()
            self._commands.put(command)

    def _beat(self) -> None:
        while not self._stopping.wait(self._spec.heartbeat_s):
            self.send(Heartbeat())

    def _load(self, model: ModelSpec) -> Engine | None:
        """The engine with that model; None, after telling the parent, where it cannot be loaded."""
        if model == self._model:
            return self._engine
        if self._model is not None:
            log.info("Unloading Whisper model: %s", self._model.name)
            # CTranslate2 frees the device memory when the object goes.
            self._model = self._engine = None
            return_to_system()
        failure: SubtitleError | None = None
        if self._spec.device.endpoint is None:
            log.info("Loading Whisper model: %s on %s", model.name, model.device)
        begun = time.monotonic()
        self._meter.loads(model)
        try:
            engine = self._build(model)
            engine.warm_up()
            self._model, self._engine = model, engine
        except Exception as error:
            level = logging.DEBUG if isinstance(error, SERVERS_FAULTS) else logging.ERROR
            log.log(level, "Model %s cannot be loaded", model.name, exc_info=True)
            if not isinstance(error, SubtitleError):
                error = ModelError(
                    f"Model {model.name} cannot be loaded on {self._label}:"
                    f" {type(error).__name__}: {error}"
                )
            failure = portable(error)
        self.send(LoadEnded(model, time.monotonic() - begun, failure))
        return self._engine

    def _build(self, model: ModelSpec) -> Engine:
        factory, endpoint = import_factory(self._spec.engine), self._spec.device.endpoint
        if endpoint is None:
            return factory(model)
        return cast(EndpointEngineFactory, factory)(model, endpoint)

    def _run_task(self, task: Decode) -> None:
        begun = time.monotonic()
        peak: Peak | None = None
        model, options = task.request.model, task.request.options
        set_job(task.request.job_id)
        try:
            engine = self._load(model)
            if engine is not None:
                self._decode(engine, task)
                batch_size = min(options.batch_size, task.windows)
                peak = self._meter.worked(model, batch_size, options.beam_size)
        finally:
            self._cancelled.discard(task.task_id)
            set_job("")
        self.send(TaskDone(task.task_id, time.monotonic() - begun, peak))

    def _decode(self, engine: Engine, task: Decode) -> None:
        reported_s = time.monotonic()

        def should_stop() -> bool:
            nonlocal reported_s
            now = time.monotonic()
            if now - reported_s >= self._spec.heartbeat_s:
                # Asked between two passes, so it proves what the heartbeat thread cannot.
                reported_s = now
                self.send(TaskProgress(task.task_id))
            return self._stopping.is_set() or task.task_id in self._cancelled

        options = task.request.options
        if task.language_windows and not should_stop():
            try:
                language, probability = engine.detect_language(task.spool, task.language_windows)
            except Exception as error:
                level = logging.DEBUG if isinstance(error, SERVERS_FAULTS) else logging.ERROR
                log.log(level, "✗ Language detection failed", exc_info=True)
                self.send(TaskError(task.task_id, portable(error)))
                return
            log.info("Language: %s (%.0f%%)", language, 100 * probability)
            self.send(LanguageDetected(task.task_id, language, probability))
            options = replace(options, language=language)
        reporter = TaskReporter(task, self.send)
        try:
            if not should_stop():
                engine.decode(
                    task.spool,
                    task.segments,
                    options,
                    on_started=reporter.started,
                    on_result=reporter.result,
                    on_error=reporter.error,
                    should_stop=should_stop,
                )
        except Exception as error:
            if not should_stop():
                reporter.fail_rest(error)
        else:
            if not should_stop():
                reporter.check_complete()


def _leave(reason: str) -> NoReturn:
    """End now: without a parent the work is useless, and the main thread may be deep in it."""
    log.debug("Worker ends: %s", reason)
    os._exit(0)
