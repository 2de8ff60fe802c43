"""The one place jobs are run: a bounded queue, a few running at a time, one pool of workers.

submit ─► check ─► waiting (FIFO) ─► a thread per running job ─► run_pipeline ─► Job ended
                                         └── all share one WorkerPool and its loaded models
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import Cancelled, DiskFull, QueueFull, SubtitleError, WorkerError
from core.settings import Settings
from jobs.folders import NO_SPACE, JobFolders
from jobs.job import Job
from jobs.pipeline import PipelineResult, run_pipeline
from jobs.request import JobRequest, check, with_defaults
from parallel_transcriber import ParallelWhisperTranscriber, make_pool
from workers.fleet import WorkerStatus
from workers.pool import WorkerPool

log = logging.getLogger(__name__)

SWEEP_EVERY_S = 600.0
"""Between two looks for expired jobs; they are kept for hours, so minutes do not matter."""

CLOSE_GRACE_S = 1.0
"""Time for workers to leave by themselves: who closes is promised the end within two seconds."""

STOP_S = 5.0
"""Longest wait for a cancelled job's thread on closing. A download of a model may hold one
longer; it ends with the process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    alive: bool
    """The service takes calls."""
    ready: bool
    """A job that comes now can be worked on."""
    workers: tuple[WorkerStatus, ...]
    """Empty before the first job or preload."""
    reason: str = ""
    """Why it is not ready."""


class JobService:
    """Runs jobs; thread-safe. No process starts before :meth:`preload` or the first job.

    Args:
        gpu_ids: GPUs to use, indices or UUIDs; None: as the settings say.
        multi_gpu: False: the pool has one worker.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        gpu_ids: Sequence[int | str] | None = None,
        multi_gpu: bool = True,
    ) -> None:
        self.settings = settings
        self.folders = JobFolders(settings.data_dir)
        self._gpu_ids = gpu_ids
        self._multi_gpu = multi_gpu
        # Re-entrant: cancelling a job comes back here from the job.
        self._lock = threading.RLock()
        self._jobs: dict[str, Job] = {}
        self._waiting: deque[Job] = deque()
        self._running: dict[Job, threading.Thread] = {}
        self._pool: WorkerPool | None = None
        self._transcribers: dict[tuple[str, str], ParallelWhisperTranscriber] = {}
        self._closed = threading.Event()
        self._not_ready = ""
        self._sweeper = threading.Thread(target=self._sweep, name="job sweeper", daemon=True)
        self._sweeper.start()

    def preload(self) -> float:
        """Load the settings' model in all workers; the seconds it took.

        It never raises: what went wrong is logged, and is :meth:`health`'s reason not to be ready.
        """
        self._not_ready = "The model is being loaded."
        try:
            seconds = self.load()
        except SubtitleError as error:
            log.error("The model cannot be loaded: %s", error.explain())
            self._not_ready = error.explain()
            return 0.0
        except Exception as error:
            log.exception("The model cannot be loaded")
            self._not_ready = f"The model cannot be loaded: {error!r}."
            return 0.0
        self._not_ready = ""
        return seconds

    def load(self, progress: Callable[[str], None] | None = None) -> float:
        """Load the settings' model in all workers; the seconds it took.

        ``progress`` gets a line for people now and then while the model is downloaded.

        Raises:
            ModelError, WorkerError, DiskFull: it cannot be had or loaded.
        """
        transcriber = self._transcriber(self.settings.model, self.settings.compute_type)
        transcriber.resolve(progress)
        return transcriber.preload()

    def check(self, request: JobRequest) -> None:
        """Refuse, without loading or decoding anything, what cannot work; see
        ``jobs.request.check``."""
        check(request, self.settings)

    def submit(self, request: JobRequest) -> Job:
        """Queue a job.

        Raises:
            InputError, ModelError: it cannot work (:meth:`check`).
            DeviceUnavailable: a GPU was asked for and is not there.
            QueueFull: too many jobs wait already.
        """
        self.check(request)
        self._shared_pool()
        with self._lock:
            if self._closed.is_set():
                raise Cancelled("The service is closed.")
            running, waiting = self.settings.max_running_jobs, self.settings.max_waiting_jobs
            if len(self._running) + len(self._waiting) >= running + waiting:
                raise QueueFull(f"{len(self._waiting)} jobs are waiting already.")
            job = Job(request, self._cancel)
            self._jobs[job.id] = job
            self._waiting.append(job)
            self._start_next()
        return job

    def get(self, job_id: str) -> Job | None:
        """The job of that id, None for one that is unknown or removed."""
        with self._lock:
            return self._jobs.get(job_id)

    def jobs(self) -> tuple[Job, ...]:
        """All jobs, oldest first."""
        with self._lock:
            return tuple(self._jobs.values())

    def health(self) -> Health:
        """Cheap: asks no worker and opens nothing."""
        workers = self._pool.status() if self._pool is not None else ()
        reason = self._not_ready
        if self._closed.is_set():
            reason = "The service is closed."
        elif workers and all(worker.state == "retired" for worker in workers):
            reason = "No worker is left, all died again and again."
        return Health(
            alive=not self._closed.is_set(), ready=not reason, workers=workers, reason=reason
        )

    def close(self) -> None:
        """Cancel all jobs and end the workers. Returns when no process is left."""
        with self._lock:
            self._closed.set()
            jobs, threads, pool = self.jobs(), list(self._running.values()), self._pool
        for job in jobs:
            job.cancel()
        if pool is not None:
            pool.close(CLOSE_GRACE_S)
        until = time.monotonic() + STOP_S
        for thread in [*threads, self._sweeper]:
            if thread is not threading.current_thread():
                thread.join(max(0.0, until - time.monotonic()))

    def __enter__(self) -> JobService:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # The queue.

    def _start_next(self) -> None:
        """With the lock held: start what may run, and tell the others their place."""
        while self._waiting and len(self._running) < self.settings.max_running_jobs:
            job = self._waiting.popleft()
            # A daemon, because a download of a model cannot always be interrupted.
            thread = threading.Thread(
                target=self._run, args=(job,), name=f"job {job.id}", daemon=True
            )
            self._running[job] = thread
            thread.start()
        for ahead, job in enumerate(self._waiting):
            job.queued(ahead)

    def _cancel(self, job: Job) -> None:
        with self._lock:
            if job in self._waiting:
                self._waiting.remove(job)
                job.fail(Cancelled())
                self._start_next()

    def _run(self, job: Job) -> None:
        """Thread of one job."""
        result, error = self._outcome(job)
        if result is None or job.request.output_dir is not None:
            self.folders.remove(job.id)
        # Its place is free before anybody hears of the end: who then submits finds room.
        with self._lock:
            self._running.pop(job, None)
            self._start_next()
        if result is not None:
            job.finish(result)
        else:
            job.fail(error)

    def _outcome(self, job: Job) -> tuple[PipelineResult | None, SubtitleError]:
        """The result, or why there is none."""
        error: SubtitleError = Cancelled()
        title = job.request.title
        try:
            if job.begin():
                with self.folders.locked(job.id) as folder:
                    result = self._transcribe(job, folder)
                log.info("Wrote %s", ", ".join(result.report.outputs))
                self._not_ready = ""
                return result, error
        except Cancelled:
            log.info("Cancelled: %s", title)
        except SubtitleError as caught:
            log.error("%s: %s", title, caught.explain())
            error = caught
        except Exception as caught:
            log.exception("%s: the job failed", title)
            error = _explained(caught)
        return None, error

    def _transcribe(self, job: Job, folder: Path) -> PipelineResult:
        request = with_defaults(job.request, self.settings)
        transcriber = self._transcriber(request.model, request.compute_type)
        job.uses(transcriber.resolve(job.progress_text).name)
        run = transcriber.start(
            request.path,
            request.decode,
            request.plan,
            audio_track=request.audio_track,
            work_dir=folder,
            max_workers=None if request.multi_gpu else 1,
        )
        job.stoppable(run.cancel)
        directory = request.output_dir or folder
        return run_pipeline(run, request.formats, directory, request.stem, job.feed)

    def _shared_pool(self) -> WorkerPool:
        with self._lock:
            if self._closed.is_set():
                raise Cancelled("The service is closed.")
            if self._pool is None:
                self._pool = make_pool(
                    self.settings, gpu_ids=self._gpu_ids, multi_gpu=self._multi_gpu
                )
            return self._pool

    def _transcriber(self, model: str, compute_type: str) -> ParallelWhisperTranscriber:
        pool = self._shared_pool()
        with self._lock:
            key = (model, compute_type)
            if key not in self._transcribers:
                self._transcribers[key] = ParallelWhisperTranscriber(
                    model, compute_type, settings=self.settings, pool=pool
                )
            return self._transcribers[key]

    # Old jobs.

    def _sweep(self) -> None:
        """Thread: remove jobs, and what earlier runs left, after their time."""
        keep_s = self.settings.keep_jobs_hours * 3600.0
        while True:
            self.forget_expired(keep_s)
            self.folders.sweep(keep_s, [job.id for job in self.jobs()])
            if self._closed.wait(SWEEP_EVERY_S):
                return

    def forget_expired(self, keep_s: float) -> None:
        """Remove jobs that ended longer ago than that, with their own folders."""
        now = time.monotonic()
        with self._lock:
            expired = [
                job
                for job in self._jobs.values()
                if job.ended_at is not None and now - job.ended_at > keep_s
            ]
            for job in expired:
                del self._jobs[job.id]
        for job in expired:
            self.folders.remove(job.id)


def _explained(error: Exception) -> SubtitleError:
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        return DiskFull("No space left for the job.")
    return WorkerError(
        f"The job failed: {type(error).__name__}: {error}", hint="The log has the details."
    )
