"""Whether a job can still be served, and what it is told while it waits.

A job whose model no slot will ever load fails. One for which there is no device left fails too, or
waits where somebody said so: a service that runs for months has devices that come back.
"""

from __future__ import annotations

import logging

from core.errors import DeviceUnavailable, SubtitleError, WorkerCrashed
from core.events import WorkersLoading
from core.types import ModelSpec
from workers.admission import Admission
from workers.fleet import Fleet
from workers.incidents import Incidents
from workers.pending import JobState


class Outlook:
    """The supervisor's thread asks, once a turn for each job."""

    def __init__(
        self, fleet: Fleet, admission: Admission, incidents: Incidents, *, wait: bool
    ) -> None:
        self._fleet = fleet
        self._admission = admission
        self._incidents = incidents
        self._wait = wait
        self._dark = False
        """No device is left, and that was said."""

    def no_hope(self, model: ModelSpec) -> SubtitleError | None:
        """Why no worker serves this model now or soon; None while one may."""
        left = [seat for seat in self._fleet.seats if seat.usable]
        if not left:
            return self._all_out()
        refusals = [seat.refused[seat.local(model)] for seat in left if seat.refuses(model)]
        return refusals[0] if len(refusals) == len(left) else None

    def judge(self, state: JobState) -> None:
        """End a job without hope, or tell it that it waits for a device."""
        left = any(seat.usable for seat in self._fleet.seats)
        if any(seat.usable and not seat.breaker.trial for seat in self._fleet.seats):
            self._dark = False
            state.told.discard("no_device")
        if state.ending is not None:
            return
        if left or not self._wait:
            state.ending = self.no_hope(state.model)
        elif "no_device" not in state.told:
            state.told.add("no_device")
            self._incidents.tell(
                "no_device",
                f"No device is left; the job waits. {self._causes()}",
                [state],
                level=None if self._dark else logging.ERROR,
                count=not self._dark,
            )
            self._dark = True

    def watch_loading(self, state: JobState, now: float) -> None:
        """Keep the clock of the time a job has work and no worker has its model."""
        seats = self._fleet.seats
        blocked = bool(state.waiting) and not any(seat.has(state.model) for seat in seats)
        if blocked and state.unserved_since_s is None:
            state.unserved_since_s = now
            labels = ", ".join(seat.label for seat in seats if seat.usable)
            state.job.emit(WorkersLoading(f"Loading model {state.model.name} ({labels})"))
        elif not blocked and state.unserved_since_s is not None:
            state.job.load_s += now - state.unserved_since_s
            state.unserved_since_s = None
        text = self._admission.waiting_for(state.model, seats, now) if blocked else None
        if text is None:
            state.told.discard("memory_wait")
        elif "memory_wait" not in state.told:
            state.told.add("memory_wait")
            self._incidents.tell("memory_wait", f"The job waits for memory: {text}.", [state])
            state.job.emit(WorkersLoading(f"Waiting for memory: {text}"))

    def _all_out(self) -> SubtitleError:
        """The device's own error where there is one, which has the better hint."""
        errors = [seat.breaker.error for seat in self._fleet.seats if seat.breaker.out]
        named = [error for error in errors if isinstance(error, DeviceUnavailable)]
        if named and len(named) == len(errors):
            return named[0]
        return WorkerCrashed(
            f"No worker is left. {self._causes()}",
            hint="See the log.",
        )

    def _causes(self) -> str:
        out = [seat for seat in self._fleet.seats if seat.breaker.out]
        return "; ".join(f"{seat.label}: {seat.breaker.reason}" for seat in out) + "."
