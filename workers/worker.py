"""The parent's handle of one worker process: start it, talk to it, know how it ended.

Used by the supervisor thread only. Processes are started from that thread and from no other:
Linux sends a child its parent-death signal when the *thread* that started it ends.
"""

from __future__ import annotations

import logging
import multiprocessing
import signal
import time
from collections.abc import Iterator
from multiprocessing import resource_tracker
from typing import cast

from workers.main import worker_main
from workers.messages import Command, Message, WorkerSpec

log = logging.getLogger(__name__)

SPAWN = multiprocessing.get_context("spawn")
"""Never ``fork``: the parent has threads, and CUDA does not survive a fork."""

STUCK_S = 5.0
"""A killed process that has not ended by then is stuck in the kernel (a driver's uninterruptible
wait); nobody can do more about it, and its slot goes on without it."""

REAP_S = 1.0
"""Longest wait for a process whose end was announced or given up on."""


class Worker:
    """One process and the parent's end of its pipe."""

    def __init__(self, spec: WorkerSpec) -> None:
        """Raises OSError where the system has no process or descriptor left."""
        self.spec = spec
        self.spawned_s = self.heard_s = time.monotonic()
        self.pipe_open = True
        self.closed_s: float | None = None
        """When the pipe ended. Normally the process has then ended too, or is about to."""
        self.killed_s: float | None = None
        self._kill_reason: str | None = None
        # Ctrl-C reaches every process of the terminal. Blocked here, it is blocked in the child
        # from its first instruction on, before the child can ignore it by itself. The tracker
        # comes first, because starting it unblocks the signal again.
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        self.connection, theirs = SPAWN.Pipe(duplex=True)
        self._process = SPAWN.Process(
            target=worker_main,
            args=(theirs, spec),
            name=f"whisper worker {spec.slot.label}",
            # Only a second net below atexit: the interpreter terminates daemons and joins others.
            daemon=True,
        )
        try:
            self._process.start()
        except BaseException:
            self.connection.close()
            raise
        finally:
            # Ours must close, or the pipe would never report the worker's death.
            theirs.close()
        self.sentinel: int = self._process.sentinel
        self.pid = cast(int, self._process.pid)

    def send(self, command: Command) -> None:
        """A worker that is gone already is no error here: its sentinel tells."""
        if self.pipe_open:
            try:
                self.connection.send(command)
            except OSError as error:
                log.debug("[%s] not sent, the pipe is closed: %s", self.spec.slot.label, error)
                self.pipe_open = False
                self.closed_s = time.monotonic()

    def messages(self) -> Iterator[Message]:
        """What has arrived, without waiting; also after the process died."""
        while self.pipe_open:
            try:
                if not self.connection.poll(0):
                    return
                message = self.connection.recv()
            except (EOFError, OSError):
                self.pipe_open = False
                self.closed_s = time.monotonic()
                return
            except Exception as error:
                # Unpickling runs foreign constructors, so anything may come out of it.
                log.exception("[%s] sent something unreadable", self.spec.slot.label)
                self.pipe_open = False
                self.kill(f"sent something unreadable: {error}")
                return
            self.heard_s = time.monotonic()
            yield cast(Message, message)

    def kill(self, reason: str) -> None:
        """SIGKILL, because a stuck worker may not listen to anything else. Returns at once."""
        if self.killed_s is None and self._process.is_alive():
            self.killed_s, self._kill_reason = time.monotonic(), reason
            self._process.kill()

    def reap(self) -> str:
        """Collect the ended process and close everything; say why it ended."""
        self._process.join(REAP_S)
        reason = self._kill_reason or exit_reason(self._process.exitcode)
        self.connection.close()
        self.pipe_open = False
        try:
            self._process.close()
        except ValueError:
            log.error(
                "[%s] process %d does not end after SIGKILL; left behind",
                self.spec.slot.label,
                self.pid,
            )
        return reason


def exit_reason(code: int | None) -> str:
    """Exit code in words: the signal's name where there was one."""
    if code is None:
        return "no exit code"
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
