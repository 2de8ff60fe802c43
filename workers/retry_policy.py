"""What happens to a segment that failed, and to the slot it failed on.

    raised ───────► again on another slot ─► its windows one by one ─► gap
    killed, hung ─► again on another slot ─► its windows one by one ─► gap
    out of memory ► as core.memory_ladder says: the last four steps of it
    device failed ► fresh process, and the slot's breaker counts

Each step is one log line and one incident. A window is given up only after it failed alone.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Sequence

from core.errors import OutOfMemory, SubtitleError
from core.memory_ladder import Event, Situation, Step, next_step
from workers.breaker import blames_device
from workers.incidents import Incidents, list_of
from workers.limits import PoolLimits
from workers.pending import PendingSegment, PoolJobState, Split, Task
from workers.scheduler import Scheduler, others
from workers.worker_slot import WorkerSlot

log = logging.getLogger(__name__)

FROM_OUTSIDE = signal.SIGKILL.name
"""As ``workers.worker.exit_reason`` says it."""

Failed = list[tuple[PendingSegment, SubtitleError]]


class RetryPolicy:
    """Judges failures; the supervisor's thread calls it."""

    def __init__(self, scheduler: Scheduler, limits: PoolLimits, incidents: Incidents) -> None:
        self._scheduler = scheduler
        self._limits = limits
        self._incidents = incidents

    def raised(self, slot: WorkerSlot, slots: Sequence[WorkerSlot], task: Task, now: float) -> bool:
        """Judge the segments of a task that came back with an error. Whether the worker's process
        is to be replaced: a context that ran out of memory or failed may stay broken
        (TranscriptionSuite#268)."""
        failed, task.failed = task.failed, []
        memory = [each for each in failed if isinstance(each[1], OutOfMemory)]
        device = [each for each in failed if each not in memory and blames_device(each[1])]
        plain = [each for each in failed if each not in memory and each not in device]
        if task.state.ending is None:
            if memory:
                self._out_of_memory(slot, slots, task.state, memory)
            if device:
                self._device_failed(slot, task.state, device, now)
            if plain:
                self._failed(slot, task.state, plain)
        return bool(memory or device)

    def killed(
        self, slot: WorkerSlot, state: PoolJobState, entry: PendingSegment, reason: str
    ) -> bool:
        """The only suspect of a worker's death. Whether that was its doing for sure, so that it
        does not count against the slot."""
        entry.kills += 1
        limit = self._limits.kills_to_fail
        if reason == FROM_OUTSIDE:
            limit = self._limits.outside_kills_to_fail
        if entry.kills >= limit:
            self._exhausted(slot, state, entry, f"killed {_count(entry.kills)} ({reason})")
            return True
        if slot.hung and _divisible(entry):
            self._exhausted(slot, state, entry, f"hung ({reason})")
        else:
            self.again(slot, state, entry, f"its worker died ({reason})")
        return False

    def again(
        self, slot: WorkerSlot, state: PoolJobState, entry: PendingSegment, reason: str
    ) -> None:
        """Back into the queue: alone, and elsewhere if there is an elsewhere."""
        entry.avoid.add(slot.label)
        self._put_back(slot, state, entry, reason)

    def _put_back(
        self, slot: WorkerSlot, state: PoolJobState, entry: PendingSegment, reason: str
    ) -> None:
        log.debug(
            "[%s] %s goes back to the queue, to be tried alone: %s",
            *(slot.label, entry.name, reason),
            extra=state.about,
        )
        entry.alone = True
        state.put(entry)

    def succeeded_elsewhere(
        self, slot: WorkerSlot, slots: Sequence[WorkerSlot], entry: PendingSegment, now: float
    ) -> None:
        """A segment that raised on other slots was done here: those were at fault."""
        for other in slots:
            error = entry.failed_on.get(other.label)
            if error is not None and other is not slot:
                self._charge(other, error, now)

    def taken_out(self, slot: WorkerSlot) -> None:
        """Tell all jobs that they go on without this slot; once, however often it is tried."""
        breaker, limits = slot.breaker, self._limits
        minutes = breaker.wait_s(limits) / 60
        if breaker.outs > 1:
            log.warning(
                "[%s] still fails: %s. Next try in %.3g min.", slot.label, breaker.reason, minutes
            )
            return
        self._incidents.tell(
            "device_out",
            f"{slot.label} is taken out: {breaker.reason}. It is tried again in {minutes:.3g} min.",
            self._scheduler.jobs,
            device=slot.label,
            level=logging.ERROR,
        )

    def _charge(self, slot: WorkerSlot, error: SubtitleError, now: float) -> None:
        if slot.breaker.failed(error, now, self._limits):
            self.taken_out(slot)

    def _out_of_memory(
        self, slot: WorkerSlot, slots: Sequence[WorkerSlot], state: PoolJobState, failed: Failed
    ) -> None:
        fresh: list[PendingSegment] = []
        moved: list[PendingSegment] = []
        elsewhere = others(state, slot, slots)
        for entry, error in failed:
            entry.out_of_memory += 1
            step = next_step(
                Event.SEGMENT_FAILED,
                {
                    Situation.FIRST_TIME: entry.out_of_memory == 1,
                    Situation.OTHER_DEVICE_LEFT: bool(elsewhere)
                    and entry.out_of_memory <= self._limits.memory_steps,
                    Situation.SEVERAL_WINDOWS: _divisible(entry),
                },
            )
            if step is Step.FRESH_PROCESS:
                entry.bound = slot.label
                self._put_back(slot, state, entry, error.message)
                fresh.append(entry)
            elif step is Step.OTHER_DEVICE:
                entry.failed_on[slot.label] = error
                # Not only preferred: this device would run out of memory once more.
                entry.bound = max(elsewhere, key=lambda other: other.has(state.model)).label
                self.again(slot, state, entry, error.message)
                moved.append(entry)
            else:
                times = "again" if entry.split else f"{entry.out_of_memory} times"
                self._exhausted(slot, state, entry, f"ran out of memory {times}: {error.message}")
        if fresh:
            self._incidents.tell(
                "worker_recycled",
                f"Out of memory in {list_of(fresh)}; the process of {slot.label} is replaced, then"
                " each is tried alone.",
                [state],
                device=slot.label,
                index=fresh[0].index,
            )
        if moved:
            self._incidents.tell(
                "other_device",
                f"{slot.label} has too little memory for {list_of(moved)}; another device tries.",
                [state],
                device=slot.label,
                index=moved[0].index,
            )

    def _device_failed(
        self, slot: WorkerSlot, state: PoolJobState, failed: Failed, now: float
    ) -> None:
        # After another fault without a success between, it is hardly the segment.
        suspicious = slot.breaker.errors > 0 or slot.breaker.trial
        retried: list[PendingSegment] = []
        for entry, error in failed:
            if suspicious:
                entry.device_errors += 1
            else:
                entry.errors += 1
            in_all = entry.errors + entry.device_errors
            exhausted = entry.errors >= self._limits.errors_to_fail
            if exhausted or in_all >= self._limits.errors_in_all:
                self._exhausted(slot, state, entry, f"failed {in_all} times: {error.message}")
            else:
                self.again(slot, state, entry, error.message)
                retried.append(entry)
        if retried:
            self._incidents.tell(
                "worker_recycled",
                f"{slot.label} failed in {list_of(retried)} ({failed[0][1].message}); its process"
                " is replaced.",
                [state],
                device=slot.label,
                index=retried[0].index,
            )
        self._charge(slot, failed[0][1], now)

    def _failed(self, slot: WorkerSlot, state: PoolJobState, failed: Failed) -> None:
        retried: dict[str, list[PendingSegment]] = {}
        for entry, error in failed:
            entry.errors += 1
            entry.failed_on[slot.label] = error
            if entry.errors >= self._limits.errors_to_fail:
                reason = f"failed {entry.errors} times: {error.message}"
                self._exhausted(slot, state, entry, reason)
            else:
                self.again(slot, state, entry, error.message)
                retried.setdefault(error.message, []).append(entry)
        for message, entries in retried.items():
            self._incidents.tell(
                "segment_retried",
                f"Trying {list_of(entries)} again after an error on {slot.label}: {message}",
                [state],
                device=slot.label,
                index=entries[0].index,
            )

    def _exhausted(
        self, slot: WorkerSlot, state: PoolJobState, entry: PendingSegment, reason: str
    ) -> None:
        """Nothing else helps: divide the segment, or leave it out."""
        if state.ending is not None:
            return
        if not _divisible(entry):
            self._incidents.tell(
                "segment_given_up",
                f"Leaving out {entry.name}: it {reason}",
                [state],
                device=slot.label,
                index=entry.index,
                level=logging.ERROR,
            )
            state.failed(entry, slot.label, reason)
            return
        parts = Split(entry.segment, entry.attempts).parts()
        for part in parts:
            if entry.out_of_memory:
                part.out_of_memory = self._limits.memory_steps
            state.put(part)
        self._incidents.tell(
            "segment_split",
            f"Trying the {len(parts)} windows of {entry.name} one by one: it {reason}",
            [state],
            device=slot.label,
            index=entry.index,
        )


def _divisible(entry: PendingSegment) -> bool:
    return entry.split is None and len(entry.segment.windows) > 1


def _count(kills: int) -> str:
    return "two workers" if kills == 2 else f"{kills} workers"
