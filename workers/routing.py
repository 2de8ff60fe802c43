"""Which slots a job may use, by where it is to be decoded. Pure: looked up, never remembered.

    local        the devices of this machine
    shared       these and every endpoint, each as fast as it is
    remote       the first endpoint that works, in their order; the next while that is out
    an id        that endpoint

A job of the last two that no endpoint can take is decoded on this machine, or waits. An endpoint on
trial gets work before it is proven, and whoever took its place goes on until then.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.endpoints import LOCAL, REMOTE, SHARED
from core.errors import EndpointRefused, SubtitleError
from workers.pending import PoolJobState
from workers.worker_slot import WorkerSlot


def endpoints_for(state: PoolJobState, slots: Sequence[WorkerSlot]) -> list[WorkerSlot]:
    """The endpoints a job may go to, in the order in which they are asked."""
    found = [
        (slot.endpoint.rank, slot)
        for slot in slots
        if slot.endpoint is not None and _may_go(state, slot)
    ]
    return [slot for _, slot in sorted(found, key=lambda each: each[0])]


def serving_endpoint(order: Sequence[WorkerSlot]) -> WorkerSlot | None:
    """The first that works and is not on trial."""
    return next((slot for slot in order if slot.usable and not slot.breaker.trial), None)


def admits(state: PoolJobState, slot: WorkerSlot, slots: Sequence[WorkerSlot]) -> bool:
    """Whether the job may be decoded there now."""
    if not state.sent:
        return slot.endpoint is None or _may_go(state, slot)
    order = endpoints_for(state, slots)
    if slot.endpoint is None:
        return not state.endpoints_wait and serving_endpoint(order) is None
    if slot not in order:
        return False
    before = order[: order.index(slot)]
    return all(other.breaker.out or other.breaker.trial for other in before)


def hopes(state: PoolJobState, slots: Sequence[WorkerSlot]) -> list[WorkerSlot]:
    """The slots that may serve the job, now or when others are out."""
    local = [slot for slot in slots if slot.endpoint is None]
    waits = state.sent and state.endpoints_wait
    return [*([] if waits else local), *endpoints_for(state, slots)]


def refusal(state: PoolJobState, slots: Sequence[WorkerSlot]) -> SubtitleError | None:
    """Why a job for endpoints cannot be done, whoever else is there: the one it is meant for does
    not take it, and nobody but the administrator decides who gets the recording instead."""
    if not state.sent:
        return None
    order = endpoints_for(state, slots)
    for slot in order:
        if slot.breaker.refused:
            return slot.breaker.error
        if slot.usable and not slot.breaker.trial:
            return None
    named = [
        slot for slot in slots if slot.endpoint is not None and slot.endpoint.id == state.where
    ]
    if named and not order and not named[0].removed:
        return EndpointRefused(
            f"{named[0].label} cannot translate.",
            hint="Transcribe there, or translate on this machine or another endpoint.",
        )
    return None


def _may_go(state: PoolJobState, slot: WorkerSlot) -> bool:
    """Whether the job may ever go to that endpoint."""
    endpoint, where = slot.endpoint, state.where
    if endpoint is None or slot.removed or where == LOCAL:
        return False
    if where not in (SHARED, REMOTE, endpoint.id):
        return False
    return endpoint.translates or state.job.request.options.task != "translate"
