"""Opens media in a process of its own, because libav may crash or hang.

    parent                                   child (limited)
    IsolatedProcess.messages() ◄── pipe ──── target(send, *args): send(anything picklable)
              .result          ◄──────────── its return value, or its exception
              .cancel()        ──── SIGKILL ►

This contains crashes, hangs and greed for memory. It is no sandbox against a decoder that an
attacker has taken over: the child runs as the same user and its messages are unpickled.
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import wait
from typing import Generic, Self, TypeVar

from core.errors import Cancelled, MediaLimitExceeded, SubtitleError, UnreadableMedia, WorkerError
from core.processes import ChildProcess
from media.child import Failure, Message, ProcessLimits, Ready, Result, Send, child_main

__all__ = ["IsolatedProcess", "ProcessLimits", "RemoteTraceback", "Send"]

T = TypeVar("T")

_EXIT_GRACE_S = 5.0
"""A child that has closed its pipe is on its way out; longer than this and it is killed."""

_CRASHES = {signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL}


class RemoteTraceback(Exception):
    """The child's traceback as text: the ``__cause__`` of an error raised there."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


class IsolatedProcess(Generic[T]):
    """One run of ``target(send, *args)`` in a limited process. Use as a context manager.

    ``target`` must be importable by name from a module; ``send`` takes any picklable message. One
    thread receives; any thread may call :meth:`cancel`.
    """

    def __init__(
        self,
        target: Callable[..., T],
        *args: object,
        name: str = "media",
        limits: ProcessLimits | None = None,
    ) -> None:
        """Start it. ``name`` appears in error messages and in the process's own name.

        Raises:
            WorkerError: an argument cannot be sent to another process.
            OSError: the system has no process or descriptor left.
        """
        self._limits = limits or ProcessLimits()
        self.finished = False
        self.result: T
        """What the target returned. Ask when :attr:`finished`."""
        self._ready = self._cancelled = False
        self._process = ChildProcess(
            child_main,
            self._limits,
            logging.getLogger().getEffectiveLevel(),
            target,
            args,
            name=f"whisper-{name}",
        )
        self._connection = self._process.connection
        self._started_at = self._heard_at = time.monotonic()

    @property
    def pid(self) -> int:
        return self._process.pid

    def messages(self) -> Iterator[object]:
        """Everything the target sends, until it returns. Raises its exception, or the translation
        of its death."""
        while not self.finished:
            yield from self.receive()

    def receive(self, timeout_s: float | None = None) -> list[object]:
        """Wait for the next message: a list of one, or of none at the end or after ``timeout_s``.

        Raises as :meth:`messages`. Call it again within ``stall_s``: limits are checked here.
        """
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while not self.finished:
            ready = wait([self._connection, self._process.sentinel], self._patience_s(until))
            if self._connection in ready:
                item = self._read()
                if isinstance(item, Message):
                    self._enforce_wall_clock()
                    return [item.body]
                self._handle(item)
            elif ready:
                raise self._death()
            else:
                self._enforce_wall_clock()
                self._enforce_progress()
                if until is not None and time.monotonic() >= until:
                    break
        return []

    def cancel(self) -> None:
        """Kill the child; the receiving thread gets what the pipe still holds, then ``Cancelled``.
        Safe from any thread."""
        self._cancelled = True
        self._process.kill()

    def close(self) -> None:
        """Kill the child if it still runs, reap it, free the pipe. Idempotent."""
        self._process.kill()
        self._process.join()
        self._process.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _patience_s(self, until: float | None) -> float:
        ends = [self._heard_at + self._limits.stall_s, self._started_at + self._limits.wall_clock_s]
        if until is not None:
            ends.append(until)
        return max(0.0, min(ends) - time.monotonic())

    def _read(self) -> object:
        try:
            item: object = self._connection.recv()
        except (EOFError, OSError):
            raise self._death() from None
        self._heard_at = time.monotonic()
        return item

    def _handle(self, item: object) -> None:
        if isinstance(item, Ready):
            self._ready = True
        elif isinstance(item, logging.LogRecord):
            logger = logging.getLogger(item.name)
            if logger.isEnabledFor(item.levelno):
                logger.handle(item)
        elif isinstance(item, Failure):
            raise item.error from RemoteTraceback(item.traceback)
        elif isinstance(item, Result):
            self.finished, self.result = True, item.value

    def _enforce_wall_clock(self) -> None:
        if time.monotonic() - self._started_at >= self._limits.wall_clock_s:
            self._process.kill()
            raise MediaLimitExceeded(
                f"Reading the recording took longer than {self._limits.wall_clock_s:g} s."
            )

    def _enforce_progress(self) -> None:
        if time.monotonic() - self._heard_at >= self._limits.stall_s:
            self._process.kill()
            raise UnreadableMedia(
                f"The decoder made no progress for {self._limits.stall_s:g} s and was stopped."
            )

    def _death(self) -> SubtitleError:
        """Why the child is gone without a result."""
        code = self._process.join(_EXIT_GRACE_S)
        if code is None:
            self._process.kill()
            code = self._process.join()
        if self._cancelled:
            return Cancelled()
        if not self._ready:
            return WorkerError(f"The media process did not start (exit code {code}).")
        return UnreadableMedia(_epitaph(code or 0, self._limits))


def _epitaph(code: int, limits: ProcessLimits) -> str:
    if code >= 0:
        return f"The decoder ended unexpectedly (exit code {code})."
    try:
        name = signal.Signals(-code).name
    except ValueError:  # real-time signals have no name
        name = f"signal {-code}"
    if -code in _CRASHES:
        return f"The decoder crashed on this file ({name})."
    if -code == signal.SIGXCPU:
        return f"The decoder used up its {limits.cpu_s} s of processor time ({name})."
    if -code == signal.SIGKILL:
        return f"The decoder was killed ({name}), most often because memory ran out."
    return f"The decoder was stopped ({name})."
