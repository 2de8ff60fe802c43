"""Processes of our own, started as programs and never as copies of the caller.

    parent                                            child
    ChildProcess(target, *args) ── starts ──────────► core/child_main.py, run by its path
      .connection ── sys.path ──────────────────────► so that it finds the same modules
                  ── target and args, pickled ──────► target(connection, *args)
      .connection ◄────────── whatever the two agree on ──────────► connection
      .sentinel   ◄── ends with the process

``multiprocessing`` would import the caller's main module in every child: a script would have to
guard itself against running again, and one that came from a pipe could start none at all.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from multiprocessing.connection import Connection, Pipe, wait
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from pickle import PicklingError
from typing import Any

from core.errors import WorkerError

_MAIN = Path(__file__).resolve().with_name("child_main.py")

_REAP_EVERY_S = 0.002
"""The sentinel ends a moment before the process can be reaped."""


class ChildProcess:
    """One run of ``target(connection, *args)`` in a process of its own.

    ``target`` must be importable by name from a module. The child ignores SIGINT and has no
    standard input. Any thread may call :meth:`kill` and :meth:`join`.
    """

    def __init__(
        self, target: Callable[..., object], *args: object, name: str, stderr: int | None = None
    ) -> None:
        """Start it. ``name`` is what ``ps`` and ``top`` show; ``stderr`` the descriptor it logs to,
        None: this process's.

        Raises:
            WorkerError: the target or an argument cannot be sent to another process.
            OSError: the system has no process or descriptor left.
        """
        order = _pickled((target, args), name)
        self._lock = threading.Lock()  # a kill must not hit a pid that has been reaped
        with ExitStack() as ours, ExitStack() as theirs:
            self.connection: Connection[Any, Any]
            self.sentinel: Connection[Any, Any]
            self.connection, their_connection = Pipe(duplex=True)
            ours.enter_context(self.connection)
            theirs.enter_context(their_connection)
            self.sentinel, lifeline = Pipe(duplex=False)
            ours.enter_context(self.sentinel)
            theirs.enter_context(lifeline)
            self._process = _start(name, stderr, their_connection.fileno(), lifeline.fileno())
            # The child has copies; with ours open, too, no pipe would tell of its end.
            theirs.close()
            with suppress(ConnectionError):  # it ended at once: its sentinel tells
                self.connection.send(_import_path())
                self.connection.send_bytes(order)
            ours.pop_all()
        self.pid = self._process.pid

    @property
    def exitcode(self) -> int | None:
        """None while it runs; of a signal, its negative number."""
        with self._lock:
            return self._process.poll()

    def kill(self) -> bool:
        """SIGKILL, unless it has ended; whether it still ran. Returns at once."""
        with self._lock:
            if self._process.poll() is not None:
                return False
            self._process.kill()
            return True

    def join(self, timeout_s: float | None = None) -> int | None:
        """Wait for its end and reap it; the exit code, or None if it still runs."""
        until = None if timeout_s is None else time.monotonic() + timeout_s
        if self.exitcode is None:
            wait([self.sentinel], timeout_s)
        while (code := self.exitcode) is None and (until is None or time.monotonic() < until):
            time.sleep(_REAP_EVERY_S)
        return code

    def close(self) -> None:
        """Free the pipes. Idempotent."""
        self.connection.close()
        self.sentinel.close()


def _pickled(order: object, name: str) -> memoryview:
    try:
        return ForkingPickler.dumps(order)
    except (PicklingError, TypeError, AttributeError) as error:
        raise WorkerError(f"The process {name!r} cannot be told what to do: {error}") from error


def _start(name: str, stderr: int | None, *descriptors: int) -> subprocess.Popen[bytes]:
    # Ctrl-C reaches every process of the terminal. The mask is inherited: blocked here, the signal
    # is blocked in the child from its first instruction on, before the child can ignore it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return subprocess.Popen(
            # -P: modules of core/ must not stand before those of Python.
            [sys.executable, "-P", str(_MAIN), *map(str, descriptors), name],
            stdin=subprocess.DEVNULL,
            stderr=stderr,
            pass_fds=descriptors,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _import_path() -> list[str]:
    """Where this process finds its modules, for one that may stand in another folder."""
    found = []
    for entry in sys.path:
        with suppress(FileNotFoundError):  # relative to a working directory that is gone
            found.append(os.path.abspath(entry))
    # A script may have taken back what it added, or moved to another folder since.
    ours = str(_MAIN.parents[1])
    return found if ours in found else [*found, ours]
