"""The pool of workers: one process per device, kept for the life of the service.

    with WorkerPool(find_devices()) as pool:
        request = DecodeRequest(model=model, options=DecodeOptions())
        job = pool.submit(request, spool, on_event)
        job.add(segments)
        job.finish_input()
        job.wait()

A worker that dies is replaced and its unfinished segments go to another one; a segment that
kills two workers, or raises twice, is divided into its windows, and a window that does so alone is
reported as a gap: the job goes on. A device that keeps failing is taken out for a while.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from functools import partial
from types import TracebackType

from core.endpoints import Endpoint
from core.errors import DeviceUnavailable
from core.logs import LogFormat
from core.pcm import PcmSpool
from core.pool_job import DecodeRequest, OnEvent, PoolJob
from core.types import ModelSpec
from gpu.choice import Card
from gpu.manager import Released, gpu_manager
from gpu.peaks import Peak
from workers.backend import Cluster, SlotBackend, StartBackend
from workers.devices import Device
from workers.engine import DEFAULT_ENGINE, ENDPOINT_ENGINE
from workers.fleet import WorkerStatus
from workers.limits import PoolLimits
from workers.memory import Fits, PlanBatch
from workers.messages import WorkerSpec
from workers.slot_state import SlotState
from workers.supervisor import Supervisor
from workers.worker import Worker
from workers.worker_slot import WorkerSlot

DEFAULT_LIMITS = PoolLimits()

CLOSE_GRACE_S = 2.0
"""Time for workers to leave by themselves; an encoder pass in work is not worth waiting for."""


class WorkerPool:
    """Thread-safe. Processes start with the first job, preload, or ``start()``."""

    def __init__(
        self,
        devices: Sequence[Device],
        *,
        engine: str = DEFAULT_ENGINE,
        endpoint_engine: str = ENDPOINT_ENGINE,
        threads: int = 1,
        log_level: str = "info",
        log_format: LogFormat = "plain",
        limits: PoolLimits = DEFAULT_LIMITS,
        wait_for_devices: bool = False,
        cpu_fallback: Sequence[Device] = (),
        fits: Fits | None = None,
        plan_batch: PlanBatch | None = None,
        on_peak: Callable[[Peak], None] | None = None,
        cards: Sequence[Card] = (),
        start: StartBackend = Worker,
        cluster: Cluster | None = None,
    ) -> None:
        """
        Args:
            engine, endpoint_engine: the factories as "module:callable"; see ``workers.engine``.
            wait_for_devices: jobs wait when no slot is left; False: they fail.
            cpu_fallback: CPU slots that work only while every slot of ``devices`` is out.
            fits: whether a model fits into memory, ``workers.memory.MemoryFit()`` for example;
                None: everything does.
            plan_batch: how many windows a device takes at a time, ``MemoryFit.batch`` for example;
                None: as the jobs ask.
            cards: the slots' GPUs before any worker takes memory, to plan what fits.
            on_peak: called with the most memory that workers took, on the pool's thread.
            start: what does the work behind a slot; ``Worker`` is a process of this machine.
            cluster: other machines, whose devices become slots too, as they come and go.
        """
        if not devices:
            raise DeviceUnavailable("A pool needs at least one slot.")
        self.devices = tuple(devices)
        self.cards = tuple(cards)
        spec = partial(WorkerSpec, threads=threads, log_level=log_level, log_format=log_format)
        spec = partial(spec, heartbeat_s=limits.heartbeat_s)
        slots = [WorkerSlot(device, threads) for device in devices]
        dormant = partial(WorkerSlot, threads=threads, reserve=True, state=SlotState.DORMANT)
        slots += [dormant(device) for device in cpu_fallback]

        def begin(device: Device) -> SlotBackend:
            name = engine if device.endpoint is None else endpoint_engine
            begun = spec(device=device, engine=name, parent_pid=os.getpid())
            return cluster.worker(begun) if cluster and device.node else start(begun)

        self._supervisor = Supervisor(
            *(slots, begin, limits),
            wait_for_devices=wait_for_devices,
            fits=fits,
            plan_batch=plan_batch,
            on_peak=on_peak,
        )
        self._cluster = cluster
        self._lock = threading.Lock()
        self._started = False

    @property
    def started(self) -> bool:
        """Its processes were asked for."""
        return self._started

    def start(self) -> None:
        """Start the worker processes now, without a model. Does nothing the second time."""
        with self._lock:
            if not self._started:
                self._started = True
                # The interpreter ends daemon threads only after these handlers.
                atexit.register(self.close)
                gpu_manager.holds_memory(self)
                self._supervisor.start()
                if self._cluster is not None:
                    self._cluster.start(self._set_nodes)

    def submit(self, request: DecodeRequest, spool: PcmSpool, on_event: OnEvent) -> PoolJob:
        """A new job, which shares the workers with the others from now on.

        It never raises: whatever goes wrong later, a closed pool included, is how the job ends.
        """
        self.start()
        job = PoolJob(request, spool, on_event, self._supervisor)
        self._supervisor.post(lambda: self._supervisor.submit(job))
        return job

    def preload(self, model: ModelSpec) -> Future[float]:
        """Load a model in all workers now, as far as running jobs leave them free for it.

        The future gives the seconds until every worker had it or had refused it; its exception
        is the reason why none has it.
        """
        self.start()
        future: Future[float] = Future()
        future.set_running_or_notify_cancel()
        self._supervisor.post(lambda: self._supervisor.preload(model, future))
        return future

    def set_endpoints(self, endpoints: Sequence[Endpoint]) -> None:
        """Have a slot for each of these remote servers and for no others, from any thread and while
        jobs run. The work of one that is gone, or has other settings now, goes elsewhere."""
        self._on_supervisor(lambda: self._supervisor.set_endpoints(endpoints))

    def _set_nodes(self, devices: tuple[Device, ...]) -> None:
        """Have a slot for each of these devices of other machines, and for no others there."""
        self._supervisor.post(lambda: self._supervisor.set_nodes(devices))

    def endpoint_tested(self, endpoint_id: str) -> None:
        """A test of it succeeded: it gets work again, whatever it was taken out for."""
        self._on_supervisor(lambda: self._supervisor.trust_endpoint(endpoint_id))

    def _on_supervisor(self, call: Callable[[], None]) -> None:
        with self._lock:
            if not self._started:
                # There is no thread yet that owns the slots.
                call()
                return
        self._supervisor.post(call)

    def status(self) -> tuple[WorkerStatus, ...]:
        """One line per slot of this machine and the cluster's; cheap enough for every health
        check."""
        return tuple(each for each in self._supervisor.status if each.endpoint is None)

    def endpoint_status(self) -> tuple[WorkerStatus, ...]:
        """The same for each remote endpoint."""
        return tuple(each for each in self._supervisor.status if each.endpoint is not None)

    def counters(self) -> Mapping[str, int]:
        """How often each kind of ``core.events.Incident`` happened since the pool began."""
        return self._supervisor.pool.counters

    def release(self) -> tuple[Released, ...]:
        """Unload the models of workers that no running job needs, by ending their processes. They
        come back without a model, and load it with the next job.

        Returns one answer per worker, when they are back.
        """
        if not self._supervisor.thread.is_alive():
            return ()
        done: Future[tuple[Released, ...]] = Future()
        self._supervisor.post(lambda: self._supervisor.release(done))
        return done.result()

    def drain(self, timeout_s: float) -> bool:
        """Give no new tasks. True as soon as no worker has one, and every result is with its job;
        False when the time ran out first. Open jobs stay open: cancel them, or close the pool.
        """
        if not self._supervisor.thread.is_alive():
            return True
        done: Future[None] = Future()
        self._supervisor.post(lambda: self._supervisor.drain(done))
        try:
            done.result(timeout_s)
        except FutureTimeout:
            return False
        return True

    def close(self, grace_s: float = CLOSE_GRACE_S) -> None:
        """End running jobs as cancelled and every worker process. Returns when all are gone."""
        with self._lock:
            if not self._started:
                self._started = True
                self._supervisor.discard()
        if self._supervisor.thread.ident is None:
            return
        atexit.unregister(self.close)
        self._supervisor.post(lambda: self._supervisor.close(grace_s))
        if threading.current_thread() is not self._supervisor.thread:
            self._supervisor.thread.join()
        if self._cluster is not None:
            self._cluster.close()

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
