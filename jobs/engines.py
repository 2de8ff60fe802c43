"""The pool of workers and the models in it, shared by all jobs of a service."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from core.endpoints import Endpoint
from core.errors import DeviceUnavailable, Paused, SubtitleError
from core.models import AUTO
from core.settings import Settings
from gpu.manager import Released
from gpu.support import check_compute_type, runs_on_cpus
from parallel_transcriber import ParallelWhisperTranscriber, make_pool
from workers.devices import find_devices
from workers.fleet import WorkerStatus
from workers.pool import WorkerPool

log = logging.getLogger(__name__)

CLOSE_GRACE_S = 1.0
"""Time for workers to leave by themselves after the last task."""


class Engines:
    """Thread-safe. No process starts before the first call that needs one."""

    def __init__(
        self, settings: Settings, gpu_ids: Sequence[int | str] | None, multi_gpu: bool
    ) -> None:
        self._settings = settings
        self._gpu_ids = gpu_ids
        self._multi_gpu = multi_gpu
        self._lock = threading.Lock()
        self._closed = False
        self._pool: WorkerPool | None = None
        self._own: set[WorkerPool] = set()
        """Of jobs on other devices than the settings'."""
        self._endpoints: tuple[Endpoint, ...] = ()
        self._transcribers: dict[tuple[str, str], ParallelWhisperTranscriber] = {}
        self.not_ready = ""
        """Why the settings' model is not there; empty once it is."""

    def pool(self) -> WorkerPool:
        """Raises DeviceUnavailable: a GPU was asked for and is not there. Paused: closed."""
        with self._lock:
            if self._closed:
                raise Paused("The service is closed.")
            if self._pool is None:
                self._pool = make_pool(
                    self._settings,
                    gpu_ids=self._gpu_ids,
                    multi_gpu=self._multi_gpu,
                    # Jobs wait when no device is left, instead of failing.
                    wait_for_devices=True,
                )
                self._tell_endpoints(self._pool)
            return self._pool

    def set_endpoints(self, endpoints: tuple[Endpoint, ...]) -> None:
        """The remote servers that jobs may use from now on, also those that run."""
        with self._lock:
            before, self._endpoints = self._endpoints, endpoints
            for pool in (self._pool, *self._own):
                if pool is not None and before != endpoints:
                    pool.set_endpoints(endpoints)

    def trust_endpoint(self, endpoint_id: str) -> None:
        """It has passed a test: it gets work again, whatever it was taken out for."""
        with self._lock:
            for pool in (self._pool, *self._own):
                if pool is not None:
                    pool.endpoint_tested(endpoint_id)

    def endpoint_workers(self) -> tuple[WorkerStatus, ...]:
        """What the slots of endpoints do; empty before the pool is needed."""
        if not self._endpoints or self._pool is None:
            return ()
        found: tuple[WorkerStatus, ...] = self._pool.endpoint_status()
        return found

    def _tell_endpoints(self, pool: WorkerPool) -> None:
        if self._endpoints:
            pool.set_endpoints(self._endpoints)

    def only_cpus(self, device: str = AUTO) -> bool:
        """Whether every device that would take a job is a CPU. False also where a GPU was asked for
        and is not there: :meth:`pool` tells that.

        ``device``: as a ``JobRequest`` has it.
        """
        if device != AUTO:
            return device == "cpu"
        settings = self._settings
        try:
            devices = (
                self._pool.devices
                if self._pool is not None
                else find_devices(
                    device=settings.device,
                    cuda_visible_devices=settings.cuda_visible_devices,
                    gpu_ids=self._gpu_ids,
                    workers=1,
                )
            )
        except DeviceUnavailable:
            return False
        return all(device.kind == "cpu" for device in devices)

    def check_compute_type(self, compute_type: str, device: str = AUTO) -> None:
        """Raises InvalidOption for a type that no device can do which would take the job."""
        # Cards are looked at only where that decides.
        only_cpus = not runs_on_cpus(compute_type) and self.only_cpus(device)
        check_compute_type(compute_type, only_cpus=only_cpus)

    def transcriber(self, model: str, compute_type: str) -> ParallelWhisperTranscriber:
        """The one of a model and compute type, over the shared pool."""
        pool = self.pool()
        with self._lock:
            key = (model, compute_type)
            if key not in self._transcribers:
                self._transcribers[key] = ParallelWhisperTranscriber(
                    model, compute_type, settings=self._settings, pool=pool
                )
            return self._transcribers[key]

    @contextmanager
    def lent(
        self, model: str, compute_type: str, device: str
    ) -> Iterator[ParallelWhisperTranscriber]:
        """The shared transcriber, or one with workers of its own where a job asks for another
        device than the settings'."""
        if device == AUTO:
            yield self.transcriber(model, compute_type)
            return
        settings = self._settings.model_copy(update={"device": device})
        with ParallelWhisperTranscriber(model, compute_type, settings=settings) as own:
            with self._lock:
                self._own.add(own.pool)
                self._tell_endpoints(own.pool)
            try:
                yield own
            finally:
                with self._lock:
                    self._own.discard(own.pool)

    def preload(self) -> float:
        """Load the settings' model in all workers; the seconds it took. It never raises: what went
        wrong is logged and is the reason not to be ready."""
        self.not_ready = "The model is being loaded."
        try:
            seconds = self.transcriber(self._settings.model, self._settings.compute_type).preload()
        except SubtitleError as error:
            log.error("The model cannot be loaded: %s", error.explain())
            self.not_ready = error.explain()
            return 0.0
        except Exception:
            log.exception("The model cannot be loaded")
            self.not_ready = "The model cannot be loaded; the log says why."
            return 0.0
        self.not_ready = ""
        return seconds

    def unload(self) -> tuple[Released, ...]:
        """Unload the models that no running job needs; one answer per worker."""
        return self._pool.release() if self._pool is not None else ()

    def workers(self) -> tuple[WorkerStatus, ...]:
        """Empty before the pool is needed: workers that were not asked for yet are not dead."""
        return self._pool.status() if self._pool is not None and self._pool.started else ()

    def incidents(self) -> Mapping[str, int]:
        """Faults of workers since the start, by kind."""
        return self._pool.counters() if self._pool is not None else {}

    def drain(self, timeout_s: float) -> bool:
        """Let workers finish what they have, and give them no more; False after the time."""
        with self._lock:
            self._closed = True
        return self._pool is None or self._pool.drain(timeout_s)

    def close(self) -> None:
        """End the workers. Returns when no process is left."""
        with self._lock:
            self._closed = True
        if self._pool is not None:
            self._pool.close(CLOSE_GRACE_S)
