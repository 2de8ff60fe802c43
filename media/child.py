"""The child's side of :mod:`media.process`: limits first, then the target, then the verdict."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import logging
import os
import resource
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
"""From SIGXCPU, which says why, to SIGKILL, which cannot be ignored."""

_LOST_PARENT = 1

_KEPT_VARIABLES = frozenset({"HOME", "LANG", "LC_ALL", "LC_CTYPE", "PATH", "TMPDIR", "TZ"})
"""What libraries may need at run time. Everything else may be a secret: database
addresses, keys and tokens come in through the environment."""

_OPEN_FILES = 64
"""The recording, the spool, the pipe, a model, and what Python and its libraries hold."""

_PR_SET_NO_NEW_PRIVS = 38

_ENVIRONMENT_BOUNDS = slice(47, 49)
"""``env_start`` and ``env_end`` in /proc/self/stat, counted from the field after the name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessLimits:
    """What an isolated process may take."""

    memory_bytes: int = 2 * 1024**3
    """Address space beyond what the libraries hold after import: on a machine with 128 cores their
    threads alone reserve gigabytes."""
    cpu_s: int = 2 * 3600
    """24 h of audio decode and pass the VAD in about 6 minutes of one core."""
    file_bytes: int = 8 * 1024**3
    """Largest file it may write: the spool, with room over ``DecodeLimits.max_spool_bytes``."""
    wall_clock_s: float = 4 * 3600.0
    stall_s: float = 120.0
    """Longest silence: a target sends at least one message per 20 s of audio. It also ends what
    libavformat does without a limit of its own: a million comments would take it an hour."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The target is imported and about to run."""


@dataclass(frozen=True, slots=True)
class Message:
    body: object


@dataclass(frozen=True, slots=True)
class Result:
    value: Any


@dataclass(frozen=True, slots=True)
class Failure:
    error: SubtitleError
    traceback: str


class _Pipe:
    """Sends from several threads without mixing their bytes. Without a parent the process ends."""

    def __init__(self, connection: Connection[Any, Any]) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def send(self, item: object) -> None:
        with self._lock:
            try:
                self._connection.send(item)
            except ConnectionError:
                os._exit(_LOST_PARENT)


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
        self._pipe.send(record)


def child_main(
    connection: Connection[Any, Any],
    limits: ProcessLimits,
    log_level: int,
    target: Callable[..., object],
    args: tuple[object, ...],
) -> None:
    """Entry point of the process."""
    faulthandler.enable()
    _exit_with_parent(connection)
    forget_environment()
    _apply(limits)
    pipe = _Pipe(connection)
    root = logging.getLogger()
    root.handlers = [_PipeHandler(pipe)]
    root.setLevel(log_level)
    pipe.send(Ready())
    verdict: Result | Failure
    try:
        verdict = Result(target(lambda body: pipe.send(Message(body)), *args))
    except Exception as error:
        verdict = Failure(_typed(error, limits), traceback.format_exc())
    try:
        pipe.send(verdict)
    except (PicklingError, TypeError, AttributeError) as error:
        failure = WorkerError(f"The media process's result cannot be sent: {error}")
        pipe.send(Failure(failure, traceback.format_exc()))


def _typed(error: Exception, limits: ProcessLimits) -> SubtitleError:
    """What a failure of the target is called in the parent."""
    if isinstance(error, SubtitleError):
        return error
    if isinstance(error, MemoryError):
        gib = limits.memory_bytes / 1024**3
        return MediaLimitExceeded(f"Decoding this file needs more than {gib:g} GiB of memory.")
    return WorkerError(f"The media process failed: {type(error).__name__}: {error}")


def _exit_with_parent(connection: Connection[Any, Any]) -> None:
    """End with the parent, even in the middle of a call into libav, which releases the GIL.

    PR_SET_PDEATHSIG would not do: it fires when the *thread* that started the child ends, and web
    servers run jobs on threads that come and go.
    """

    def watch() -> None:
        with contextlib.suppress(EOFError, OSError):
            connection.recv_bytes()  # the parent sends nothing more; its end closes with it
        os._exit(_LOST_PARENT)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def forget_environment() -> None:
    """Remove every variable that is not needed, from Python, the C library and /proc.

    A process starts with its parent's environment. Its libraries have been imported when
    this runs and no foreign byte has been read.
    """
    inherited = Path("/proc/self/environ").read_bytes().split(b"\0")
    pairs = [os.fsdecode(entry).partition("=") for entry in inherited if b"=" in entry]
    for name, _, _ in pairs:
        if name:
            os.unsetenv(name)
    # getenv() handed out pointers into this block; now nothing does, and it can be wiped.
    stat = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace")
    start, end = map(int, stat.rpartition(")")[2].split()[_ENVIRONMENT_BOUNDS])
    if start:
        ctypes.memset(start, 0, end - start)
    for name, _, value in pairs:
        if name in _KEPT_VARIABLES:
            os.environ[name] = value
        elif name:
            with contextlib.suppress(KeyError):
                del os.environ[name]


def _apply(limits: ProcessLimits) -> None:
    # A program that is set-uid, run from a taken-over decoder, stays what the decoder is.
    ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, _OPEN_FILES)
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
