"""What a service does beside its jobs: it shows that it lives, takes over the jobs of dead
services, hears cancellations from other services, and removes what has expired."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from core.errors import CapacityError
from jobs.endpoints import Endpoints
from jobs.folders import JobFolders
from jobs.outbox import Outbox
from jobs.queue import JobQueue
from jobs.records import JobRecord
from jobs.runners import Runner
from jobs.states import JobState
from jobs.store import JobStore

log = logging.getLogger(__name__)

SWEEP_EVERY_S = 600.0
"""Between two looks for expired jobs; they are kept for hours, so minutes do not matter."""

TICK_S = 0.5
"""Between two looks for cancellations: the user is promised an end within two seconds."""

BEAT_EVERY_S = 5.0
ENDPOINTS_EVERY_S = 3.0
"""Between two looks whether somebody has changed the speech endpoints."""

ORPHANS_EVERY_S = 5.0
"""Between two looks for jobs of services that died."""

FORGET_AFTER_S = 60.0
"""Ended jobs stay in memory that long, so that watchers see the end; then the database has them."""


class Maintenance:
    """One thread, from :meth:`start` to :meth:`close`.

    Args:
        keep_s: how long ended jobs and their files are kept.
        enqueue: takes a record, and kind and text of the line in its history.
        endpoints: what the pools use.
    """

    def __init__(
        self,
        *,
        store: JobStore,
        outbox: Outbox,
        runner: Runner,
        queue: JobQueue,
        folders: JobFolders,
        keep_s: float,
        enqueue: Callable[[JobRecord, str, str], object],
        endpoints: Endpoints,
    ) -> None:
        self.store = store
        self.outbox = outbox
        self.runner = runner
        self.queue = queue
        self.folders = folders
        self.keep_s = keep_s
        self.enqueue = enqueue
        self.endpoints = endpoints
        self._closed = threading.Event()
        self._no_database = False
        self._thread = threading.Thread(target=self._run, name="job maintenance", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self, timeout_s: float) -> None:
        self._closed.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        every_s: dict[Callable[[], None], float] = {
            self.runner.beat: BEAT_EVERY_S,
            self.sweep: SWEEP_EVERY_S,
            self._forget_ended: FORGET_AFTER_S / 6,
            self._hear_cancels: TICK_S,
            self.take_over: ORPHANS_EVERY_S,
            self.endpoints.look: ENDPOINTS_EVERY_S,
        }
        due_s = dict.fromkeys(every_s, 0.0)
        while not self._closed.is_set():
            now = time.monotonic()
            for task in every_s:
                if now >= due_s[task] and not self._closed.is_set():
                    due_s[task] = now + every_s[task]
                    self._do(task)
            self._closed.wait(TICK_S)

    def _do(self, task: Callable[[], None]) -> None:
        try:
            task()
        except CapacityError as error:
            if not self._no_database:
                log.error("%s Running jobs go on; their results are written later.", error.message)
            self._no_database = True
        except Exception:
            # The next round may succeed, and without this thread no job is ever taken over.
            log.exception("A periodic task of the job service failed")
        else:
            if self._no_database:
                log.info("The job database answers again")
            self._no_database = False

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
