"""The jobs of one service: those that wait, the few that run, those that just ended."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from typing import TypeVar

from core.errors import Cancelled, Paused, SubtitleError
from core.logs import set_job
from jobs.execution import Executor, before_gaps_run
from jobs.job import Job
from jobs.pipeline import PipelineResult, explained
from jobs.request import Priority

log = logging.getLogger(__name__)

T = TypeVar("T")


_ORDER: dict[Priority, int] = {"high": 0, "normal": 1, "low": 2}

MAX_DOWNLOADS = 4
"""At a time. They wait for the network, not for devices, so they take no running job's place."""


class JobQueue:
    """Higher priority first, and within one first come, first served; thread-safe. A job with a
    link is there twice: its recording is fetched first, and then it waits behind those of its
    priority whose recordings came before it did.

    Args:
        on_success: told after every job that worked.
    """

    def __init__(
        self, max_running: int, executor: Executor, on_success: Callable[[], None]
    ) -> None:
        self._max_running = max_running
        self._executor = executor
        self._on_success = on_success
        # Re-entrant: stopping a job comes back here from the job.
        self._lock = threading.RLock()
        self._jobs: dict[str, Job] = {}
        self._arriving: dict[str, str] = {}
        """Ids and clients of jobs that have a place and are being stored."""
        self._waiting: deque[Job] = deque()
        self._downloading: dict[Job, threading.Thread] = {}
        self._running: dict[Job, threading.Thread] = {}
        self._closed = False

    def counts(self, client: str) -> tuple[int, int]:
        """Jobs that run, wait or arrive: of all clients, and of this one."""
        with self._lock:
            clients = [
                *self._arriving.values(),
                *(job.request.client for job in self._waiting),
                *(job.request.client for job in self._downloading),
                *(job.request.client for job in self._running),
            ]
        return len(clients), clients.count(client)

    def reserve(self, job_id: str, client: str) -> None:
        """Keep a place for a job until :meth:`put` or :meth:`release`."""
        with self._lock:
            self._arriving[job_id] = client

    def release(self, job_id: str) -> None:
        with self._lock:
            self._arriving.pop(job_id, None)

    def put(self, job: Job) -> None:
        """Queue it; a closed queue pauses it at once."""
        with self._lock:
            self._arriving.pop(job.id, None)
            self._jobs[job.id] = job
            if not self._closed:
                self._waiting.append(job)
                self._start_next()
                return
        _tell(job, Paused())
        job.fail(Paused())

    def get(self, job_id: str) -> Job | None:
        with self._lock:
            return self._jobs.get(job_id)

    def jobs(self) -> tuple[Job, ...]:
        """Oldest first."""
        with self._lock:
            return tuple(self._jobs.values())

    def forget(self, ids: Collection[str]) -> None:
        with self._lock:
            for job_id in ids:
                self._jobs.pop(job_id, None)

    def ended_before(self, moment: float) -> list[str]:
        """Ids of jobs in memory that ended before that time (seconds since 1970)."""
        return [
            j.id
            for j in self.jobs()
            if (ended_at := j.record.ended_at) is not None and ended_at < moment
        ]

    def stopped(self, job: Job, error: SubtitleError) -> None:
        """The job is to stop: one that waits ends at once."""
        with self._lock:
            if job not in self._waiting:
                return
            self._waiting.remove(job)
            _tell(job, error)
            job.fail(error)
            self._start_next()

    def close(self) -> None:
        """Nothing starts any more."""
        with self._lock:
            self._closed = True

    def join(self, timeout_s: float) -> bool:
        """Wait for the threads of downloads and running jobs; False when the time ran out first."""
        until = time.monotonic() + timeout_s
        with self._lock:
            threads = [*self._downloading.values(), *self._running.values()]
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def _start_next(self) -> None:
        """With the lock held: start what may run, and tell the others their place."""
        for job in () if self._closed else self._in_order():
            fetches = job.request.url is not None
            begun = self._downloading if fetches else self._running
            if len(begun) >= (MAX_DOWNLOADS if fetches else self._max_running):
                continue
            self._waiting.remove(job)
            # A daemon, because a download of a model cannot always be interrupted.
            thread = threading.Thread(
                target=self._fetch if fetches else self._run,
                args=(job,),
                name=f"job {job.id}",
                daemon=True,
            )
            begun[job] = thread
            thread.start()
        for ahead, job in enumerate(self._in_order()):
            job.queued(ahead)

    def _in_order(self) -> list[Job]:
        """Those that wait, the next one first."""
        return sorted(self._waiting, key=lambda job: _ORDER[job.request.priority])

    def _fetch(self, job: Job) -> None:
        """Thread of one download."""
        set_job(job.id)
        found, error = self._outcome(job, self._executor.fetch)
        with self._lock:
            del self._downloading[job]
            if found is not None:
                job.fetched(*found)
                if not self._closed and job.stopped is None:
                    self._waiting.append(job)
                    self._start_next()
                    return
                error = job.stopped or Paused()
            self._start_next()
        job.fail(error)

    def _run(self, job: Job) -> None:
        """Thread of one job."""
        set_job(job.id)
        result, error = self._outcome(job, self._transcribe)
        folders = self._executor.folders
        paused = isinstance(error, Paused) and result is None
        if job.request.output_dir is not None or (
            result is None and not paused and job.request.adopt == "no"
        ):
            folders.remove(job.id)
        # Its place is free before the end is announced, so that the next submission finds it free.
        with self._lock:
            self._running.pop(job, None)
            self._start_next()
        if result is None and not paused and job.request.only_gaps:
            job.recorder.note("gaps", f"Trying the gaps again failed: {error.explain()}")
            try:
                result = before_gaps_run(job, folders)
            except (OSError, ValueError):
                log.exception("%s: the transcript cannot be read", job.request.title)
        if result is not None:
            job.finish(result)
        else:
            job.fail(error)

    def _transcribe(self, job: Job) -> PipelineResult:
        with self._executor.folders.locked(job.id) as folder:
            result = self._executor.run(job, folder)
        log.info("Wrote %s", ", ".join(result.report.outputs))
        self._on_success()
        return result

    def _outcome(self, job: Job, work: Callable[[Job], T]) -> tuple[T | None, SubtitleError]:
        """What the work gave, or why it gave nothing."""
        error: SubtitleError = Cancelled()
        try:
            if job.begin():
                log.info("Started: %s", job.request.title)
                return work(job), error
        except SubtitleError as caught:
            _tell(job, caught)
            error = caught
        except Exception as caught:
            log.exception("%s failed", job.request.title)
            error = explained(caught)
        return None, error


def _tell(job: Job, error: SubtitleError) -> None:
    """A line of the log for a job that ends without a result."""
    title, about = job.request.title, {"job": job.id}
    if isinstance(error, Cancelled):
        log.info("%s: %s", title, error.message, extra=about)
    elif isinstance(error, Paused):
        log.warning("%s is not finished: %s", title, error.explain(), extra=about)
    else:
        log.error("%s failed: %s", title, error.explain(), extra=about)
