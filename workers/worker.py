"""The parent's handle of one worker process: start it, talk to it, know how it ended.

The ``workers.backend.SlotBackend`` of this machine's devices.

Used by the supervisor thread only. Processes are started from that thread and from no other:
Linux sends a child its parent-death signal when the *thread* that started it ends.
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from typing import cast

from core.processes import ChildProcess
from workers.main import worker_main
from workers.messages import Command, Message, WorkerSpec

log = logging.getLogger(__name__)

REAP_S = 1.0
"""Longest wait for a process whose end was announced or given up on."""


class Worker:
    """One process and the parent's end of its pipe."""

    lost = False
    """This machine is here."""

    def __init__(self, spec: WorkerSpec, *, stderr: int | None = None) -> None:
        """``stderr``: the descriptor it logs to; None: this process's.

        Raises OSError where the system has no process or descriptor left.
        """
        self.spec = spec
        self.spawned_s = self.heard_s = time.monotonic()
        self.closed_s: float | None = None
        """When the pipe ended. Normally the process has then ended too, or is about to."""
        self.killed_s: float | None = None
        self._kill_reason: str | None = None
        self._process = ChildProcess(
            worker_main, spec, name=f"whisper worker {spec.device.label}", stderr=stderr
        )
        self.connection, self.sentinel = self._process.connection, self._process.sentinel
        self.pid = self._process.pid

    @property
    def ended(self) -> bool:
        return self.sentinel.poll(0)

    def waitables(self) -> Sequence[Connection]:
        return [self.sentinel] if self.closed_s is not None else [self.sentinel, self.connection]

    def send(self, command: Command) -> None:
        """A worker that is gone already is no error here: its sentinel tells."""
        if self.closed_s is None:
            try:
                self.connection.send(command)
            except OSError as error:
                log.debug("[%s] not sent, the pipe is closed: %s", self.spec.device.label, error)
                self.closed_s = time.monotonic()

    def messages(self) -> Iterator[Message]:
        """What has arrived, without waiting; also after the process died."""
        while self.closed_s is None:
            try:
                if not self.connection.poll(0):
                    return
                message = self.connection.recv()
            except (EOFError, OSError):
                self.closed_s = time.monotonic()
                return
            except Exception as error:
                # Unpickling runs foreign constructors, so anything may come out of it.
                log.exception("[%s] sent something unreadable", self.spec.device.label)
                self.closed_s = time.monotonic()
                self.kill(f"sent something unreadable: {error}")
                return
            self.heard_s = time.monotonic()
            yield cast(Message, message)

    def kill(self, reason: str) -> None:
        """SIGKILL, because a stuck worker may not listen to anything else. Returns at once."""
        if self.killed_s is None and self._process.kill():
            self.killed_s, self._kill_reason = time.monotonic(), reason

    def reap(self) -> str:
        """Collect the ended process and close everything; say why it ended."""
        code = self._process.join(REAP_S)
        self._process.close()
        if code is None:
            log.error(
                "[%s] process %d does not end after SIGKILL; left behind",
                self.spec.device.label,
                self.pid,
            )
        return self._kill_reason or exit_reason(code)


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
