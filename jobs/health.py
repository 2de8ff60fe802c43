"""How a service is: what health checks and the page ask, put together from what is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from core.known_errors import recognise
from jobs.engines import Engines
from workers.fleet import WorkerStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    alive: bool
    """The service takes calls."""
    ready: bool
    """A job that comes now can be worked on."""
    workers: tuple[WorkerStatus, ...]
    """Empty before the first job or preload."""
    reason: str = ""
    """Why it is not ready."""
    degraded: str = ""
    """What is missing while the rest goes on: a device that was taken out, the database."""
    database: bool = True
    """The job database answered when it was last asked."""
    incidents: Mapping[str, int] = field(default_factory=dict)
    """Faults of workers since the start, by the kinds of ``core.events.Incident``."""


def health_of(engines: Engines, *, database: bool, closing: bool) -> Health:
    """Cheap: asks no worker and opens nothing."""
    workers = engines.workers()
    out = [worker.label for worker in workers if worker.state == "retired"]
    reason = engines.not_ready
    if closing:
        reason = "The service is stopping."
    elif workers and len(out) == len(workers):
        reason = "No device is left: all workers died or failed again and again."
        reason = " ".join([reason, *_fixes(workers)])
    elif not database:
        reason = reason or "The job database does not answer."
    missing = [f"{label} is out of service" for label in out]
    if not database:
        missing.append("the job database does not answer")
    return Health(
        alive=not closing,
        ready=not reason,
        workers=workers,
        reason=reason,
        degraded="; ".join(missing),
        database=database,
        incidents=engines.incidents(),
    )


def _fixes(workers: Sequence[WorkerStatus]) -> list[str]:
    """What to do about the faults of devices that are known."""
    known = (recognise(worker.reason) for worker in workers)
    return list(dict.fromkeys(each.fix for each in known if each is not None))
