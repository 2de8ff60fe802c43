"""What a task's messages, and its worker's death, mean for the segments and the job.

The rule: every segment added ends as exactly one SegmentFinished or SegmentFailed, however many
workers it took; what had arrived before a worker died counts.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from core.errors import SubtitleError, WorkerCrashed, WorkerError
from core.events import LanguageDecided, SegmentFinished, SegmentStarted
from core.pool_job import JobEnded
from workers.messages import (
    LanguageDetected,
    SegmentDone,
    Started,
    TaskDone,
    TaskMessage,
    TaskProgress,
)
from workers.pending import PendingSegment, PoolJobState, Task
from workers.pool_state import PoolState, list_of
from workers.retry_policy import RetryPolicy
from workers.slot_state import SlotState
from workers.worker_slot import WorkerSlot

log = logging.getLogger(__name__)

CHOOSE_LANGUAGE = "Choose the language instead of leaving it to detection."


@dataclass(frozen=True, slots=True)
class ResultHandler:
    """Applies results to jobs; the supervisor's thread calls it."""

    pool: PoolState
    retries: RetryPolicy

    def take(self, slot: WorkerSlot, task: Task, message: TaskMessage, now: float) -> bool:
        """Whether the worker, which is idle now, is unfit for more work."""
        task.heard_s = now
        state = task.state
        if isinstance(message, TaskDone):
            return self._done(slot, task, message.elapsed_s, now)
        if state.ending is not None or isinstance(message, TaskProgress):
            return False
        if isinstance(message, Started):
            task.started.add(message.index)
            state.job.emit(SegmentStarted(message.index, slot.label))
        elif isinstance(message, SegmentDone):
            entry = self._answered(slot, task, message.result.index)
            if entry is not None:
                self._finished(slot, task, entry, message.result, now)
        elif isinstance(message, LanguageDetected):
            state.job.emit(LanguageDecided(message.language, message.probability))
        elif message.index is None:
            for entry in task.open.values():
                entry.avoid.add(slot.label)
            if slot.endpoint is not None:
                self.retries.endpoints.charge(slot, message.error, now)
            else:
                self._no_language(slot, state, message.error)
        else:
            entry = self._answered(slot, task, message.index)
            if entry is not None:
                task.failed.append((entry, message.error))
        return False

    def worker_lost(self, slot: WorkerSlot, task: Task, died: str, now: float) -> bool:
        """The worker died with this task: its open segments go back, or become gaps. Whether a
        segment killed it, which does not count against the slot."""
        state = task.state
        state.job.transcribe_s += now - task.given_s
        self._tell_lost(slot, task, died)
        self.retries.raised(slot, task, now)
        if slot.state is SlotState.LEAVING or task.cancel_by_s is not None:
            # Taken from it, through no fault of anybody.
            for entry in task.open.values():
                state.put(entry)
            task.open.clear()
            self._release(task)
            return False
        in_detection = bool(task.command.language_windows) and state.job.language is None
        if in_detection and state.ending is None and slot.endpoint is None:
            self._no_language(
                slot, state, WorkerCrashed(f"Language detection killed the worker ({died}).")
            )
        started = [entry for entry in task.open.values() if entry.index in task.started]
        suspects = list(task.open.values()) if len(task.open) == 1 else started
        # Of several that were decoded together it may have been any: each goes alone then.
        culprit = suspects[0] if len(suspects) == 1 and not in_detection else None
        guilty = False
        for entry in task.open.values():
            if entry is culprit and state.ending is None:
                guilty = self.retries.killed(slot, state, entry, died)
            else:
                self.retries.again(slot, state, entry, f"its worker died ({died})")
        task.open.clear()
        self._release(task)
        return guilty

    def settle(self, state: PoolJobState) -> None:
        """End the job if nothing of it is left to do and no worker has a task of it."""
        if state.done and state in self.pool.jobs:
            self.pool.jobs.remove(state)
            state.waiting.clear()
            state.job.emit(JobEnded(state.ending))

    def _tell_lost(self, slot: WorkerSlot, task: Task, died: str) -> None:
        taken = slot.state is SlotState.LEAVING or task.cancel_by_s is not None
        if taken or task.state.ending is not None:
            log.info("[%s] worker ended with a task that was taken from it: %s", slot.label, died)
            return
        entries = [*task.open.values(), *(entry for entry, _ in task.failed)]
        doing = f" with {list_of(entries)} in work" if entries else ""
        self.pool.tell(
            "worker_hung" if slot.hung else "worker_lost",
            f"The worker of {slot.label} {'hung and was killed' if slot.hung else 'died'}"
            f"{doing} ({died}).",
            [task.state],
            slot=slot,
            segments=sorted(entries, key=lambda entry: entry.index),
        )

    def _done(self, slot: WorkerSlot, task: Task, elapsed_s: float, now: float) -> bool:
        # Segments left open belong to a cancelled task, or to one whose model went missing
        # between two commands; then they wait for another worker.
        state = task.state
        for entry in task.open.values():
            log.debug("[%s] %s comes back undone", slot.label, entry.name, extra=state.about)
            state.put(entry)
        if task.finished and not task.open and not task.failed:
            # From the giving to the answer: the way to another machine counts as well.
            slot.measure(task, now - task.given_s)
        unfit = self.retries.raised(slot, task, now)
        state.job.transcribe_s += elapsed_s
        slot.end_task()
        self._release(task)
        return unfit

    def _release(self, task: Task) -> None:
        task.state.tasks -= 1
        task.state.detecting = False
        self.settle(task.state)

    def _answered(self, slot: WorkerSlot, task: Task, index: int) -> PendingSegment | None:
        entry = task.open.pop(index, None)
        if entry is None:
            log.error("[%s] answered segment %d unasked", slot.label, index)
        return entry

    def _finished(
        self,
        slot: WorkerSlot,
        task: Task,
        entry: PendingSegment,
        result: SegmentFinished,
        now: float,
    ) -> None:
        report = replace(
            result.report,
            device=slot.label,
            attempts=entry.attempts,
            compute_type=task.model.compute_type,
        )
        task.finished += 1
        slot.finished += 1
        if slot.breaker.succeeded():
            text, jobs = f"{slot.label} works again.", self.pool.concerned(slot)
            self.pool.tell("device_back", text, jobs, slot=slot, level=logging.INFO)
        self.retries.succeeded_elsewhere(slot, entry, now)
        reduced = report.reduced_batch
        if reduced and reduced != task.reduced_batch:
            task.reduced_batch = reduced
            slot.batches[task.model] = min(reduced, slot.batches.get(task.model, reduced))
            self.pool.tell(
                "batch_halved",
                f"{slot.label} ran out of memory and went on with {reduced} windows at a time.",
                [task.state],
                slot=slot,
                segments=[entry],
                level=None,
            )
        log.debug(
            "[%s] %s is finished in task %d: %d words, %d texts, %d gaps in %.2fs; %d windows, %d"
            " decoded again",
            *(slot.label, entry.name, task.command.task_id),
            *(sum(len(text.words) for text in result.segments), report.texts),
            *(len(result.gaps), report.elapsed_s, report.windows, report.redecoded_windows),
            extra=task.state.about,
        )
        task.state.finished(entry, replace(result, report=report))

    def _no_language(self, slot: WorkerSlot, state: PoolJobState, error: SubtitleError) -> None:
        state.detections_failed += 1
        if state.detections_failed < self.pool.limits.detections_to_fail:
            log.warning(
                "[%s] The language is detected again: %s",
                *(slot.label, error.message),
                extra=state.about,
            )
        else:
            state.ending = WorkerError(
                f"The language could not be detected: {error.message}", hint=CHOOSE_LANGUAGE
            )
