"""What all parts of the pool share: its slots and jobs, and the report of incidents.

An incident is something that went wrong and was dealt with: one log line, one count, and one event
to each job concerned. All of them go through here, so that log, history and counters agree.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from core.events import Incident
from core.memory_ladder import Event, Situation, Step, next_step
from core.types import ModelSpec
from workers.limits import PoolLimits
from workers.pending import PendingSegment, PoolJobState
from workers.routing import hopes
from workers.worker_slot import WorkerSlot

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class PoolState:
    """Owned by the supervisor's thread; any thread may read ``counters``."""

    slots: list[WorkerSlot]
    """Endpoints come and go."""
    limits: PoolLimits
    jobs: list[PoolJobState] = field(default_factory=list)
    counters: Mapping[str, int] = field(default_factory=dict)
    """By kind of incident, since the pool began; replaced as a whole."""
    _counts: Counter[str] = field(default_factory=Counter)

    def limits_of(self, slot: WorkerSlot) -> PoolLimits:
        return self.limits if slot.endpoint is None else self.limits.of_endpoints()

    def concerned(self, slot: WorkerSlot) -> list[PoolJobState]:
        """The jobs that count on a slot."""
        return [state for state in self.jobs if slot in hopes(state, self.slots)]

    def tell(
        self,
        kind: str,
        text: str,
        jobs: Iterable[PoolJobState] | None = None,
        *,
        slot: WorkerSlot | None = None,
        segments: Sequence[PendingSegment] = (),
        level: int | None = logging.WARNING,
        count: bool = True,
    ) -> None:
        """Report an incident.

        Args:
            jobs: those it concerns; None: all.
            segments: those it concerns; the event names the first.
            level: of the log line; None: it is in the log already.
            count: False: it is counted already.
        """
        concerned = list(self.jobs if jobs is None else jobs)
        device = None if slot is None else slot.label
        index = segments[0].index if segments else None
        if level is not None:
            ids = ", ".join(filter(None, (state.job.request.job_id for state in concerned)))
            about = {"job": ids, "device": device, "segment": index}
            log.log(level, "%s", f"[{device}] {text}" if device else text, extra=about)
        self._counts[kind] += count
        self.counters = MappingProxyType(dict(self._counts))
        incident = Incident(kind, text, device, index)
        for state in concerned:
            if state.ending is None:
                state.job.emit(incident)

    def taken_out(self, slot: WorkerSlot) -> None:
        """Tell all jobs that they go on without this slot; once, however often it is tried."""
        breaker = slot.breaker
        if slot.endpoint is not None:
            self._endpoint_out(slot)
            return
        minutes = breaker.wait_s(self.limits) / 60
        if breaker.outs > 1:
            log.warning(
                "[%s] still fails: %s. Next try in %.3g min.", slot.label, breaker.reason, minutes
            )
            return
        self.tell(
            "device_out",
            f"{slot.label} is taken out: {breaker.reason}. It is tried again in {minutes:.3g} min.",
            self.concerned(slot),
            slot=slot,
            level=logging.ERROR,
        )

    def _endpoint_out(self, slot: WorkerSlot) -> None:
        """A server may be away for days: after the first time no line, unless it now refuses."""
        breaker = slot.breaker
        if breaker.refused:
            then = "It is not asked again until its settings change or a test of it succeeds."
        else:
            then = f"It is tried again in {breaker.wait_s(self.limits_of(slot)):.3g} s."
        text = f"{slot.label} is taken out: {breaker.reason}. {then}"
        if breaker.outs > 1 and not breaker.refused:
            log.debug("[%s] %s", slot.label, text)
            return
        self.tell("device_out", text, self.concerned(slot), slot=slot, level=logging.ERROR)

    def model_refused(self, slot: WorkerSlot, model: ModelSpec, *, logged: bool = False) -> None:
        """Tell the jobs that want it that a slot does not load a model. ``model`` as it is there;
        ``logged``: the worker has logged it with its traceback."""
        wanted = [state for state in self.jobs if model in slot.variants(state.model)]
        text = f"{slot.label} cannot load model {model.name}: {slot.refused[model].message}"
        going_on: list[PoolJobState] = []
        for state in wanted:
            left = {Situation.LOWER_TYPE_LEFT: bool(slot.left(state.model))}
            if next_step(Event.CANNOT_LOAD, left) is Step.LOWER_TYPE:
                going_on.append(state)
        if going_on:
            other = slot.local(going_on[0].model)
            self.tell(
                "precision_changed",
                f"{text} It goes on with {other.compute_type} instead of {model.compute_type}.",
                going_on,
                slot=slot,
            )
        self.tell(
            "model_refused",
            text,
            [state for state in wanted if state not in going_on],
            slot=slot,
            level=None if logged else logging.ERROR,
        )


def list_of(entries: Sequence[PendingSegment]) -> str:
    """``segment 3`` or ``segments 3, 4, 5``."""
    indices = sorted({entry.index for entry in entries})
    word = "segment" if len(indices) == 1 else "segments"
    return f"{word} {', '.join(map(str, indices))}"
