"""The service's end of the cluster: which places there are, and a worker at each of them.

Everything that touches Ray is in another process (``cluster.bridge``), which is started again when
it ends: then every place is gone for a while, and the devices of this machine go on.
"""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib.util import find_spec
from itertools import count
from multiprocessing.connection import Connection
from typing import Protocol

from cluster.bridge import bridge_main
from cluster.protocol import Begin, BridgeSpec, End, Look, News, OfRun, Order, Places, Tell
from core.errors import InvalidOption
from core.logs import LogFormat
from core.processes import ChildProcess
from workers.devices import Device
from workers.messages import Command, Message, WorkerSpec

log = logging.getLogger(__name__)

AGAIN_S = 5.0
AGAIN_MAX_S = 60.0
"""A bridge that ended is started again after this time, then after twice as long."""

CLOSE_S = 5.0
"""Longest wait for the end of a killed bridge."""

SILENT_S = 10.0
"""A worker that was killed and had sent nothing for so long, ten heartbeats, had no connection."""

LOST = "the cluster cannot be reached"


class Orders(Protocol):
    """What a worker needs of its link."""

    def order(self, order: Order) -> None:
        """Have the bridge do it."""

    def forget(self, run: int) -> None:
        """Nothing of that run reaches its worker any more."""


class RemoteWorker:
    """The ``workers.backend.SlotBackend`` of a place in the cluster."""

    pid = None

    def __init__(self, link: Orders, run: int) -> None:
        self.spawned_s = self.heard_s = time.monotonic()
        self.killed_s: float | None = None
        self.closed_s: float | None = None
        self._link, self._run = link, run
        self.lost = False
        self._reason: str | None = None
        self._news: deque[Message] = deque()
        self._wake, self._waker = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._waker, False)

    @property
    def ended(self) -> bool:
        return self._reason is not None

    def waitables(self) -> Sequence[Connection | int]:
        return [self._wake]

    def send(self, command: Command) -> None:
        if not self.ended:
            self._link.order(Tell(self._run, command))

    def messages(self) -> Iterator[Message]:
        if not self.ended:
            # What wakes after this look stays for the next one; an ended worker wakes for ever.
            with suppress(BlockingIOError):
                os.read(self._wake, 4096)
        while self._news:
            self.heard_s = time.monotonic()
            yield self._news.popleft()

    def kill(self, reason: str) -> None:
        """Whether the machine can be reached or not: what it still sends is dropped."""
        if not self.ended:
            self.killed_s = time.monotonic()
            self.lost = self.killed_s - self.heard_s >= SILENT_S
            self._link.forget(self._run)
            self._link.order(End(self._run))
            self.end(reason)

    def reap(self) -> str:
        self._link.forget(self._run)
        os.close(self._wake)
        os.close(self._waker)
        return self._reason or LOST

    def heard(self, heard: Look) -> None:
        """On the link's thread, as is ``lose``."""
        self._news.extend(heard.messages)
        self.lost = heard.lost
        if heard.ended is not None:
            self.end(heard.ended)
        else:
            self._ring()

    def lose(self, reason: str) -> None:
        self.lost = True
        self.end(reason)

    def end(self, reason: str) -> None:
        if self._reason is None:
            self.closed_s, self._reason = time.monotonic(), reason
            self._ring()

    def _ring(self) -> None:
        with suppress(BlockingIOError):
            os.write(self._waker, b"!")


class ClusterLink:
    """One cluster, for one pool.

    Raises InvalidOption where Ray is not installed.
    """

    def __init__(
        self,
        address: str,
        *,
        token: str = "",
        threads: int = 1,
        log_level: str = "info",
        log_format: LogFormat = "plain",
    ) -> None:
        if find_spec("ray") is None:
            raise InvalidOption(
                "WHISPER_CLUSTER is set, and Ray is not installed.",
                hint="Install it: pip install --requirement requirements-cluster.txt",
            )
        self._spec = BridgeSpec(
            address=address,
            token=token,
            threads=threads,
            log_level=log_level,
            log_format=log_format,
            parent_pid=os.getpid(),
        )
        self._lock = threading.Lock()
        self._numbers = count(1)
        self._workers: dict[int, RemoteWorker] = {}
        self._orders: queue.SimpleQueue[Order | None] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._bridge: ChildProcess | None = None
        self._tell: Callable[[tuple[Device, ...]], None] = lambda devices: None
        self._thread = threading.Thread(target=self._serve, name="cluster", daemon=True)

    def start(self, tell: Callable[[tuple[Device, ...]], None]) -> None:
        """Look for places; ``tell`` is called with all that there are, on each change."""
        self._tell = tell
        self._thread.start()
        threading.Thread(target=self._send, name="cluster orders", daemon=True).start()

    def worker(self, spec: WorkerSpec) -> RemoteWorker:
        """A worker at a place that was told. It never raises: what goes wrong is how it ends."""
        with self._lock:
            number = next(self._numbers)
            worker = self._workers[number] = RemoteWorker(self, number)
        self.order(Begin(number, spec))
        return worker

    def order(self, order: Order) -> None:
        self._orders.put(order)

    def forget(self, run: int) -> None:
        """Nothing of that run reaches its worker any more."""
        with self._lock:
            self._workers.pop(run, None)

    def close(self) -> None:
        """End the bridge, and with it every worker of the cluster."""
        self._closed.set()
        self._orders.put(None)
        with self._lock:
            if self._bridge is not None:
                self._bridge.kill()
        if self._thread.ident is not None:
            self._thread.join(CLOSE_S)

    def _send(self) -> None:
        while (order := self._orders.get()) is not None:
            with self._lock:
                bridge = self._bridge
            if bridge is None:
                # Every run has ended with the bridge that had it; this one never begins.
                if isinstance(order, Begin):
                    self._hear(OfRun(order.run, Look(ended=LOST, lost=True)))
                continue
            with suppress(OSError):  # it has ended, which the other thread sees
                bridge.connection.send(order)

    def _serve(self) -> None:
        pause_s = AGAIN_S
        while not self._closed.is_set():
            begun_s = time.monotonic()
            bridge = ChildProcess(bridge_main, self._spec, name="whisper cluster")
            with self._lock:
                self._bridge = bridge
                if self._closed.is_set():
                    bridge.kill()
            self._listen(bridge)
            # Told first: the slots go before their workers' ends can be held against them.
            self._tell(())
            with self._lock:
                self._bridge = None
                for worker in self._workers.values():
                    worker.lose(LOST)
                self._workers.clear()
            bridge.kill()
            bridge.join(CLOSE_S)
            bridge.close()
            if time.monotonic() - begun_s > AGAIN_MAX_S:
                pause_s = AGAIN_S
            if self._closed.wait(pause_s):
                return
            pause_s = min(2 * pause_s, AGAIN_MAX_S)

    def _listen(self, bridge: ChildProcess) -> None:
        """Until it ends."""
        while True:
            try:
                news: News = bridge.connection.recv()
            except (EOFError, OSError):
                return
            if isinstance(news, Places):
                self._tell(news.devices)
            else:
                self._hear(news)

    def _hear(self, news: OfRun) -> None:
        if news.heard.log:
            sys.stderr.write(news.heard.log)
        with self._lock:
            worker = self._workers.get(news.run)
            if worker is not None:
                worker.heard(news.heard)
