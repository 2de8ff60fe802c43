"""The process that talks to Ray, beside the service: the only one that imports it.

    service                    bridge (one process)              node (a Ray actor for each place)
      Begin, Tell, End ──────►   two threads for each run  ────►   place.Place ──► worker process
      Places, OfRun ◄─────────   one gives, one listens    ◄────   place.Place ◄──

Ray ends a process that has lost its node, and a call may wait for a machine that is gone: neither
can hurt the service here. When the bridge ends, the service starts another one.
"""

from __future__ import annotations

import importlib
import logging
import os
import queue
import sys
import threading
import time
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

from cluster.audio import Part, cut
from cluster.code import code_here, difference
from cluster.launch import ray_variables
from cluster.models import Sums, blocks, sums_of
from cluster.place import Place
from cluster.protocol import Begin, BridgeSpec, End, Look, News, OfRun, Order, Places, Tell
from core.logs import setup_logging
from core.types import ModelSpec
from workers.devices import Device
from workers.main import die_with_parent
from workers.messages import Command, Decode, LoadModel

log = logging.getLogger(__name__)

LOOK_S = 1.0
"""Between two looks at the cluster's nodes."""

JOIN_S = 60.0
"""A new place that has not answered by then waits for a GPU that others use, or has lost its
node."""

AGAIN_S = 30.0
"""A place that could not be had is tried again after this time."""

CALLS = 8
"""Of one place at a time: news and orders, for a run and for its successor."""

NAMESPACE = "whisper-for-subs"


def bridge_main(connection: Connection, spec: BridgeSpec) -> None:
    """Entry of the process. Ends with exit code 1 when the cluster cannot be reached any more."""
    die_with_parent(spec.parent_pid)
    setup_logging(spec.log_level, log_format=spec.log_format)
    try:
        Bridge(connection, spec).run()
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        log.error("The cluster %s cannot be reached: %s", spec.address, reason[0])
        log.debug("Why the cluster cannot be reached", exc_info=True)
        logging.shutdown()
        sys.exit(1)


@dataclass(frozen=True, slots=True)
class Seat:
    """A place of a node: one of its GPUs, or some of its cores."""

    node: str
    index: int
    gpu: bool


@dataclass(slots=True, eq=False)
class Held:
    """A place that this bridge has."""

    seat: Seat
    device: Device
    actor: Any
    sending: threading.Lock
    """One for each node, so that a model is sent there once."""


@dataclass(slots=True)
class _Nodes:
    """What is known of the cluster's nodes; guarded by the bridge's lock."""

    hosts: dict[str, str] = field(default_factory=dict)
    """Host names of the nodes that are there now, by their ids."""
    names: dict[str, str] = field(default_factory=dict)
    """What nodes of which places are held are called."""
    held: dict[Seat, Held] = field(default_factory=dict)
    asked: dict[Seat, float] = field(default_factory=dict)
    """When a place may be asked for again; absent: now."""
    sending: dict[str, threading.Lock] = field(default_factory=dict)


class Bridge:
    def __init__(self, connection: Connection, spec: BridgeSpec) -> None:
        """Connects. Raises what Ray raises where that is not possible."""
        os.environ.update(ray_variables(spec.token))
        ray: Any = importlib.import_module("ray")
        self._connection, self._spec, self._ray = connection, spec, ray
        ray.init(
            address=spec.address,
            namespace=NAMESPACE,
            log_to_driver=False,
            logging_level=logging.WARNING,
        )
        # Its own devices are the service's already. A client of another machine has none there.
        local = not spec.address.startswith("ray://")
        self._own = ray.get_runtime_context().get_node_id() if local else None
        self._place = ray.remote(max_concurrency=CALLS)(Place)
        self._code = code_here()
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._nodes = _Nodes()
        self._runs: dict[int, Relay] = {}
        self._sums: dict[str, Sums] = {}

    def run(self) -> None:
        """Returns never; raises when the cluster cannot be reached any more."""
        threading.Thread(target=self._read, name="orders", daemon=True).start()
        log.info("Connected to the cluster %s", self._spec.address)
        while True:
            self._look()
            time.sleep(LOOK_S)

    def say(self, news: News) -> None:
        with self._writing:
            self._connection.send(news)

    def call(self, method: Any, *args: object, timeout_s: float | None = None) -> Any:
        """The answer of a place. Raises what it raised; what Ray raises where it is gone."""
        return self._ray.get(method.remote(*args), timeout=timeout_s)

    def _read(self) -> None:
        while True:
            try:
                order = cast(Order, self._connection.recv())
            except (EOFError, OSError):
                # The service is gone; the actors go with this process.
                logging.shutdown()
                os._exit(0)
            if isinstance(order, Begin):
                self._begin(order)
            elif isinstance(order, Tell) and order.run in self._runs:
                self._runs[order.run].orders.put(order.command)
            elif isinstance(order, End) and order.run in self._runs:
                self._runs.pop(order.run).orders.put(None)

    def _begin(self, order: Begin) -> None:
        with self._lock:
            places = self._nodes.held.values()
            held = next((h for h in places if h.device.label == order.spec.device.label), None)
        if held is None:
            self.say(OfRun(order.run, Look(ended="its machine has left the cluster", lost=True)))
            return
        self._runs[order.run] = Relay(self, held, order)

    def _look(self) -> None:
        """Find out which nodes are there, and ask for the places of new ones."""
        nodes = {
            each["NodeID"]: each
            for each in self._ray.nodes()
            if each["Alive"] and each["NodeID"] != self._own and self._seats(each)
        }
        now = time.monotonic()
        with self._lock:
            known = self._nodes
            known.hosts = {node: str(it["NodeManagerHostname"]) for node, it in nodes.items()}
            for left in known.names.keys() - nodes.keys():
                log.info("[%s] has left the cluster", known.names.pop(left))
            seats = [seat for each in nodes.values() for seat in self._seats(each)]
            gone = [seat for seat in known.held if seat not in seats]
            for seat in gone:
                del known.held[seat]
            wanted = [s for s in seats if s not in known.held and known.asked.get(s, 0.0) <= now]
            for seat in wanted:
                known.asked[seat] = now + JOIN_S + AGAIN_S
        if gone:
            self._tell_places()
        for seat in wanted:
            threading.Thread(target=self._join, args=(seat,), daemon=True).start()

    def _name(self, node: str) -> str:
        """Its host name; the second of that name gets a number. A machine that was started again
        has its name back, although Ray may still count its former self among the nodes."""
        names = self._nodes.names
        used = {names[held.seat.node] for held in self._nodes.held.values()}
        if not any(held.seat.node == node for held in self._nodes.held.values()):
            host, number = self._nodes.hosts.get(node, node), 2
            names[node] = host
            while names[node] in used:
                names[node], number = f"{host}-{number}", number + 1
        return names[node]

    def _seats(self, node: dict[str, Any]) -> list[Seat]:
        resources = node["Resources"]
        gpus = int(resources.get("GPU", 0))
        count = gpus or int(resources.get("CPU", 0)) // self._spec.threads
        return [Seat(node["NodeID"], index, gpus > 0) for index in range(count)]

    def _join(self, seat: Seat) -> None:
        """Have a place: an actor on the node, with the same code, that holds a GPU or cores."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        host, actor = self._nodes.hosts.get(seat.node, seat.node), None
        try:
            actor = self._place.options(
                num_gpus=int(seat.gpu),
                num_cpus=0 if seat.gpu else self._spec.threads,
                scheduling_strategy=NodeAffinitySchedulingStrategy(seat.node, soft=False),
            ).remote()
            differs = difference(self._code, self.call(actor.code, timeout_s=JOIN_S))
            if differs:
                raise OtherCode(f"it has {differs}: install the service's version there")
            device: Device = self.call(actor.device, seat.index, timeout_s=JOIN_S)
        except Exception as error:
            # Whatever it is, it is one machine's; the next look tries again.
            log.warning("[%s] cannot be used: %s", host, _short(error))
            log.debug("[%s] Why it cannot be used", host, exc_info=True)
            if actor is not None:
                self.drop(actor)
            with self._lock:
                self._nodes.asked[seat] = time.monotonic() + AGAIN_S
            return
        with self._lock:
            name = self._name(seat.node)
            device = replace(device, label=f"{name} {device.label}", node=name)
            sending = self._nodes.sending.setdefault(seat.node, threading.Lock())
            self._nodes.held[seat] = Held(seat, device, actor, sending)
        log.info("[%s] has joined", device.label)
        self._tell_places()

    def lost(self, held: Held) -> None:
        """The place is gone: it is asked for again if its node is still there."""
        with self._lock:
            if self._nodes.held.get(held.seat) is not held:
                return
            del self._nodes.held[held.seat]
            self._nodes.asked[held.seat] = time.monotonic() + LOOK_S
        self._tell_places()

    def drop(self, actor: Any) -> None:
        """End it, wherever it is: cut off for a while only, it would keep its device for itself."""
        try:
            self._ray.kill(actor)
        except Exception as error:
            log.debug("A place cannot be ended: %s", _short(error))

    def _tell_places(self) -> None:
        with self._lock:
            devices = tuple(held.device for held in self._nodes.held.values())
        self.say(Places(devices))

    def sums(self, model: ModelSpec) -> Sums:
        """Of the model's files here, read once. Raises OSError."""
        if model.path not in self._sums:
            self._sums[model.path] = sums_of(Path(model.path))
        return self._sums[model.path]


class OtherCode(Exception):
    """A node that would decode otherwise, or not understand what it is told."""


class Relay:
    """One worker on another machine, from this end."""

    def __init__(self, bridge: Bridge, held: Held, order: Begin) -> None:
        self._bridge, self._held, self._number = bridge, held, order.run
        self.orders: queue.SimpleQueue[Command | None] = queue.SimpleQueue()
        """None: kill it."""
        self._closed = False
        threading.Thread(target=self._give, args=(order,), daemon=True).start()

    def _give(self, order: Begin) -> None:
        actor, bridge = self._held.actor, self._bridge
        try:
            bridge.call(actor.begin, self._number, order.spec)
            threading.Thread(target=self._listen, daemon=True).start()
            while (command := self.orders.get()) is not None:
                bridge.call(actor.tell, self._number, *self._ready(command))
            self._closed = True
            bridge.call(actor.end, self._number)
        except Exception as error:
            self._fail(error)

    def _listen(self) -> None:
        try:
            ended: str | None = None
            while ended is None:
                heard: Look = self._bridge.call(self._held.actor.listen, self._number)
                ended = heard.ended
                if not self._closed:
                    self._bridge.say(OfRun(self._number, heard))
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        """The machine is gone, or what runs there does not answer: ask for the place again."""
        # Told first: the slot goes before its worker's end can be held against it.
        self._bridge.lost(self._held)
        if not self._closed:
            self._closed = True
            self._bridge.say(OfRun(self._number, Look(ended=_short(error), lost=True)))
        self._bridge.drop(self._held.actor)

    def _ready(self, command: Command) -> tuple[Command, Sums | None, tuple[Part, ...]]:
        """With all that it needs on the other machine: the model's files are there, the audio goes
        along."""
        if isinstance(command, LoadModel):
            return command, self._provide(command.model), ()
        if isinstance(command, Decode):
            return command, self._provide(command.request.model), cut(command)
        return command, None, ()

    def _provide(self, model: ModelSpec) -> Sums:
        """Send the model's files unless the node has the same."""
        bridge, actor = self._bridge, self._held.actor
        sums = bridge.sums(model)
        with self._held.sending:
            if bridge.call(actor.has_model, model, sums):
                return sums
            begun = time.monotonic()
            log.info("[%s] Model %s is sent there", self._held.device.label, model.name)
            for name in sums:
                for block in blocks(Path(model.path) / name):
                    bridge.call(actor.receive_model, sums, name, block)
            bridge.call(actor.receive_model, sums, None)
            seconds = time.monotonic() - begun
            log.info(
                "[%s] Model %s arrived in %.1f s", self._held.device.label, model.name, seconds
            )
        return sums


def _short(error: Exception) -> str:
    """The cause in a line: Ray wraps what another machine raised, with that machine's traceback."""
    cause = getattr(error, "cause", None) or error
    lines = str(cause).strip().splitlines()
    name = type(cause).__name__
    return f"{name}: {lines[0]}" if lines else name
