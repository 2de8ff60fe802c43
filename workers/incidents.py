"""What went wrong and was dealt with: one log line, one count, and one event to each job concerned.

Everything the pool says about faults goes through here, so that log, history and counters tell
the same story.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from core.events import Incident
from core.memory_ladder import Event, Situation, Step, next_step
from core.types import ModelSpec
from workers.pending import PendingSegment, PoolJobState
from workers.worker_slot import WorkerSlot

log = logging.getLogger(__name__)


class Incidents:
    """The supervisor's thread tells; any thread may read ``counters``."""

    def __init__(self, jobs: Sequence[PoolJobState]) -> None:
        """``jobs``: all that are in the pool, as they come and go."""
        self._jobs = jobs
        self._counts: Counter[str] = Counter()
        self.counters: Mapping[str, int] = MappingProxyType({})
        """By kind of incident, since the pool began; replaced as a whole."""

    def tell(
        self,
        kind: str,
        text: str,
        jobs: Iterable[PoolJobState],
        *,
        device: str | None = None,
        index: int | None = None,
        level: int | None = logging.WARNING,
        count: bool = True,
    ) -> None:
        """``level`` None: the line is in the log already. ``count`` False: so is the number."""
        concerned = list(jobs)
        if level is not None:
            ids = ", ".join(filter(None, (state.job.spec.job_id for state in concerned)))
            log.log(level, "%s", f"[{device}] {text}" if device else text, extra={"job": ids})
        self._counts[kind] += count
        self.counters = MappingProxyType(dict(self._counts))
        incident = Incident(kind, text, device, index)
        for state in concerned:
            if state.ending is None:
                state.job.emit(incident)

    def model_refused(self, slot: WorkerSlot, model: ModelSpec, *, logged: bool = False) -> None:
        """Tell the jobs that want it that a slot does not load a model. ``model`` as it is there;
        ``logged``: the worker has written it down with its traceback."""
        jobs = [s for s in self._jobs if model in slot.variants(s.model)]
        text = f"{slot.label} cannot load model {model.name}: {slot.refused[model].message}"
        going_on = [s for s in jobs if _next(slot, s) is Step.LOWER_TYPE]
        if going_on:
            other = slot.local(going_on[0].model)
            self.tell(
                "precision_changed",
                f"{text} It goes on with {other.compute_type} instead of {model.compute_type}.",
                going_on,
                device=slot.label,
            )
        self.tell(
            "model_refused",
            text,
            [s for s in jobs if s not in going_on],
            device=slot.label,
            level=None if logged else logging.ERROR,
        )


def list_of(entries: Sequence[PendingSegment]) -> str:
    """``segment 3`` or ``segments 3, 4, 5``."""
    indices = sorted({entry.index for entry in entries})
    word = "segment" if len(indices) == 1 else "segments"
    return f"{word} {', '.join(map(str, indices))}"


def _next(slot: WorkerSlot, state: PoolJobState) -> Step:
    """After one compute type of the job's model was refused."""
    return next_step(Event.CANNOT_LOAD, {Situation.LOWER_TYPE_LEFT: bool(slot.left(state.model))})
