"""Where jobs are run: a bounded queue, a few running at a time, one pool of workers.

submit ─► check ─► admit ─► database ─► waiting (priority) ─► a thread per running job ─► Executor
                                             └── all share one WorkerPool and its loaded models

Jobs belong to the service, not to the page or program that submitted them: they are in the database
before ``submit`` returns, and a service that starts resumes those that a dead or stopped one left.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from core.errors import FileMissing, InvalidOption, NoSuchJob, Paused
from core.models import AUTO
from core.settings import Settings
from gpu.support import runs_on_cpus
from jobs.admission import Admission
from jobs.database import Database
from jobs.endpoints import Endpoints
from jobs.engines import Engines
from jobs.execution import Executor
from jobs.folders import JobFolders
from jobs.health import Health, health_of
from jobs.idempotency import BoundKey
from jobs.job import Job, JobHandle
from jobs.maintenance import Maintenance
from jobs.outbox import Outbox
from jobs.peaks import learn
from jobs.queue import JobQueue
from jobs.recorder import Recorder
from jobs.records import HistoryEntry, JobRecord
from jobs.request import JobRequest, check, kept_name, with_defaults
from jobs.runners import Runner
from jobs.states import JobState
from jobs.store import JobStore
from jobs.stored import StoredJob
from telemetry.watch import Telemetry

log = logging.getLogger(__name__)

STOP_S = 5.0
"""Longest wait for a stopped job's thread on closing. A download of a model may hold one
longer; it ends with the process."""


class JobService:
    """Runs jobs; thread-safe. No worker process starts before :meth:`preload` or the first job.

    Args:
        gpu_ids: GPUs to use, indices or UUIDs; None: as the settings say.
        multi_gpu: False: the pool has one worker.

    Raises:
        DatabaseUnavailable: the job database does not answer.
        InvalidOption: the settings' compute type is none that the devices can do.
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
        self._lock = threading.RLock()
        self._closed = threading.Event()
        self._stopped = False
        self._telemetry = Telemetry(settings)
        self.engines = Engines(settings, gpu_ids, multi_gpu)
        self.engines.check_compute_type(settings.compute_type)
        self.database = Database.open(settings)
        self.store = JobStore(self.database)
        self._outbox = Outbox()
        self._stop_learning = learn(self.database, self._outbox)
        self.runner = Runner(settings.data_dir, self.store)
        self.runner.start()
        executor = Executor(
            settings, self.folders, self.store, self._outbox, self.engines.lent, self._closed
        )
        self._queue = JobQueue(settings.max_running_jobs, executor, on_success=self._worked)
        self.admission = Admission(settings)
        self.endpoints = Endpoints(
            settings, self.database, self.engines.set_endpoints, self.engines.trust_endpoint
        )
        self.maintenance = Maintenance(
            store=self.store,
            outbox=self._outbox,
            runner=self.runner,
            queue=self._queue,
            folders=self.folders,
            keep_s=settings.keep_jobs_hours * 3600.0,
            enqueue=self._enqueue,
            endpoints=self.endpoints,
        )
        self.endpoints.look()
        # Before the first submission: the job that waited longest goes first.
        self.maintenance.take_over()
        self.maintenance.start()

    def preload(self) -> float:
        """Load the settings' model in all workers and return the seconds it took. It never raises:
        :meth:`health` says why the service is not ready."""
        return self.engines.preload()

    # Jobs.

    def check(self, request: JobRequest) -> None:
        """Refuse, without loading or decoding anything, what cannot work; see
        ``jobs.request.check``."""
        check(request, self.settings)
        wanted = with_defaults(request.options, self.settings)
        self.engines.check_compute_type(wanted.compute_type, wanted.device)
        if not request.only_gaps:  # which are tried again on this machine
            self.endpoints.check_where(request.options.where)

    def admit(self, client: str) -> None:
        """Refuse a client's next job before its recording is uploaded.

        Raises:
            ClientLimit, QueueFull, DiskFull: there is no room.
            Paused: the service stops.
        """
        with self._lock:
            self._check_open()
            total, of_client = self._queue.counts(client)
            self.admission.check(client=client, jobs=total, of_client=of_client)

    def submit(
        self, request: JobRequest, *, source_id: str | None = None, key: BoundKey | None = None
    ) -> JobHandle:
        """Queue a job. It is in the database when this returns.

        Raises:
            InputError, ModelError: it cannot work (:meth:`check`). A link takes a second.
            DeviceUnavailable: a GPU was asked for and is not there.
            QueueFull, ClientLimit, DiskFull: there is no room for it.
            DatabaseUnavailable: it cannot be stored.
            Paused: the service stops.
        """
        if request.url is not None:
            self.admit(request.client)  # before a process looks at the link
        self.check(request)
        self.engines.pool()
        job_id = secrets.token_urlsafe(12)
        with self._room_for(job_id, request.client):
            if request.url is None:
                path = self.folders.adopt(job_id, request.path, request.title, request.adopt)
                request = replace(request, path=path, name=kept_name(request.title))
            else:
                request = replace(request, adopt="move")
            record = self._record(job_id, self._settled(request), source_id)
            try:
                self.store.insert(record, key)
            except BaseException:
                # It may be stored all the same, when only the answer was lost.
                self._outbox.put(partial(self.store.delete, job_id))
                if request.adopt != "no":
                    self.folders.remove(job_id)
                raise
        return self._enqueue(record, "submitted", f"Submitted: {request.title}")

    def get(self, job_id: str) -> JobHandle | None:
        """The job of that id, None for one that is unknown or removed.

        Raises DatabaseUnavailable for one that is not in memory while the database is away.
        """
        job = self._queue.get(job_id)
        if job is not None:
            return job
        record = self.store.get(job_id)
        if record is None:
            return None
        return self._stored_job(record)

    def jobs(self) -> tuple[Job, ...]:
        """The jobs in memory, oldest first: those that run or wait, and those that just ended."""
        return self._queue.jobs()

    def find(
        self,
        owner: str | None,
        text: str = "",
        states: Collection[JobState] = (),
        limit: int = 50,
        offset: int = 0,
    ) -> tuple[list[JobRecord], int]:
        """Jobs of an owner (None: of all), newest first, and how many there are."""
        return self.store.find(owner=owner, text=text, states=states, limit=limit, offset=offset)

    def history(self, job_id: str) -> tuple[HistoryEntry, ...]:
        """What happened to a job, oldest first."""
        return tuple(self.store.history(job_id))

    def cancel(self, job_id: str) -> None:
        """Stop a job wherever it runs. Raises NoSuchJob."""
        job = self._queue.get(job_id)
        if job is not None:
            job.cancel()
            return
        self.maintenance.cancel_elsewhere(self._stored(job_id))

    def delete(self, job_id: str) -> None:
        """Remove a job with its recording, files and journal; it is cancelled first.

        Raises NoSuchJob.
        """
        job = self._queue.get(job_id)
        if job is not None:
            job.cancel()
            job.wait(STOP_S)
            # Its last writes must come before the row is deleted.
            self._outbox.flush(STOP_S)
            self._queue.forget([job_id])
        else:
            record = self._stored(job_id)
            self.cancel(job_id)
            # Where another service has it, that one must hear of it before the row is gone.
            self._stored_job(record).wait(STOP_S)
        self.store.delete(job_id)
        self.folders.remove(job_id)

    def rerun(self, job_id: str, request: JobRequest) -> JobHandle:
        """A new job over the recording of an old one; the request's path and name are ignored.

        Raises as :meth:`submit`, and NoSuchJob, FileMissing.
        """
        record = self._stored(job_id)
        old = record.request
        if old.url is None and not old.path.is_file():
            raise FileMissing(f"The recording {record.name} is no longer kept.")
        request = replace(
            request,
            path=old.path,
            url=old.url,
            name=record.name if old.url is None else old.name,
            adopt="no" if old.adopt == "no" else "link",
            only_gaps=False,
        )
        return self.submit(request, source_id=job_id)

    def retry_gaps(
        self, job_id: str, *, model: str | None = None, device: str | None = None
    ) -> JobHandle:
        """Decode a finished job's gaps again here, and nothing else; its files are replaced.

        Raises:
            NoSuchJob, FileMissing: it, or its recording, is gone.
            InvalidOption: it has no gaps, or has not ended.
            Otherwise as :meth:`submit`.
        """
        self._outbox.flush(STOP_S)
        record = self._stored(job_id)
        if record.state is not JobState.COMPLETE_WITH_GAPS:
            raise InvalidOption(
                f"{record.name} has no gaps to try again.",
                hint="Only the gaps of a finished job can be tried again.",
            )
        options = record.request.options
        moved, device = device is not None, device or options.device
        compute_type = options.compute_type
        if not runs_on_cpus(compute_type) and self.engines.only_cpus(device):
            compute_type = AUTO  # the job ran where there was a GPU
        request = replace(record.request, only_gaps=True).choosing(
            model=model or record.model or options.model, device=device, compute_type=compute_type
        )
        self.check(request)
        self.engines.pool()
        fields: dict[str, Any] = {
            "request": request,
            "state": JobState.QUEUED,
            "runner": self.runner.id,
            "ended_at": None,
            "message": "",
        }
        with self._room_for(job_id, request.client):
            self._queue.forget([job_id])
            self.store.update(job_id, **fields)
        asked = f" with model {request.options.model}" + (f" on {device}" if moved else "")
        return self._enqueue(replace(record, **fields), "gaps", f"The gaps are tried again{asked}.")

    # The service.

    def health(self) -> Health:
        """Cheap: asks no worker and opens nothing."""
        return health_of(
            self.engines, database=self.database.answers, closing=self._closed.is_set()
        )

    def stop_admission(self) -> None:
        """No new job from now on; those that run go on until :meth:`close`."""
        self._closed.set()
        self._queue.close()

    def hurry(self) -> None:
        """Pause what runs instead of finishing it: the caller waits for :meth:`close`."""
        for job in self.jobs():
            job.pause()

    def close(self, grace_s: float | None = None) -> None:
        """Stop. Returns when no process is left.

        Segments in work are finished within ``grace_s`` (None: as the settings say) and kept; jobs
        are then paused, and go on when a service starts on the same data.
        """
        if self._stopped:
            return
        self._stopped = True
        with self._lock:
            self.stop_admission()
        self.engines.drain(self.settings.shutdown_grace_s if grace_s is None else grace_s)
        self.hurry()
        self.engines.close()
        self._queue.join(STOP_S)
        self.maintenance.close(STOP_S)
        self._stop_learning()
        if not self._outbox.close(STOP_S):
            log.error("Some results could not be written to the job database; they are redone.")
        self.runner.close()
        self.database.close()
        self._telemetry.close()

    def __enter__(self) -> JobService:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # Inside.

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise Paused("The service is stopping.", hint="Try again in a minute.")

    @contextmanager
    def _room_for(self, job_id: str, client: str) -> Iterator[None]:
        """Room for one more job while it is being stored; it is given back when that fails."""
        with self._lock:
            self.admit(client)
            self._queue.reserve(job_id, client)
        try:
            yield
        except BaseException:
            self._queue.release(job_id)
            raise

    def _settled(self, request: JobRequest) -> JobRequest:
        """With a beam, a batch and a place that stay when the service is started again with other
        settings: finished segments hold only for the options they were decoded with."""
        chosen = with_defaults(request.options, self.settings)
        return request.choosing(**chosen.model_dump(include={"beam_size", "batch_size", "where"}))

    def _record(self, job_id: str, request: JobRequest, source_id: str | None) -> JobRecord:
        return JobRecord(
            id=job_id,
            owner=request.owner,
            client=request.client,
            name=request.title,
            state=JobState.QUEUED,
            request=request,
            created_at=time.time(),
            storage_id=self.runner.storage_id,
            runner=self.runner.id,
            source_id=source_id,
        )

    def _enqueue(self, record: JobRecord, kind: str, text: str) -> Job:
        watches = self._telemetry.watch(record.id)
        recorder = Recorder(self.store, self._outbox, record.id, watches)
        job = Job(record, recorder, self._queue.stopped)
        job.recorder.note(kind, text)
        self._queue.put(job)
        return job

    def _stored_job(self, record: JobRecord) -> StoredJob:
        return StoredJob(
            record,
            self.folders,
            lambda: self.store.get(record.id),
            lambda: self.cancel(record.id),
        )

    def _stored(self, job_id: str) -> JobRecord:
        record = self.store.get(job_id)
        if record is None:
            raise NoSuchJob(f"There is no job {job_id}.")
        return record

    def _worked(self) -> None:
        self.engines.not_ready = ""
