"""The child's side of :mod:`media.process`: limits first, then the target, then the verdict."""

from __future__ import annotations

import faulthandler
import logging
import multiprocessing
import os
import resource
import signal
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from pickle import PicklingError
from typing import Any

from core.errors import MediaLimitExceeded, SubtitleError, WorkerError

Send = Callable[[object], None]

_CPU_GRACE_S = 5
"""From SIGXCPU, which says why, to SIGKILL, which nobody can ignore."""

_LOST_PARENT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessLimits:
    """What an isolated process may take."""

    memory_bytes: int = 4 * 1024**3
    """Address space beyond what the libraries hold after import: on a machine with 128 cores their
    threads alone reserve gigabytes."""
    cpu_s: int = 2 * 3600
    """24 h of audio decode and pass the VAD in about 6 minutes of one core."""
    file_bytes: int = 8 * 1024**3
    """Largest file it may write: the spool, with room over ``DecodeLimits.max_spool_bytes``."""
    wall_clock_s: float = 4 * 3600.0
    stall_s: float = 120.0
    """Longest silence: a target sends at least one message per block."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The target is imported and about to run."""


@dataclass(frozen=True, slots=True)
class Message:
    body: object


@dataclass(frozen=True, slots=True)
class LogLine:
    record: logging.LogRecord


@dataclass(frozen=True, slots=True)
class Result:
    value: Any


@dataclass(frozen=True, slots=True)
class Failure:
    error: SubtitleError
    traceback: str


class _Pipe:
    """Sends from several threads without mixing their bytes."""

    def __init__(self, connection: Connection[Any, Any]) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def send(self, item: object) -> None:
        with self._lock:
            self._connection.send(item)

    def send_message(self, body: object) -> None:
        self.send(Message(body))


class _PipeHandler(logging.Handler):
    """Log records go to the parent, which knows how and where to log."""

    def __init__(self, pipe: _Pipe) -> None:
        super().__init__()
        self._pipe = pipe

    def emit(self, record: logging.LogRecord) -> None:
        # Arguments and tracebacks need not be picklable; text is.
        if record.exc_info:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        record.msg, record.args, record.exc_info = record.getMessage(), None, None
        self._pipe.send(LogLine(record))


def child_main(
    connection: Connection[Any, Any],
    limits: ProcessLimits,
    log_level: int,
    target: Callable[..., object],
    args: tuple[object, ...],
) -> None:
    """Entry point of the spawned process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    faulthandler.enable()
    # What ps and top show; the kernel keeps 15 characters.
    Path("/proc/self/comm").write_text(multiprocessing.current_process().name, encoding="utf-8")
    _exit_with_parent()
    _apply(limits)
    pipe = _Pipe(connection)
    root = logging.getLogger()
    root.handlers = [_PipeHandler(pipe)]
    root.setLevel(log_level)
    try:
        pipe.send(Ready())
        _send_verdict(pipe, _verdict(pipe, limits, target, args))
    except BrokenPipeError:
        os._exit(_LOST_PARENT)
    finally:
        connection.close()


def _send_verdict(pipe: _Pipe, verdict: Result | Failure) -> None:
    try:
        pipe.send(verdict)
    except (PicklingError, TypeError, AttributeError) as error:
        failure = WorkerError(f"The media process's result cannot be sent: {error}")
        pipe.send(Failure(failure, traceback.format_exc()))


def _verdict(
    pipe: _Pipe,
    limits: ProcessLimits,
    target: Callable[..., object],
    args: tuple[object, ...],
) -> Result | Failure:
    try:
        return Result(target(pipe.send_message, *args))
    except BrokenPipeError:
        raise
    except SubtitleError as error:
        return Failure(error, traceback.format_exc())
    except MemoryError:
        gib = limits.memory_bytes / 1024**3
        return Failure(
            MediaLimitExceeded(f"Decoding this file needs more than {gib:g} GiB of memory."),
            traceback.format_exc(),
        )
    except Exception as error:
        return Failure(
            WorkerError(f"The media process failed: {type(error).__name__}: {error}"),
            traceback.format_exc(),
        )


def _exit_with_parent() -> None:
    """End with the parent, even in the middle of a call into libav, which releases the GIL.

    PR_SET_PDEATHSIG would not do: it fires when the *thread* that started the child ends, and web
    servers run jobs on threads that come and go.
    """
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(_LOST_PARENT)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def _apply(limits: ProcessLimits) -> None:
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, limits.file_bytes)
    _limit(resource.RLIMIT_CPU, limits.cpu_s, limits.cpu_s + _CPU_GRACE_S)
    _limit(resource.RLIMIT_AS, _address_space_bytes() + limits.memory_bytes)


def _limit(kind: int, soft: int, hard: int | None = None) -> None:
    """Lower a limit; a stricter one that is already there stays."""
    ceiling = resource.getrlimit(kind)[1]
    hard = soft if hard is None else hard
    if ceiling != resource.RLIM_INFINITY:
        soft, hard = min(soft, ceiling), min(hard, ceiling)
    resource.setrlimit(kind, (soft, hard))


def _address_space_bytes() -> int:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[0]
    return int(pages) * resource.getpagesize()
