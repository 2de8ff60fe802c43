"""Which model a worker may load now, and how many windows it decodes at a time: memory is checked
before, not found missing after.

The scheduler asks for every load it considers, so refusals are kept for a moment.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from core.errors import OutOfMemory
from core.memory_ladder import Event, Situation, Step, next_step
from core.types import ModelSpec
from workers.memory import Fits, LoadPlan, Neighbour, PlanBatch, Verdict
from workers.pending import PoolJobState
from workers.pool_state import PoolState
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

    pool: PoolState
    fits: Fits | None
    """None: everything fits."""
    plan_batch: PlanBatch | None
    """None: as the jobs ask."""
    patient: bool
    """Wait also for memory that others than our own workers hold."""
    _answers: dict[tuple[str, ModelSpec], _Answer] = field(default_factory=dict)
    _batches: dict[tuple[str, ModelSpec], int] = field(default_factory=dict)
    """As logged last."""

    def may_load(self, slot: WorkerSlot, asked: ModelSpec, now: float) -> bool:
        left = slot.left(asked)
        if self.fits is None:
            return bool(left)
        waiting: list[tuple[ModelSpec, Verdict]] = []
        for place, model in enumerate(left, 1):
            if self._fits_now(self.fits, slot, model, now):
                return self._choose(slot, asked, model)
            answer = self._answers.get((slot.label, model))
            if answer is not None:
                waiting.append((model, answer.verdict))
            step = next_step(
                Event.NO_ROOM,
                {
                    Situation.LOWER_TYPE_LEFT: place < len(left),
                    Situation.ROOM_MAY_COME: self.patient or self._plan(slot, model).shared,
                },
            )
            if step is Step.LOAD_ANYWAY and waiting:
                best, verdict = waiting[0]
                log.warning("[%s] %s; it is tried anyway", slot.label, verdict.text)
                return self._choose(slot, asked, best)
        return False

    def batch_of(self, slot: WorkerSlot, state: PoolJobState) -> int:
        """How many windows a worker decodes at a time: mixed cards take different batches."""
        options, model = state.job.request.options, slot.local(state.model)
        asked, batch = options.batch_size, batch_as_asked(slot, state)
        if self.plan_batch is not None and slot.endpoint is None:
            batch = self.plan_batch(slot.device, model, options.beam_size, asked)
        batch = min(batch, slot.batches.get(model, batch))
        if self._batches.get((slot.label, model)) != batch:
            self._batches[slot.label, model] = batch
            fewer = f" instead of {asked}, for lack of memory" if batch < asked else ""
            log.log(
                logging.WARNING if fewer else logging.INFO,
                "[%s] decodes %d windows at a time with %s%s",
                *(slot.label, batch, model.name, fewer),
            )
        return batch

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

    def _fits_now(self, fits: Fits, slot: WorkerSlot, model: ModelSpec, now: float) -> bool:
        """Ask, unless the answer is fresh; what never fits is refused, what has to wait is kept."""
        key = (slot.label, model)
        known = self._answers.get(key)
        if known is not None and now < known.until_s:
            return False
        try:
            verdict = fits(self._plan(slot, model))
        except Exception:
            # An estimate must not take the pool, and every job, with it; the load will tell.
            log.exception("[%s] the memory for %s cannot be estimated", slot.label, model.name)
            verdict = Verdict("yes")
        if verdict.fit == "wait":
            self._answers[key] = _Answer(verdict, now + self.pool.limits.memory_retry_s)
        else:
            self._answers.pop(key, None)
        if verdict.fit == "never":
            slot.refuse(model, OutOfMemory(verdict.text + ".", hint=verdict.hint or None))
            self.pool.model_refused(slot, model)
        return verdict.fit == "yes"

    def changed(self) -> None:
        """Memory was freed: ask again for every model that waits."""
        for answer in self._answers.values():
            answer.until_s = 0.0

    def waiting_for(self, model: ModelSpec, now: float) -> str | None:
        """Why no worker loads the model yet; None when memory is not the reason."""
        if any(slot.serves(model) for slot in self.pool.slots):
            return None
        for slot in self.pool.slots:
            for variant in slot.variants(model):
                answer = self._answers.get((slot.label, variant))
                if answer is None or not slot.may_serve(model):
                    continue
                if now < answer.until_s + self.pool.limits.memory_retry_s:
                    return answer.verdict.text
        return None

    def _plan(self, slot: WorkerSlot, model: ModelSpec) -> LoadPlan:
        near = [each for each in self.pool.slots if each is not slot and same_memory(each, slot)]
        return LoadPlan(
            device=slot.device,
            model=model,
            replaced=slot.model,
            in_flight=tuple(other.loading for other in near if other.loading is not None),
            shared=any(other.model or other.loading for other in near),
            beside=tuple(
                Neighbour(other.model, other.worker.pid)
                for other in near
                if other.worker is not None and other.model is not None
            ),
        )


def same_memory(one: WorkerSlot, other: WorkerSlot) -> bool:
    """All CPU workers share their machine's memory, workers of one GPU that GPU's."""
    mine, its = one.device, other.device
    return (mine.node, mine.kind, mine.visible) == (its.node, its.kind, its.visible)
