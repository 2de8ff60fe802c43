"""What a task's messages, and its worker's death, mean for the segments and the job.

The rule: every segment added ends as exactly one SegmentFinished or SegmentFailed, however many
workers it took; what had arrived before a worker died counts.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from core.errors import OutOfMemory, SubtitleError, WorkerCrashed, WorkerError
from core.events import LanguageDecided, SegmentFailed, SegmentFinished, SegmentStarted
from core.types import Gap, SegmentReport, SegmentResult
from workers.job import JobEnded
from workers.limits import PoolLimits
from workers.messages import (
    LanguageDetected,
    LanguageFailed,
    SegmentDone,
    SegmentError,
    Started,
    TaskDone,
)
from workers.scheduler import Scheduler
from workers.seat import Seat
from workers.tasks import Entry, JobState, Task

log = logging.getLogger(__name__)

TaskMessage = Started | SegmentDone | SegmentError | LanguageDetected | LanguageFailed | TaskDone
CHOOSE_LANGUAGE = "Choose the language instead of leaving it to detection."


class Outcomes:
    """Applies results to jobs; the supervisor's thread calls it."""

    def __init__(self, scheduler: Scheduler, limits: PoolLimits) -> None:
        self._scheduler = scheduler
        self._limits = limits

    def take(self, seat: Seat, task: Task, message: TaskMessage, now: float) -> None:
        task.heard_s = now
        state = task.state
        if isinstance(message, TaskDone):
            # Segments left open belong to a cancelled task, or to one whose model went missing
            # between two commands; then they wait for another worker.
            for entry in task.open.values():
                state.put(entry)
            state.job.transcribe_s += message.elapsed_s
            seat.task = None
            self._release(task)
        elif state.ending is not None:
            return
        elif isinstance(message, Started):
            task.started.add(message.index)
            state.job.emit(SegmentStarted(message.index, seat.label))
        elif isinstance(message, SegmentDone):
            self._finished(seat, task, message.result)
        elif isinstance(message, SegmentError):
            self._raised(seat, task, message)
        elif isinstance(message, LanguageDetected):
            state.options = replace(state.options, language=message.language)
            state.job.emit(LanguageDecided(message.language, message.probability))
        else:
            for entry in task.open.values():
                entry.avoid.add(seat.label)
            self._no_language(state, message.error)

    def worker_lost(self, seat: Seat, task: Task, reason: str, now: float) -> None:
        """The worker died with this task: its open segments go back, or become gaps."""
        state = task.state
        state.job.transcribe_s += now - task.given_s
        in_detection = bool(task.language_windows) and state.options.language is None
        if in_detection and state.ending is None:
            self._no_language(
                state, WorkerCrashed(f"Language detection killed the worker ({reason}).")
            )
        alone = len(task.open) == 1 and not in_detection
        suspects = set(task.open) if alone else task.started
        for entry in list(task.open.values()):
            if entry.index in suspects:
                entry.kills += 1
            if entry.kills >= self._limits.kills_to_fail:
                self._give_up(seat, state, entry, f"killed {_count(entry.kills)} ({reason})")
                # This death is the segment's doing, so it does not count against the slot.
                seat.forgiven = True
            else:
                self._again(seat, state, entry)
        task.open.clear()
        self._release(task)

    def settle(self, state: JobState) -> None:
        """End the job if nothing of it is left to do and no worker has a task of it."""
        if state.done and state in self._scheduler.jobs:
            self._scheduler.jobs.remove(state)
            state.waiting.clear()
            state.job.emit(JobEnded(state.ending))

    def _release(self, task: Task) -> None:
        task.state.tasks -= 1
        task.state.detecting = False
        self.settle(task.state)

    def _finished(self, seat: Seat, task: Task, result: SegmentResult) -> None:
        entry = task.open.pop(result.index, None)
        if entry is None:
            log.error("[%s] answered segment %d unasked", seat.label, result.index)
            return
        seat.deaths = 0
        segment = entry.segment
        task.state.job.report(
            SegmentReport(
                index=segment.index,
                start_s=segment.start_s,
                end_s=segment.end_s,
                windows=result.windows,
                device=seat.label,
                texts=len(result.segments),
                elapsed_s=result.elapsed_s,
                redecoded_windows=result.redecoded_windows,
                attempts=entry.attempts,
            )
        )
        task.state.job.emit(
            SegmentFinished(
                segment.index, seat.label, result.segments, result.gaps, result.elapsed_s
            )
        )

    def _raised(self, seat: Seat, task: Task, message: SegmentError) -> None:
        entry = task.open.pop(message.index, None)
        if entry is None:
            log.error("[%s] answered segment %d unasked", seat.label, message.index)
            return
        if isinstance(message.error, OutOfMemory):
            # The engine has tried smaller batches; a context that ran out may stay broken
            # (TranscriptionSuite#268), so the retry gets a fresh process.
            seat.recycle = True
        entry.errors += 1
        if entry.errors >= self._limits.errors_to_fail:
            self._give_up(seat, task.state, entry, f"failed {entry.errors} times: {message.error}")
        else:
            self._again(seat, task.state, entry)

    def _again(self, seat: Seat, state: JobState, entry: Entry) -> None:
        entry.alone = True
        entry.avoid.add(seat.label)
        state.put(entry)

    def _give_up(self, seat: Seat, state: JobState, entry: Entry, reason: str) -> None:
        if state.ending is not None:
            return
        segment = entry.segment
        log.error(
            "[%s] Segment %d (%.1f-%.1fs) is left out: %s",
            seat.label,
            segment.index,
            segment.start_s,
            segment.end_s,
            reason,
        )
        gap = Gap(segment.start_s, segment.end_s, reason, segment.index)
        state.job.emit(SegmentFailed(segment.index, seat.label, gap))

    def _no_language(self, state: JobState, error: SubtitleError) -> None:
        state.detections_failed += 1
        if state.detections_failed >= self._limits.detections_to_fail:
            state.ending = WorkerError(
                f"The language could not be detected: {error.message}", hint=CHOOSE_LANGUAGE
            )


def _count(kills: int) -> str:
    return "two workers" if kills == 2 else f"{kills} workers"
