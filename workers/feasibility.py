"""Whether a job can still be served, and what it is told while it waits.

A job whose model no slot will ever load fails. One for which there is no device left fails too, or
waits where somebody said so: a service that runs for months has devices that come back.
"""

from __future__ import annotations

import logging

from core.errors import DeviceUnavailable, SubtitleError, WorkerCrashed
from core.events import WorkersLoading
from core.types import ModelSpec
from workers.admission import LoadAdmission
from workers.fleet import Fleet
from workers.incidents import Incidents
from workers.pending import PoolJobState


class Feasibility:
    """The supervisor's thread asks, once a turn for each job."""

    def __init__(
        self, fleet: Fleet, admission: LoadAdmission, incidents: Incidents, *, wait: bool
    ) -> None:
        self._fleet = fleet
        self._admission = admission
        self._incidents = incidents
        self._wait = wait
        self._dark = False
        """No device is left, and that was said."""

    def no_hope(self, model: ModelSpec) -> SubtitleError | None:
        """Why no worker serves this model now or soon; None while one may."""
        left = [slot for slot in self._fleet.slots if slot.usable]
        if not left:
            return self._all_out()
        refusals = [slot.refused[slot.local(model)] for slot in left if slot.refuses(model)]
        return refusals[0] if len(refusals) == len(left) else None

    def judge(self, state: PoolJobState) -> None:
        """End a job without hope, or tell it that it waits for a device."""
        left = any(slot.usable for slot in self._fleet.slots)
        if any(slot.usable and not slot.breaker.trial for slot in self._fleet.slots):
            self._dark = False
            state.notified.discard("no_device")
        if state.ending is not None:
            return
        if left or not self._wait:
            state.ending = self.no_hope(state.model)
        elif "no_device" not in state.notified:
            state.notified.add("no_device")
            self._incidents.tell(
                "no_device",
                f"No device is left; the job waits. {self._causes()}",
                [state],
                level=None if self._dark else logging.ERROR,
                count=not self._dark,
            )
            self._dark = True

    def watch_loading(self, state: PoolJobState, now: float) -> None:
        """Keep the clock of the time a job has work and no worker has its model."""
        slots = self._fleet.slots
        blocked = bool(state.waiting) and not any(slot.has(state.model) for slot in slots)
        if blocked and state.unserved_since_s is None:
            state.unserved_since_s = now
            labels = ", ".join(slot.label for slot in slots if slot.usable)
            state.job.emit(WorkersLoading(f"Loading model {state.model.name} ({labels})"))
        elif not blocked and state.unserved_since_s is not None:
            state.job.load_s += now - state.unserved_since_s
            state.unserved_since_s = None
        text = self._admission.waiting_for(state.model, slots, now) if blocked else None
        if text is None:
            state.notified.discard("memory_wait")
        elif "memory_wait" not in state.notified:
            state.notified.add("memory_wait")
            self._incidents.tell("memory_wait", f"The job waits for memory: {text}.", [state])
            state.job.emit(WorkersLoading(f"Waiting for memory: {text}"))

    def _all_out(self) -> SubtitleError:
        """The device's own error where there is one, which has the better hint."""
        errors = [slot.breaker.error for slot in self._fleet.slots if slot.breaker.out]
        named = [error for error in errors if isinstance(error, DeviceUnavailable)]
        if named and len(named) == len(errors):
            return named[0]
        return WorkerCrashed(
            f"No worker is left. {self._causes()}",
            hint="See the log.",
        )

    def _causes(self) -> str:
        out = [slot for slot in self._fleet.slots if slot.breaker.out]
        return "; ".join(f"{slot.label}: {slot.breaker.reason}" for slot in out) + "."
