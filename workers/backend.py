"""What does the work behind a slot: the one seam between the pool and where a model runs.

``workers.worker.Worker``, a process of this machine, is one implementation; a remote endpoint or a
worker on another machine is another. Scheduling, retries and the journal know only this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from multiprocessing.connection import Connection
from typing import Protocol

from workers.devices import Device
from workers.messages import Command, Message, WorkerSpec


class SlotBackend(Protocol):
    """One worker from its start to its end. Used on the supervisor's thread only, and no call may
    wait. Times are those of ``time.monotonic``."""

    spawned_s: float
    heard_s: float
    """When the last message was taken; one is due every ``WorkerSpec.heartbeat_s``."""

    @property
    def pid(self) -> int | None:
        """None where no process of this machine does the work."""

    @property
    def closed_s(self) -> float | None:
        """Since when no more messages can come; the end should follow at once."""

    @property
    def killed_s(self) -> float | None:
        """Since when it has been killed, while it may not have ended yet."""

    @property
    def ended(self) -> bool:
        """Nothing of it runs any more. Messages from before may still be there."""

    @property
    def lost(self) -> bool:
        """Its machine is gone or cannot be reached: its end is nobody's fault. Known after it."""

    def waitables(self) -> Sequence[Connection | int]:
        """What ``multiprocessing.connection.wait`` takes: ready when there is a message or the
        end."""

    def send(self, command: Command) -> None:
        """Load, decode, cancel or stop. Answered by messages; no error when it has ended."""

    def messages(self) -> Iterable[Message]:
        """What has arrived since the last call; after the end, too."""

    def kill(self, reason: str) -> None:
        """End it now, whatever it does; ``ended`` soon follows. Twice is once."""

    def reap(self) -> str:
        """Free what it held, after the end or instead of waiting for it; why it ended."""


class Cluster(Protocol):
    """Other machines, whose devices are slots of a pool as well (``cluster.link.ClusterLink``)."""

    def start(self, tell: Callable[[tuple[Device, ...]], None]) -> None:
        """Look for devices. ``tell`` is called with all that there are, on each change and from any
        thread."""

    def worker(self, spec: WorkerSpec) -> SlotBackend:
        """A worker on one of them."""

    def close(self) -> None:
        """After the last worker's end."""


StartBackend = Callable[[WorkerSpec], SlotBackend]
"""Starts one. The first message of it is ``WorkerReady``. Raises OSError where none can be had."""
