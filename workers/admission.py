"""Which model a worker may load now: memory is asked before, not found missing after.

Asked by the scheduler for every load it has in mind, so answers that say no are kept for a moment.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from core.errors import OutOfMemory
from core.memory_ladder import Event, Situation, Step, next_step
from core.types import ModelSpec
from workers.incidents import Incidents
from workers.limits import PoolLimits
from workers.memory import Fits, LoadPlan, Neighbour, PlanBatch, Verdict
from workers.pending import PoolJobState
from workers.scheduler import batch_as_asked
from workers.worker_slot import WorkerSlot

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Answer:
    verdict: Verdict
    until_s: float


@dataclass(slots=True, eq=False)
class LoadAdmission:
    """The supervisor's thread asks."""

    fits: Fits | None
    """None: everything fits."""
    limits: PoolLimits
    max_models: int
    patient: bool
    """Wait also for memory that others than our own workers hold."""
    incidents: Incidents
    _answers: dict[tuple[str, ModelSpec], _Answer] = field(default_factory=dict)

    def may_load(
        self, slot: WorkerSlot, slots: Sequence[WorkerSlot], asked: ModelSpec, now: float
    ) -> bool:
        left = slot.left(asked)
        if self.fits is None:
            return bool(left)
        waiting: list[tuple[ModelSpec, Verdict]] = []
        for place, model in enumerate(left, 1):
            if self._fits_now(self.fits, slot, slots, model, now):
                return self._choose(slot, asked, model)
            answer = self._answers.get((slot.label, model))
            if answer is not None:
                waiting.append((model, answer.verdict))
            step = next_step(
                Event.NO_ROOM,
                {
                    Situation.LOWER_TYPE_LEFT: place < len(left),
                    Situation.ROOM_MAY_COME: self.patient or self._plan(slot, slots, model).shared,
                },
            )
            if step is Step.LOAD_ANYWAY and waiting:
                best, verdict = waiting[0]
                log.warning("[%s] %s; it is tried all the same", slot.label, verdict.text)
                return self._choose(slot, asked, best)
        return False

    def _choose(self, slot: WorkerSlot, asked: ModelSpec, model: ModelSpec) -> bool:
        self._answers.pop((slot.label, model), None)
        best = slot.variants(asked)[0]
        if model != best and slot.chosen.get(asked) != model:
            answer, refused = self._answers.get((slot.label, best)), slot.refused.get(best)
            why = answer.verdict.text if answer else refused.message if refused else "not possible"
            log.warning(
                "[%s] takes %s in %s instead of %s: %s",
                *(slot.label, model.name, model.compute_type, best.compute_type, why),
            )
        slot.chosen[asked] = model
        return True

    def _fits_now(
        self,
        fits: Fits,
        slot: WorkerSlot,
        slots: Sequence[WorkerSlot],
        model: ModelSpec,
        now: float,
    ) -> bool:
        """Ask, unless the answer is fresh; what never fits is refused, what has to wait is kept."""
        key = (slot.label, model)
        known = self._answers.get(key)
        if known is not None and now < known.until_s:
            return False
        try:
            verdict = fits(self._plan(slot, slots, model))
        except Exception:
            # An estimate must not take the pool, and every job, with it; the load will tell.
            log.exception("[%s] the memory for %s cannot be estimated", slot.label, model.name)
            verdict = Verdict("yes")
        if verdict.fit == "wait":
            self._answers[key] = _Answer(verdict, now + self.limits.memory_retry_s)
        else:
            self._answers.pop(key, None)
        if verdict.fit == "never":
            slot.refuse(model, OutOfMemory(verdict.text + ".", hint=verdict.hint or None))
            self.incidents.model_refused(slot, model)
        return verdict.fit == "yes"

    def changed(self) -> None:
        """Memory was freed: ask again for every model that waits."""
        for answer in self._answers.values():
            answer.until_s = 0.0

    def waiting_for(self, model: ModelSpec, slots: Sequence[WorkerSlot], now: float) -> str | None:
        """Why no worker loads the model yet; None when memory is not the reason."""
        if any(slot.serves(model) for slot in slots):
            return None
        for slot in slots:
            for variant in slot.variants(model):
                answer = self._answers.get((slot.label, variant))
                fresh = answer is not None and now < answer.until_s + self.limits.memory_retry_s
                if answer is not None and fresh and slot.may_serve(model):
                    return answer.verdict.text
        return None

    def _plan(self, slot: WorkerSlot, slots: Sequence[WorkerSlot], model: ModelSpec) -> LoadPlan:
        near = [other for other in slots if other is not slot and same_memory(other, slot)]
        unloaded = max(0, len(slot.models) + 1 - self.max_models)
        return LoadPlan(
            device=slot.device,
            model=model,
            fresh=not slot.models,
            replaced=slot.models[:unloaded],
            in_flight=tuple(other.loading for other in near if other.loading is not None),
            shared=any(other.models or other.loading is not None for other in near),
            beside=tuple(
                Neighbour(held, other.worker.pid)
                for other in near
                if other.worker is not None
                for held in other.models
            ),
        )


@dataclass(slots=True, eq=False)
class Batches:
    """How many windows each worker decodes at a time: mixed cards take different batches."""

    plan: PlanBatch | None
    """None: as jobs say."""
    _told: dict[tuple[str, ModelSpec], int] = field(default_factory=dict)

    def __call__(self, slot: WorkerSlot, state: PoolJobState) -> int:
        asked = state.options.batch_size
        model = slot.local(state.model)
        batch = batch_as_asked(slot, state)
        if self.plan is not None:
            batch = self.plan(slot.device, model, state.options.beam_size, asked)
        batch = min(batch, slot.batches.get(model, batch))
        if self._told.get((slot.label, model)) != batch:
            self._told[slot.label, model] = batch
            fewer = f" instead of {asked}, for lack of memory" if batch < asked else ""
            log.log(
                logging.WARNING if fewer else logging.INFO,
                "[%s] decodes %d windows at a time with %s%s",
                *(slot.label, batch, model.name, fewer),
            )
        return batch


def same_memory(one: WorkerSlot, other: WorkerSlot) -> bool:
    """All CPU workers share the machine's memory, workers of one GPU that GPU's."""
    return (one.device.kind, one.device.visible) == (other.device.kind, other.device.visible)
