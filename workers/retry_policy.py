"""What happens to a segment that failed, and to the slot it failed on.

    raised ───────► again on another slot ─► its windows one by one ─► gap
    killed, hung ─► again on another slot ─► its windows one by one ─► gap
    out of memory ► as core.memory_ladder says: the last four steps of it
    device failed ► fresh process, and the slot's breaker counts
    endpoint ─────► see workers.endpoint_faults

Each step is one log line and one incident. A window is given up only after it failed alone.
"""

from __future__ import annotations

import logging
import signal
from dataclasses import dataclass
from typing import NamedTuple

from core.errors import OutOfMemory, SubtitleError
from core.memory_ladder import Event, Situation, Step, next_step
from workers.breaker import blames_device
from workers.endpoint_faults import EndpointFaults, Failed
from workers.pending import PendingSegment, PoolJobState, Split, Task
from workers.pool_state import PoolState, list_of
from workers.scheduler import others
from workers.worker_slot import WorkerSlot

log = logging.getLogger(__name__)

FROM_OUTSIDE = signal.SIGKILL.name
"""As ``workers.worker.exit_reason`` says it."""


class _Retry(NamedTuple):
    """The incident of segments that are tried again: one for all of a kind."""

    kind: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Judges failures; the supervisor's thread calls it."""

    pool: PoolState
    endpoints: EndpointFaults

    def raised(self, slot: WorkerSlot, task: Task, now: float) -> bool:
        """Judge the segments of a task that came back with an error. Whether the worker's process
        is to be replaced: a context that ran out of memory or failed may stay broken
        (TranscriptionSuite#268)."""
        failed, task.failed = task.failed, []
        if slot.endpoint is not None:
            self._endpoint_raised(slot, task, failed, now)
            return False
        memory = [each for each in failed if isinstance(each[1], OutOfMemory)]
        device = [each for each in failed if each not in memory and blames_device(each[1])]
        plain = [each for each in failed if each not in memory and each not in device]
        if task.state.ending is None:
            for judge, some in (
                (self._out_of_memory, memory),
                (self._device_failed, device),
                (self._failed, plain),
            ):
                retried: dict[_Retry, list[PendingSegment]] = {}
                for entry, error in some:
                    retry = judge(slot, task.state, entry, error)
                    if retry is not None:
                        retried.setdefault(retry, []).append(entry)
                for retry, entries in retried.items():
                    text = f"{retry.before} {list_of(entries)}{retry.after}"
                    self.pool.tell(retry.kind, text, [task.state], slot=slot, segments=entries)
            if device:
                self._charge(slot, device[0][1], now)
        return bool(memory or device)

    def _endpoint_raised(self, slot: WorkerSlot, task: Task, failed: Failed, now: float) -> None:
        if failed and task.state.ending is None:
            for entry, error in self.endpoints.raised(slot, task, failed, now):
                reason = f"failed {entry.device_errors} times: {error.message}"
                self._exhausted(slot, task.state, entry, reason)

    def killed(
        self, slot: WorkerSlot, state: PoolJobState, entry: PendingSegment, reason: str
    ) -> bool:
        """The only suspect of a worker's death. Whether that was its doing for sure, so that it
        does not count against the slot."""
        if slot.endpoint is not None:
            if self.endpoints.elsewhere(slot, state, entry):
                self._exhausted(slot, state, entry, f"killed its workers ({reason})")
            return False
        entry.kills += 1
        limits = self.pool.limits
        limit = limits.outside_kills_to_fail if reason == FROM_OUTSIDE else limits.kills_to_fail
        if entry.kills >= limit:
            count = "two workers" if entry.kills == 2 else f"{entry.kills} workers"
            self._exhausted(slot, state, entry, f"killed {count} ({reason})")
            return True
        if slot.hung and entry.divisible:
            self._exhausted(slot, state, entry, f"hung ({reason})")
        else:
            self.again(slot, state, entry, f"its worker died ({reason})")
        return False

    def again(
        self, slot: WorkerSlot, state: PoolJobState, entry: PendingSegment, reason: str
    ) -> None:
        """Back into the queue: alone, and elsewhere if there is an elsewhere, unless it is bound to
        this slot."""
        log.debug(
            "[%s] %s goes back to the queue, to be tried alone: %s",
            *(slot.label, entry.name, reason),
            extra=state.about,
        )
        if entry.bound != slot.label:
            entry.avoid.add(slot.label)
        # What an endpoint does not do is no reason to suspect the segment.
        entry.alone |= slot.endpoint is None
        state.put(entry)

    def succeeded_elsewhere(self, slot: WorkerSlot, entry: PendingSegment, now: float) -> None:
        """A segment that raised on other slots was done here: those were at fault."""
        for other in self.pool.slots:
            error = entry.failed_on.get(other.label)
            if error is not None and other is not slot:
                self._charge(other, error, now)

    def _charge(self, slot: WorkerSlot, error: SubtitleError, now: float) -> None:
        if slot.breaker.failed(error, now, self.pool.limits):
            self.pool.taken_out(slot)

    def _out_of_memory(
        self, slot: WorkerSlot, state: PoolJobState, entry: PendingSegment, error: SubtitleError
    ) -> _Retry | None:
        elsewhere = others(state, slot, self.pool.slots)
        entry.out_of_memory += 1
        step = next_step(
            Event.SEGMENT_FAILED,
            {
                Situation.FIRST_TIME: entry.out_of_memory == 1,
                Situation.OTHER_DEVICE_LEFT: bool(elsewhere)
                and entry.out_of_memory <= self.pool.limits.memory_steps,
                Situation.SEVERAL_WINDOWS: entry.divisible,
            },
        )
        if step is Step.FRESH_PROCESS:
            entry.bound = slot.label
            self.again(slot, state, entry, error.message)
            return _Retry(
                "worker_recycled",
                "Out of memory in",
                f"; the process of {slot.label} is replaced, then each is tried alone.",
            )
        if step is Step.OTHER_DEVICE:
            entry.failed_on[slot.label] = error
            # Not only preferred: this device would run out of memory once more.
            entry.bound = max(elsewhere, key=lambda other: other.has(state.model)).label
            self.again(slot, state, entry, error.message)
            before = f"{slot.label} has too little memory for"
            return _Retry("other_device", before, "; another device tries.")
        times = "again" if entry.split else f"{entry.out_of_memory} times"
        self._exhausted(slot, state, entry, f"ran out of memory {times}: {error.message}")
        return None

    def _device_failed(
        self, slot: WorkerSlot, state: PoolJobState, entry: PendingSegment, error: SubtitleError
    ) -> _Retry | None:
        # After another fault without a success between, it is hardly the segment.
        if slot.breaker.errors > 0 or slot.breaker.trial:
            entry.device_errors += 1
        else:
            entry.errors += 1
        in_all = entry.errors + entry.device_errors
        limits = self.pool.limits
        if entry.errors >= limits.errors_to_fail or in_all >= limits.errors_in_all:
            self._exhausted(slot, state, entry, f"failed {in_all} times: {error.message}")
            return None
        self.again(slot, state, entry, error.message)
        after = f" ({error.message}); its process is replaced."
        return _Retry("worker_recycled", f"{slot.label} failed in", after)

    def _failed(
        self, slot: WorkerSlot, state: PoolJobState, entry: PendingSegment, error: SubtitleError
    ) -> _Retry | None:
        entry.errors += 1
        entry.failed_on[slot.label] = error
        if entry.errors >= self.pool.limits.errors_to_fail:
            reason = f"failed {entry.errors} times: {error.message}"
            self._exhausted(slot, state, entry, reason)
            return None
        self.again(slot, state, entry, error.message)
        after = f" again after an error on {slot.label}: {error.message}"
        return _Retry("segment_retried", "Trying", after)

    def _exhausted(
        self, slot: WorkerSlot, state: PoolJobState, entry: PendingSegment, reason: str
    ) -> None:
        """Nothing else helps: divide the segment, or leave it out."""
        if state.ending is not None:
            return
        if not entry.divisible:
            text = f"Leaving out {entry.name}: it {reason}"
            level = logging.ERROR
            self.pool.tell(
                "segment_given_up", text, [state], slot=slot, segments=[entry], level=level
            )
            state.failed(entry, slot.label, reason)
            return
        parts = Split(entry.segment, entry.attempts).parts()
        for part in parts:
            if entry.out_of_memory:
                part.out_of_memory = self.pool.limits.memory_steps
            state.put(part)
        text = f"Trying the {len(parts)} windows of {entry.name} one by one: it {reason}"
        self.pool.tell("segment_split", text, [state], slot=slot, segments=[entry])
