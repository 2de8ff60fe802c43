"""Which model a worker may load now: memory is asked before, not found missing after.

Asked by the scheduler for every load it has in mind, so answers that say no are kept for a moment.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from core.errors import OutOfMemory
from core.types import ModelSpec
from workers.limits import PoolLimits
from workers.memory import Fits, LoadPlan, Neighbour, PlanBatch, Verdict
from workers.pending import JobState
from workers.scheduler import batch_as_asked
from workers.worker_slot import Seat

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Answer:
    verdict: Verdict
    until_s: float


@dataclass(slots=True, eq=False)
class Admission:
    """The supervisor's thread asks."""

    fits: Fits | None
    """None: everything fits."""
    limits: PoolLimits
    max_models: int
    patient: bool
    """Wait also for memory that others than our own workers hold."""
    on_refused: Callable[[Seat, ModelSpec], None]
    """Told when a model never fits."""
    _answers: dict[tuple[str, ModelSpec], _Answer] = field(default_factory=dict)

    def may_load(self, seat: Seat, seats: Sequence[Seat], asked: ModelSpec, now: float) -> bool:
        left = [model for model in seat.variants(asked) if model not in seat.refused]
        if self.fits is None:
            return bool(left)
        # The best compute type that fits; a lower one before waiting for memory.
        for model in left:
            if self._fits_now(self.fits, seat, seats, model, now):
                return self._choose(seat, asked, model)
        for model in left if not self.patient else ():
            answer = self._answers.get((seat.label, model))
            if answer is not None and not self._plan(seat, seats, model).shared:
                # Nobody of ours will ever free anything, and nobody watches who could.
                log.warning("[%s] %s; it is tried all the same", seat.label, answer.verdict.text)
                return self._choose(seat, asked, model)
        return False

    def _choose(self, seat: Seat, asked: ModelSpec, model: ModelSpec) -> bool:
        self._answers.pop((seat.label, model), None)
        best = seat.variants(asked)[0]
        if model != best and seat.chosen.get(asked) != model:
            answer, refused = self._answers.get((seat.label, best)), seat.refused.get(best)
            why = answer.verdict.text if answer else refused.message if refused else "not possible"
            log.warning(
                "[%s] takes %s in %s instead of %s: %s",
                *(seat.label, model.name, model.compute_type, best.compute_type, why),
            )
        seat.chosen[asked] = model
        return True

    def _fits_now(
        self, fits: Fits, seat: Seat, seats: Sequence[Seat], model: ModelSpec, now: float
    ) -> bool:
        """Ask, unless the answer is fresh; what never fits is refused, what has to wait is kept."""
        key = (seat.label, model)
        known = self._answers.get(key)
        if known is not None and now < known.until_s:
            return False
        try:
            verdict = fits(self._plan(seat, seats, model))
        except Exception:
            # An estimate must not take the pool, and every job, with it; the load will tell.
            log.exception("[%s] the memory for %s cannot be estimated", seat.label, model.name)
            verdict = Verdict("yes")
        if verdict.fit == "wait":
            self._answers[key] = _Answer(verdict, now + self.limits.memory_retry_s)
        else:
            self._answers.pop(key, None)
        if verdict.fit == "never":
            seat.refuse(model, OutOfMemory(verdict.text + ".", hint=verdict.hint or None))
            self.on_refused(seat, model)
        return verdict.fit == "yes"

    def changed(self) -> None:
        """Memory was freed: what waited is judged anew."""
        for answer in self._answers.values():
            answer.until_s = 0.0

    def waiting_for(self, model: ModelSpec, seats: Sequence[Seat], now: float) -> str | None:
        """Why no worker loads the model yet; None when memory is not the reason."""
        if any(seat.serves(model) for seat in seats):
            return None
        for seat in seats:
            for variant in seat.variants(model):
                answer = self._answers.get((seat.label, variant))
                fresh = answer is not None and now < answer.until_s + self.limits.memory_retry_s
                if answer is not None and fresh and seat.may_serve(model):
                    return answer.verdict.text
        return None

    def _plan(self, seat: Seat, seats: Sequence[Seat], model: ModelSpec) -> LoadPlan:
        near = [other for other in seats if other is not seat and same_memory(other, seat)]
        unloaded = max(0, len(seat.models) + 1 - self.max_models)
        return LoadPlan(
            slot=seat.slot,
            model=model,
            fresh=not seat.models,
            replaced=seat.models[:unloaded],
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

    def __call__(self, seat: Seat, state: JobState) -> int:
        asked = state.options.batch_size
        model = seat.local(state.model)
        batch = batch_as_asked(seat, state)
        if self.plan is not None:
            batch = self.plan(seat.slot, model, state.options.beam_size, asked)
        batch = min(batch, seat.batches.get(model, batch))
        if self._told.get((seat.label, model)) != batch:
            self._told[seat.label, model] = batch
            fewer = f" instead of {asked}, for lack of memory" if batch < asked else ""
            log.log(
                logging.WARNING if fewer else logging.INFO,
                "[%s] decodes %d windows at a time with %s%s",
                *(seat.label, batch, model.name, fewer),
            )
        return batch


def same_memory(one: Seat, other: Seat) -> bool:
    """All CPU workers share the machine's memory, workers of one GPU that GPU's."""
    return (one.slot.kind, one.slot.visible) == (other.slot.kind, other.slot.visible)
