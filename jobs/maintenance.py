"""What keeps a service's jobs and files in order over time: jobs of dead services are taken over,
cancellations from elsewhere heard, ended jobs forgotten, expired ones removed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from jobs.folders import JobFolders
from jobs.outbox import Outbox
from jobs.periodic import TICK_S, PeriodicTask
from jobs.queue import JobQueue
from jobs.records import JobRecord
from jobs.runners import Runner
from jobs.states import JobState
from jobs.store import JobStore

log = logging.getLogger(__name__)

SWEEP_EVERY_S = 600.0
"""Between two looks for expired jobs; they are kept for hours, so minutes do not matter."""

BEAT_EVERY_S = 5.0
ORPHANS_EVERY_S = 5.0
"""Between two looks for jobs of services that died."""

FORGET_AFTER_S = 60.0
"""Ended jobs stay in memory that long: who watches them sees the end; then the database knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintenance:
    store: JobStore
    outbox: Outbox
    runner: Runner
    queue: JobQueue
    folders: JobFolders
    keep_s: float
    """How long ended jobs and their files are kept."""
    enqueue: Callable[[JobRecord, str, str], object]
    """Takes a record, and kind and text of the line in its history."""

    def tasks(self) -> list[PeriodicTask]:
        """For ``jobs.periodic``."""
        return [
            PeriodicTask(BEAT_EVERY_S, self.runner.beat),
            PeriodicTask(SWEEP_EVERY_S, self.sweep),
            PeriodicTask(FORGET_AFTER_S / 6, self._forget_ended),
            PeriodicTask(TICK_S, self._hear_cancels),
            PeriodicTask(ORPHANS_EVERY_S, self.take_over),
        ]

    def take_over(self) -> None:
        """Go on with jobs of this data directory that no living service has."""
        for record in self.store.waiting_orphans(self.runner.storage_id, self.runner.is_dead):
            if self.queue.get(record.id) is not None:
                continue
            if self.store.claim(record.id, record.runner, self.runner.id):
                if record.cancel_wanted:
                    self._end_cancelled(record.id)
                    continue
                fields: dict[str, Any] = {
                    "state": JobState.QUEUED,
                    "resumes": record.resumes + 1,
                    "message": "",
                }
                self.store.update(record.id, **fields)
                running = record.state is JobState.RUNNING
                log.log(
                    logging.WARNING if running else logging.INFO,
                    "Going on with %s%s",
                    *(record.name, ", whose service ended before it did" if running else ""),
                    extra={"job": record.id},
                )
                self.enqueue(
                    replace(record, runner=self.runner.id, **fields),
                    "taken_over",
                    "Taken over after the service had stopped.",
                )

    def cancel_elsewhere(self, record: JobRecord) -> None:
        """Cancel a job that is not in this service's hands."""
        if record.state.ended:
            return
        if record.runner is None and self.store.claim(record.id, None, self.runner.id):
            self._end_cancelled(record.id)
        else:
            self.store.update(record.id, cancel_wanted=True)

    def sweep(self) -> None:
        """Remove jobs, and what earlier runs left, after their time."""
        for job_id in self.store.ended_before(time.time() - self.keep_s, self.runner.storage_id):
            self.queue.forget([job_id])
            self.store.delete(job_id)
            self.folders.remove(job_id)
        self.folders.sweep(self.keep_s, lambda job_id: self.store.get(job_id) is not None)

    def _end_cancelled(self, job_id: str) -> None:
        self.store.update(
            job_id,
            state=JobState.CANCELLED,
            message="Cancelled.",
            ended_at=time.time(),
            runner=None,
        )

    def _hear_cancels(self) -> None:
        if not any(job.state.active for job in self.queue.jobs()):
            return
        for job_id in self.store.wanted_cancels(self.runner.id):
            job = self.queue.get(job_id)
            if job is not None and not job.stopped:
                job.cancel()

    def _forget_ended(self) -> None:
        if not self.outbox.backlog():
            self.queue.forget(self.queue.ended_before(time.time() - FORGET_AFTER_S))
