"""Who comes in and who leaves beside the faults: CPU slots in place of lost GPUs, and workers that
hold memory nobody uses while a job waits for it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from workers.admission import Admission, same_memory
from workers.fleet import Fleet
from workers.incidents import Incidents
from workers.messages import Stop
from workers.pending import JobState
from workers.scheduler import Scheduler
from workers.worker_slot import Seat

log = logging.getLogger(__name__)

LEAVE_GRACE_S = 5.0
"""Time for a reserve worker that is no longer needed to leave by itself."""


class Reserve:
    """Looks at the whole fleet once a turn; the supervisor's thread calls it."""

    def __init__(
        self, fleet: Fleet, scheduler: Scheduler, admission: Admission, incidents: Incidents
    ) -> None:
        self._fleet = fleet
        self._scheduler = scheduler
        self._admission = admission
        self._incidents = incidents

    def look(self, now: float) -> None:
        reserve = [seat for seat in self._fleet.seats if seat.reserve]
        main = [seat for seat in self._fleet.seats if not seat.reserve]
        if reserve and all(seat.breaker.out for seat in main):
            self._call_in(reserve)
        elif any(not seat.breaker.out and not seat.breaker.trial for seat in main):
            self._send_away(reserve, now)
        self._make_room(now)

    def _call_in(self, reserve: Sequence[Seat]) -> None:
        asleep = [seat for seat in reserve if seat.dormant and seat.worker is None]
        if not asleep:
            return
        for seat in asleep:
            seat.dormant, seat.stop_by_s = False, None
        labels = ", ".join(seat.label for seat in asleep)
        self._incidents.tell(
            "cpu_fallback",
            f"No GPU is left; the jobs go on with {labels}, much slower.",
            self._scheduler.jobs,
            device=asleep[0].label,
        )

    def _send_away(self, reserve: Sequence[Seat], now: float) -> None:
        for seat in reserve:
            if seat.dormant or seat.task is not None:
                continue
            seat.dormant = True
            seat.ready, seat.forgiven = False, True
            if seat.worker is not None:
                log.info("[%s] leaves, a GPU works again", seat.label)
                seat.stop_by_s = now + LEAVE_GRACE_S
                seat.worker.send(Stop())

    def _make_room(self, now: float) -> None:
        """A job waits for memory, and an idle worker holds models no job wants: they go."""
        wanted = [state.model for state in self._scheduler.jobs if state.ending is None]
        for state in self._scheduler.jobs:
            if not _waits(state):
                continue
            for seat in self._fleet.seats:
                idle = seat.idle and bool(seat.models)
                near = any(
                    other is not seat and same_memory(other, seat) and other.may_serve(state.model)
                    for other in self._fleet.seats
                )
                if idle and near and not any(seat.has(model) for model in wanted):
                    log.info("[%s] unloads its model, a job waits for memory", seat.label)
                    self._fleet.replace(seat, "makes room for another model")


def _waits(state: JobState) -> bool:
    return state.ending is None and "memory_wait" in state.told
