"""Which slots are left for the jobs, whether a job can still be served, and what its owner learns
while it waits.

A job whose model no slot will ever load fails. One for which no device is left fails too, or waits
if the pool was set to wait: a service that runs for months has devices that come back. CPU slots in
reserve take the place of lost GPUs meanwhile. A job for endpoints learns which one it goes on with.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from core.errors import DeviceUnavailable, SubtitleError, WorkerCrashed
from core.events import WorkersLoading
from core.types import ModelSpec
from workers.admission import LoadAdmission
from workers.pending import PoolJobState
from workers.pool_state import PoolState
from workers.routing import admits, endpoints_for, hopes, refusal, serving_endpoint
from workers.slot_state import SlotEvent, SlotState
from workers.worker_slot import WorkerSlot

log = logging.getLogger(__name__)

LEAVE_GRACE_S = 5.0
"""Time for a reserve worker that is no longer needed to leave by itself."""


@dataclass(slots=True, eq=False)
class Feasibility:
    """The supervisor's thread asks, once a turn for each job."""

    pool: PoolState
    admission: LoadAdmission
    wait: bool
    """Jobs wait when no device is left, instead of failing."""
    _dark: bool = False
    """No device is left, and that has been reported."""

    def look_after_reserve(self, now: float) -> None:
        """Call CPU slots in when every GPU is out; send them away when one works again."""
        local = [slot for slot in self.pool.slots if slot.endpoint is None]
        reserve = [slot for slot in local if slot.reserve]
        main = [slot for slot in local if not slot.reserve]
        if reserve and all(slot.breaker.out for slot in main):
            self._call_in(reserve)
        elif any(not slot.breaker.out and not slot.breaker.trial for slot in main):
            self._send_away(reserve, now)

    def no_hope(
        self, model: ModelSpec, slots: Sequence[WorkerSlot] | None = None
    ) -> SubtitleError | None:
        """Why none of the slots (None: this machine's) serves this model now or soon; None while
        one may."""
        if slots is None:
            slots = [slot for slot in self.pool.slots if slot.endpoint is None]
        left = [slot for slot in slots if slot.usable]
        if not left:
            return self._all_out(slots)
        refusals = [slot.refused[slot.local(model)] for slot in left if slot.refuses(model)]
        return refusals[0] if len(refusals) == len(left) else None

    def judge(self, state: PoolJobState) -> None:
        """End a job without hope, or tell it that it waits for a device."""
        slots = hopes(state, self.pool.slots)
        if any(slot.usable and not slot.breaker.trial for slot in slots):
            self._dark = False
            state.waits_for_device = False
        if state.ending is not None:
            return
        state.ending = refusal(state, self.pool.slots)
        if state.ending is not None:
            return
        if state.sent:
            self._follow(state)
            if state.endpoints_wait:
                return
        if any(slot.usable for slot in slots) or not self.wait:
            state.ending = self.no_hope(state.model, slots)
        elif not state.waits_for_device:
            state.waits_for_device = True
            self.pool.tell(
                "no_device",
                f"No device is left; the job waits. {_causes(slots)}",
                [state],
                level=None if self._dark else logging.ERROR,
                count=not self._dark,
            )
            self._dark = True

    def _follow(self, state: PoolJobState) -> None:
        """Tell the owner of a job for endpoints where it goes on, each time that changes."""
        order = endpoints_for(state, self.pool.slots)
        serving = serving_endpoint(order)
        before = state.route
        state.route = serving.label if serving is not None else ""
        if state.route == before:
            return
        if serving is None:
            causes = _causes(order) if order else "None is active that the job may go to."
            if not state.endpoints_wait:
                text = f"No endpoint is left; the job goes on on this machine. {causes}"
                self.pool.tell("failover", text, [state])
                return
            self.pool.tell("endpoint_wait", f"The job waits for an endpoint. {causes}", [state])
            state.job.emit(WorkersLoading(f"Waiting for an endpoint: {causes}"))
        elif serving is not order[0]:
            causes = _causes(order[: order.index(serving)])
            text = f"The job goes on with {serving.label}. {causes}"
            self.pool.tell("failover", text, [state], slot=serving)
        elif before is not None:
            text = f"The job goes on with {serving.label} again."
            self.pool.tell("failover", text, [state], slot=serving, level=logging.INFO)

    def watch_loading(self, state: PoolJobState, now: float) -> None:
        """Keep the clock of the time a job has work and no worker has its model."""
        slots = [slot for slot in self.pool.slots if admits(state, slot, self.pool.slots)]
        blocked = bool(state.waiting) and not any(slot.has(state.model) for slot in slots)
        if blocked and state.unserved_since_s is None:
            state.unserved_since_s = now
            labels = ", ".join(slot.label for slot in slots if slot.usable)
            if labels:
                state.job.emit(WorkersLoading(f"Loading model {state.model.name} ({labels})"))
        elif not blocked and state.unserved_since_s is not None:
            state.job.load_s += now - state.unserved_since_s
            state.unserved_since_s = None
        text = self.admission.waiting_for(state.model, now) if blocked else None
        if text is None:
            state.waits_for_memory = False
        elif not state.waits_for_memory:
            state.waits_for_memory = True
            self.pool.tell("memory_wait", f"The job waits for memory: {text}.", [state])
            state.job.emit(WorkersLoading(f"Waiting for memory: {text}"))

    def _call_in(self, reserve: Sequence[WorkerSlot]) -> None:
        asleep = [slot for slot in reserve if slot.state is SlotState.DORMANT]
        if not asleep:
            return
        for slot in asleep:
            slot.on(SlotEvent.CALLED_IN)
        labels = ", ".join(slot.label for slot in asleep)
        self.pool.tell(
            "cpu_fallback",
            f"No GPU is left; the jobs go on with {labels}, much slower.",
            slot=asleep[0],
        )

    def _send_away(self, reserve: Sequence[WorkerSlot], now: float) -> None:
        for slot in reserve:
            if slot.state is SlotState.EMPTY:
                slot.on(SlotEvent.DISMISSED)
            elif slot.state in (SlotState.STARTING, SlotState.IDLE, SlotState.LOADING):
                log.info("[%s] leaves, a GPU works again", slot.label)
                slot.leave(SlotEvent.DISMISSED, now + LEAVE_GRACE_S)

    def _all_out(self, slots: Sequence[WorkerSlot]) -> SubtitleError:
        """The device's own error where there is one, which has the better hint."""
        errors = [slot.breaker.error for slot in slots if slot.breaker.out]
        named = [error for error in errors if isinstance(error, DeviceUnavailable)]
        if named and len(named) == len(errors):
            return named[0]
        return WorkerCrashed(
            f"No worker is left. {_causes(slots)}",
            hint="See the log.",
        )


def _causes(slots: Sequence[WorkerSlot]) -> str:
    """Why those that are out or on trial are."""
    out = [slot for slot in slots if slot.breaker.out or slot.breaker.trial]
    return "; ".join(f"{slot.label}: {slot.breaker.reason}" for slot in out) + "."
