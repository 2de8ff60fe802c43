"""What the faults of remote endpoints mean: for the segment, nothing but that it goes elsewhere;
for the slot, what its breaker makes of it.

    failed, or anything else ► counts; out after a few in a row, or after one that took as long
                               as its time-out; tried again soon
    busy                     ► left alone until it says, does not count
    refused                  ► out until its configuration changes or a test succeeds

The worker's process goes on: it was not its fault. One line of the log for each change of state.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from core.errors import EndpointBusy, EndpointFailed, EndpointRefused, SubtitleError
from workers.pending import PendingSegment, PoolJobState, Task
from workers.pool_state import PoolState, list_of
from workers.scheduler import others
from workers.worker_slot import WorkerSlot

log = logging.getLogger(__name__)

Failed = list[tuple[PendingSegment, SubtitleError]]


@dataclass(frozen=True, slots=True)
class EndpointFaults:
    """Judges them; the supervisor's thread calls it."""

    pool: PoolState

    def raised(self, slot: WorkerSlot, task: Task, failed: Failed, now: float) -> Failed:
        """Send the segments of a task elsewhere and charge the slot; what is left over is to be
        divided or given up, because the endpoint does others and this again and again not."""
        state, stubborn = task.state, []
        for entry, error in failed:
            if self.elsewhere(slot, state, entry, error):
                stubborn.append((entry, error))
        errors = [error for _, error in failed]
        worst = max(errors, key=_severity)
        going = [each[0] for each in failed if each not in stubborn]
        # Once it is out, or on trial, this is told already.
        if going and _severity(worst) == 1 and not slot.breaker.trial:
            text = f"Trying {list_of(going)} again after an error on {slot.label}: {worst.message}"
            self.pool.tell("segment_retried", text, [state], slot=slot, segments=going)
        waited_s = now - task.given_s
        timed_out = slot.endpoint is not None and waited_s >= slot.endpoint.timeout_s
        self.charge(slot, worst, now, at_once=timed_out and not task.finished)
        if isinstance(worst, EndpointRefused):
            for entry in going:
                # Another endpoint might take it, but the administrator meant it for this one.
                entry.avoid |= {s.label for s in self.pool.slots if s.endpoint is not None}
        return stubborn

    def elsewhere(
        self,
        slot: WorkerSlot,
        state: PoolJobState,
        entry: PendingSegment,
        error: SubtitleError | None = None,
    ) -> bool:
        """Back into the queue, unharmed, for another slot if there is one; ``error``: None where
        its worker died. True, and not back: no other slot is left for it, and it failed so often
        while the endpoint did other work that it is to blame."""
        since = entry.endpoint_finished.setdefault(slot.label, slot.finished)
        if not isinstance(error, EndpointFailed | EndpointRefused) or slot.finished > since:
            entry.device_errors += 1
        entry.avoid.add(slot.label)
        alone = not others(state, slot, self.pool.slots)
        if alone and entry.device_errors >= self.pool.limits.errors_in_all:
            return True
        log.debug("[%s] %s goes back to the queue", slot.label, entry.name, extra=state.about)
        state.put(entry)
        return False

    def charge(
        self, slot: WorkerSlot, error: SubtitleError, now: float, *, at_once: bool = False
    ) -> None:
        """Let the slot's breaker know. Nothing, where it is out already. ``at_once``: a failure
        takes it out, because to wait for it a second time would cost too much."""
        breaker, limits = slot.breaker, self.pool.limits_of(slot)
        if breaker.out:
            return
        if isinstance(error, EndpointRefused):
            breaker.refuse(error)
            self.pool.taken_out(slot)
        elif isinstance(error, EndpointBusy):
            wait_s = error.retry_after_s or self.pool.limits.endpoint_busy_s
            news = breaker.pause(error, now + wait_s)
            text = f"{slot.label} is busy: {breaker.reason}. It is asked again in {wait_s:.3g} s."
            if news:
                self.pool.tell("endpoint_busy", text, self.pool.concerned(slot), slot=slot)
            else:
                log.debug("[%s] %s", slot.label, text)
        elif at_once:
            breaker.condemn(error, now, limits)
            self.pool.taken_out(slot)
        elif breaker.failed(error, now, limits):
            self.pool.taken_out(slot)


def _severity(error: SubtitleError) -> int:
    """What decides over the slot when several segments of a task failed."""
    if isinstance(error, EndpointRefused):
        return 2
    return 0 if isinstance(error, EndpointBusy) else 1
