"""The pool in virtual time: its scheduler, fleet and results as they are, with workers that only
say when they would be done.

A second costs no second, so 64 slots and a night of recordings are simulated in a moment, and a run
always goes the same way. Of the pool only the thread (``workers.supervisor``) is missing.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path

from core.errors import Cancelled, SubtitleError
from core.events import SegmentFinished
from core.pcm import PcmSpool
from core.pool_job import DecodeRequest, PoolEvent, PoolJob
from core.types import AudioSegment, DecodeOptions, ModelSpec, SegmentReport
from workers.admission import LoadAdmission
from workers.devices import Device
from workers.endpoint_faults import EndpointFaults
from workers.fleet import Fleet
from workers.limits import PoolLimits
from workers.messages import (
    CancelTask,
    Command,
    Decode,
    Message,
    SegmentDone,
    Started,
    TaskDone,
    TaskMessage,
)
from workers.pending import PendingSegment, PoolJobState
from workers.pool_state import PoolState
from workers.result_handler import ResultHandler
from workers.retry_policy import RetryPolicy
from workers.scheduler import Scheduler
from workers.slot_state import SlotState
from workers.supervisor import LONGEST_WAIT_S
from workers.worker_slot import WorkerSlot

MODEL = ModelSpec("scripted", "/scripted", "float16", "cuda")
CANCEL_S = 0.05
"""Time a worker takes to give a task back."""


@dataclass(slots=True, eq=False)
class Clock:
    """Virtual time, in seconds; what is to happen at one moment happens in the order it was asked
    for."""

    now: float = 0.0
    _due: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _order: Iterator[int] = field(default_factory=count)

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._due, (self.now + seconds, next(self._order), call))

    def advance(self, longest_s: float) -> None:
        """On to the next moment at which anything happens, and let it happen."""
        until = self.now + longest_s
        self.now = min(until, self._due[0][0]) if self._due else until
        while self._due and self._due[0][0] <= self.now:
            heapq.heappop(self._due)[2]()


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast a slot truly is."""

    times: float
    """Times real time, of speech."""
    task_s: float = 0.0
    """What each task costs besides: the way of its audio to another machine, and of the answer."""


class VirtualWorker:
    """A worker behind a slot (``workers.backend.SlotBackend``): every message comes when it is
    due."""

    pid: int | None = None
    lost = False
    closed_s: float | None = None
    killed_s: float | None = None
    ended = False

    def __init__(self, pool: VirtualPool, speed: Speed) -> None:
        self.spawned_s = self.heard_s = 0.0
        self.slot: WorkerSlot | None = None
        self.busy_s = 0.0
        self._pool, self._speed = pool, speed

    def waitables(self) -> Sequence[Connection | int]:
        return ()

    def messages(self) -> Iterable[Message]:
        return ()

    def kill(self, reason: str) -> None:
        raise NotImplementedError("a virtual worker never hangs")

    def reap(self) -> str:
        raise NotImplementedError("a virtual worker never ends")

    def send(self, command: Command) -> None:
        if isinstance(command, Decode):
            self._decode(command)
        elif isinstance(command, CancelTask):
            self._say(CANCEL_S, TaskDone(command.task_id, CANCEL_S))

    def _decode(self, command: Decode) -> None:
        task_id, speed = command.task_id, self._speed
        elapsed_s = speed.task_s
        for segment in command.segments:
            self._say(elapsed_s, Started(task_id, segment.index))
            elapsed_s += self._pool.work_of(segment) / speed.times
            self._say(elapsed_s, SegmentDone(task_id, _finished(segment)))
        # The worker itself knows nothing of the way to it.
        self._say(elapsed_s, TaskDone(task_id, elapsed_s - speed.task_s))

    def _say(self, seconds: float, message: TaskMessage) -> None:
        self._pool.clock.after(seconds, lambda: self._heard(message))

    def _heard(self, message: TaskMessage) -> None:
        slot, pool = self.slot, self._pool
        # Of a task that was taken back since nothing more is heard.
        if slot is None or slot.task is None or slot.task.command.task_id != message.task_id:
            return
        if isinstance(message, TaskDone):
            self.busy_s += pool.clock.now - slot.task.given_s
        pool.results.take(slot, slot.task, message, pool.clock.now)


class VirtualPool:
    """Slots of known speed, all with the model loaded.

    Args:
        devices: what each slot is, and how fast. Their order is the pool's.
        batch: windows that a worker decodes at a time.
        work_of: what a segment truly costs, in seconds of a slot as fast as real time; the
            scheduler expects its speech.
    """

    def __init__(
        self,
        devices: Sequence[tuple[Device, Speed]],
        *,
        batch: int = 8,
        work_of: Callable[[AudioSegment], float] = lambda segment: segment.speech_s,
    ) -> None:
        limits = PoolLimits()
        self.work_of = work_of
        self.clock = Clock()
        self.workers = [VirtualWorker(self, speed) for _, speed in devices]
        slots = []
        for (device, _), worker in zip(devices, self.workers, strict=True):
            worker.slot = WorkerSlot(device, state=SlotState.IDLE, worker=worker, model=MODEL)
            slots.append(worker.slot)
        self.pool = PoolState(slots, limits)
        self.taken_back = 0
        self._batch = batch
        self.scheduler = Scheduler(limits, jobs=self.pool.jobs)
        retries = RetryPolicy(self.pool, EndpointFaults(self.pool))
        self.results = ResultHandler(self.pool, retries)
        admission = LoadAdmission(self.pool, None, None, patient=False)
        self._fleet = Fleet(
            self.pool, lambda device: self.workers[0], admission, self.scheduler, self.results, None
        )

    @property
    def slots(self) -> list[WorkerSlot]:
        return self.pool.slots

    def submit(self, where: str, on_event: Callable[[PoolEvent], None]) -> PoolJob:
        """A new job; its ``add`` and ``finish_input`` feed it, ``wait(0.0)`` tells its end."""
        options = DecodeOptions(language="en", batch_size=self._batch)
        request = DecodeRequest(model=MODEL, options=options, where=where)
        job = PoolJob(request, PcmSpool(Path("x")), on_event, self)
        self.scheduler.enter(PoolJobState(job))
        return job

    # What a job asks of what decodes it (``core.pool_job.JobSink``).

    def post(self, call: Callable[[], None]) -> None:
        """There is one thread only."""
        call()

    def add(self, job: PoolJob, segments: tuple[AudioSegment, ...]) -> None:
        entries = [PendingSegment(segment) for segment in segments]
        self.scheduler.add(self._state(job), entries, self.clock.now)

    def finish_input(self, job: PoolJob) -> None:
        self._state(job).input_finished = True

    def cancel(self, job: PoolJob, error: SubtitleError | None) -> None:
        self._state(job).ending = error or Cancelled()

    def _state(self, job: PoolJob) -> PoolJobState:
        return next(state for state in self.pool.jobs if state.job is job)

    def run(self, until: Callable[[], bool]) -> float:
        """Until it holds; when that is, in seconds."""
        while True:
            self._turn()
            if until():
                return self.clock.now
            self.clock.advance(LONGEST_WAIT_S)

    def _turn(self) -> None:
        """``Supervisor._turn``, as far as nothing goes wrong."""
        now = self.clock.now
        for state in list(self.pool.jobs):
            self.results.settle(state)
        self._fleet.dispatch(now)
        self._fleet.take_back(now)


def _finished(segment: AudioSegment) -> SegmentFinished:
    report = SegmentReport(
        index=segment.index,
        start_s=segment.start_s,
        end_s=segment.end_s,
        windows=len(segment.windows),
        texts=0,
        elapsed_s=0.0,
    )
    return SegmentFinished((), (), report)
