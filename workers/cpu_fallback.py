"""Who comes in and who leaves beside the faults: CPU slots in place of lost GPUs, and workers that
hold memory nobody uses while a job waits for it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from workers.admission import LoadAdmission, same_memory
from workers.fleet import Fleet
from workers.incidents import Incidents
from workers.messages import Stop
from workers.pending import PoolJobState
from workers.scheduler import Scheduler
from workers.worker_slot import WorkerSlot

log = logging.getLogger(__name__)

LEAVE_GRACE_S = 5.0
"""Time for a reserve worker that is no longer needed to leave by itself."""


class CpuFallback:
    """Looks at the whole fleet once a turn; the supervisor's thread calls it."""

    def __init__(
        self, fleet: Fleet, scheduler: Scheduler, admission: LoadAdmission, incidents: Incidents
    ) -> None:
        self._fleet = fleet
        self._scheduler = scheduler
        self._admission = admission
        self._incidents = incidents

    def look(self, now: float) -> None:
        reserve = [slot for slot in self._fleet.slots if slot.reserve]
        main = [slot for slot in self._fleet.slots if not slot.reserve]
        if reserve and all(slot.breaker.out for slot in main):
            self._call_in(reserve)
        elif any(not slot.breaker.out and not slot.breaker.trial for slot in main):
            self._send_away(reserve, now)
        self._make_room(now)

    def _call_in(self, reserve: Sequence[WorkerSlot]) -> None:
        asleep = [slot for slot in reserve if slot.dormant and slot.worker is None]
        if not asleep:
            return
        for slot in asleep:
            slot.dormant, slot.stop_by_s = False, None
        labels = ", ".join(slot.label for slot in asleep)
        self._incidents.tell(
            "cpu_fallback",
            f"No GPU is left; the jobs go on with {labels}, much slower.",
            self._scheduler.jobs,
            device=asleep[0].label,
        )

    def _send_away(self, reserve: Sequence[WorkerSlot], now: float) -> None:
        for slot in reserve:
            if slot.dormant or slot.task is not None:
                continue
            slot.dormant = True
            slot.ready, slot.forgiven = False, True
            if slot.worker is not None:
                log.info("[%s] leaves, a GPU works again", slot.label)
                slot.stop_by_s = now + LEAVE_GRACE_S
                slot.worker.send(Stop())

    def _make_room(self, now: float) -> None:
        """A job waits for memory, and an idle worker holds models no job wants: they go."""
        wanted = [state.model for state in self._scheduler.jobs if state.ending is None]
        for state in self._scheduler.jobs:
            if not _waits(state):
                continue
            for slot in self._fleet.slots:
                idle = slot.idle and bool(slot.models)
                near = any(
                    other is not slot and same_memory(other, slot) and other.may_serve(state.model)
                    for other in self._fleet.slots
                )
                if idle and near and not any(slot.has(model) for model in wanted):
                    log.info("[%s] unloads its model, a job waits for memory", slot.label)
                    self._fleet.replace(slot, "makes room for another model")


def _waits(state: PoolJobState) -> bool:
    return state.ending is None and "memory_wait" in state.notified
