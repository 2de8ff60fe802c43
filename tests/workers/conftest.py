from __future__ import annotations

import os
import queue
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.endpoints import LOCAL
from core.errors import SubtitleError
from core.events import Incident, SegmentFailed, SegmentFinished
from core.pcm import PcmSpool
from core.pool_job import DecodeRequest, JobEnded, PoolEvent
from core.types import (
    AudioSegment,
    DecodeOptions,
    Gap,
    ModelSpec,
    SegmentReport,
    SpeechSpan,
    Window,
)
from tests.waiting import eventually
from tests.workers.scripted_engine import FACTORY, Script
from workers.devices import Device
from workers.limits import PoolLimits
from workers.pool import WorkerPool

QUICK = PoolLimits(
    outside_kills_to_fail=2,
    backoff_first_s=0.05,
    backoff_max_s=0.2,
    heartbeat_s=0.2,
    memory_retry_s=0.1,
)

HANG_S = 3.0
"""Where a hang is the subject: as short as a test can wait, and longer than a busy machine lets a
healthy worker be silent."""
HASTY = replace(
    QUICK, hang_floor_s=HANG_S, hang_factor=0.0, hang_pace_floor_s=HANG_S, hang_pace=0.0
)


def segment(index: int, duration_s: float = 10.0, windows: int = 1) -> AudioSegment:
    start_s = 60.0 * index
    step = duration_s / windows
    spans = [SpeechSpan(start_s + i * step, start_s + (i + 1) * step) for i in range(windows)]
    return AudioSegment(
        index,
        start_s,
        start_s + duration_s,
        tuple(Window(pieces=(span,), spans=(span,)) for span in spans),
    )


def segments(count: int) -> list[AudioSegment]:
    return [segment(index) for index in range(count)]


def gone(pid: int) -> bool:
    """Ended and collected: a zombie still has its /proc entry."""
    return not Path(f"/proc/{pid}").exists()


def ended(pid: int) -> bool:
    """Runs no more; an orphan may stay a zombie until init collects it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def texts(events: list[PoolEvent]) -> dict[int, str]:
    return {
        event.index: event.segments[0].text
        for event in events
        if isinstance(event, SegmentFinished)
    }


def gaps(events: list[PoolEvent]) -> dict[int, str]:
    return {e.index: e.gap.reason for e in events if isinstance(e, SegmentFailed)}


def all_gaps(events: list[PoolEvent]) -> tuple[Gap, ...]:
    """Of the segments given up and of those finished with holes."""
    failed = [event.gap for event in events if isinstance(event, SegmentFailed)]
    holes = [gap for e in events if isinstance(e, SegmentFinished) for gap in e.gaps]
    return (*failed, *holes)


class WatchedJob:
    """A job of a pool, with all that it tells its owner."""

    def __init__(self, pool: WorkerPool, request: DecodeRequest, spool: PcmSpool) -> None:
        self.error: SubtitleError | None = None
        self._finished: dict[int, SegmentReport] = {}
        self._events: queue.SimpleQueue[PoolEvent] = queue.SimpleQueue()
        self.job = pool.submit(request, spool, self._hear)
        self.add, self.finish_input = self.job.add, self.job.finish_input
        self.cancel, self.wait = self.job.cancel, self.job.wait

    def _hear(self, event: PoolEvent) -> None:
        if isinstance(event, SegmentFinished):
            self._finished[event.index] = event.report
        elif isinstance(event, JobEnded):
            self.error = event.error
        self._events.put(event)

    @property
    def ended(self) -> bool:
        return self.wait(0.0)

    @property
    def reports(self) -> list[SegmentReport]:
        """Of the segments finished so far, in the recording's order."""
        return [report for _, report in sorted(self._finished.items())]

    def events(self) -> Iterator[PoolEvent]:
        """As they come, until the job has ended; raises the error that ended it early."""
        while not isinstance(event := self._events.get(), JobEnded):
            yield event
        self._events.put(event)
        if event.error is not None:
            raise event.error


def reported(job: WatchedJob, count: int) -> None:
    """Wait until so many segments of the job are finished."""
    eventually(lambda: len(job.reports) == count, f"{count} segments are finished")


def incidents(events: list[PoolEvent]) -> list[str]:
    return [event.kind for event in events if isinstance(event, Incident)]


class Bench:
    """Pools and jobs of one test; everything is closed behind it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.spool = PcmSpool(directory / "audio.pcm")
        self.spool.path.write_bytes(bytes(3200))
        self.pools: list[WorkerPool] = []
        self.pids: set[int] = set()

    def model(self, name: str = "scripted", **script: object) -> ModelSpec:
        return Script(**script).write(self.directory / name)  # type: ignore[arg-type]

    def gpu_model(self, name: str = "scripted", **script: object) -> ModelSpec:
        return replace(self.model(name, **script), device="cuda", compute_type="float16")

    def pool(
        self, workers: int = 2, limits: PoolLimits = QUICK, gpus: int = 0, **options: Any
    ) -> WorkerPool:
        devices = [Device(f"CPU {i}", "cpu") for i in range(workers)]
        devices = [Device(f"GPU {i}", "cuda", str(i)) for i in range(gpus)] or devices
        pool = WorkerPool(devices, **{"engine": FACTORY, "limits": limits, **options})
        self.pools.append(pool)
        return pool

    def submit(
        self,
        pool: WorkerPool,
        model: ModelSpec,
        count: int = 0,
        *,
        where: str = LOCAL,
        **options: object,
    ) -> WatchedJob:
        """A job; with a count, all its segments are added and the input is finished."""
        # A worker that may hold several segments takes as many as there happen to be while the
        # input is not finished; a test of who does what cannot bear that.
        one_each = {"batch_size": 1} if where != LOCAL else {}
        decode = DecodeOptions(**{"language": "en", **one_each, **options})  # type: ignore[arg-type]
        request = DecodeRequest(model=model, options=decode, where=where)
        job = WatchedJob(pool, request, self.spool)
        if count:
            job.add(segments(count))
            job.finish_input()
        return job

    def note_pids(self, pool: WorkerPool) -> list[int]:
        pids = [status.pid for status in pool.status() if status.pid is not None]
        self.pids.update(pids)
        return pids

    def close(self) -> None:
        for pool in self.pools:
            self.note_pids(pool)
            pool.close()
            assert {status.state for status in pool.status()} <= {"dead", "retired"}
        assert [pid for pid in self.pids if not gone(pid)] == []


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


@pytest.fixture
def open_files() -> Callable[[], int]:
    return lambda: len(os.listdir("/proc/self/fd"))
