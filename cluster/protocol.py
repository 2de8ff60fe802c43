"""What the service and its bridge to the cluster say to each other: plain frozen data.

Orders go from the service to the bridge, news comes back. A run is one worker from its start to its
end; its number is never used again, so that late answers are recognised and dropped.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from core.logs import LogFormat
from workers.devices import Device
from workers.messages import Command, Message, WorkerSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeSpec:
    """All that the bridge is told at its start."""

    address: str
    """``auto``, or ``ray://HOST:PORT``."""
    token: str = field(repr=False)
    """What the cluster asks of who comes; empty: nothing."""
    threads: int
    """CPU cores of each CPU worker."""
    log_level: str
    log_format: LogFormat
    parent_pid: int


@dataclass(frozen=True, slots=True)
class Begin:
    """Start a worker at a place of the cluster, which is named by its device's label."""

    run: int
    spec: WorkerSpec


@dataclass(frozen=True, slots=True)
class Tell:
    run: int
    command: Command


@dataclass(frozen=True, slots=True)
class End:
    """Kill the worker. Nothing is heard of its run any more."""

    run: int


@dataclass(frozen=True, slots=True)
class Places:
    """All places that the cluster has now."""

    devices: tuple[Device, ...]


@dataclass(frozen=True, slots=True)
class Look:
    """What came of one look at a worker."""

    messages: tuple[Message, ...] = ()
    log: str = ""
    """Lines that it has logged, in the service's format."""
    ended: str | None = None
    """Why it is gone; None while it is there."""
    lost: bool = False
    """Its machine is gone with it."""


@dataclass(frozen=True, slots=True)
class OfRun:
    run: int
    heard: Look


Order = Begin | Tell | End
News = Places | OfRun
