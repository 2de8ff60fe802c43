"""How well the scheduler shares work out: slots of any number and speed, in virtual time.

    python -m bench.simulate --out /tmp/simulate --plot docs/images/scheduling.svg
    python -m bench.simulate --out /tmp/simulate --real

Plans are made by the planner itself, from speech such as the VAD finds, and reach the pool at the
VAD's speed. Each run is held against a lower bound, which no schedule can beat. ``--real`` has
worker processes take the time, on as many slots as a small machine carries.
"""

from __future__ import annotations

import argparse
import os
import queue
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.figures import Check, publish
from bench.machine import machine
from bench.scripted_engines import LOCAL_ENGINE
from bench.virtual_pool import Speed, VirtualPool
from core.endpoints import LOCAL
from core.logs import setup_logging
from core.pcm import PcmSpool
from core.planning import SegmentPlanner
from core.pool_job import DecodeRequest, JobEnded, PoolEvent, PoolJob
from core.types import AudioSegment, DecodeOptions, ModelSpec, SpeechSpan
from workers.devices import Device
from workers.pool import WorkerPool

SLOW, FAST = 10.0, 40.0
"""Times real time: slots of one speed have the first; of two, every other one has the second."""
REAL = 6.0
"""So many times faster are the slots of ``--real``: less to wait."""
COUNTS = (1, 2, 4, 8, 16, 64)
REAL_COUNTS = (1, 2, 4, 8)
PER_NODE = 4
TASK_S, REMOTE_TASK_S = 0.002, 0.012
"""What a task costs besides, here and on another machine: its messages, and 30 s of int16 (1 MB)
over a gigabit network."""
SPREAD = 0.15
"""Standard deviation of a segment's true work around its speech, as a share: what tiny.en shows on
a CPU."""
FEED = 300.0
"""Times real time at which one recording is decoded and searched for speech."""
READ_AT_ONCE = 8
LOOK_S = 10.0
"""Audio between two looks at what the VAD has found."""
PROMISED = 1.05


@dataclass(frozen=True, slots=True)
class Kind:
    """Speech of a kind of recording: spans and silences in seconds, drawn uniformly."""

    span_s: tuple[float, float]
    silence_s: tuple[float, float]


KINDS = {
    "conversation": Kind((1.0, 9.0), (0.15, 4.0)),
    "lecture": Kind((4.0, 28.0), (0.3, 1.0)),
}
"""Conversations as ``bench.recording`` joins them, whose plan has 20-25 s of speech a segment;
lectures, whose windows are full."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """Segments that are final at one moment, counted from the recording's beginning."""

    at_s: float
    segments: tuple[AudioSegment, ...]


@dataclass(frozen=True, slots=True)
class Load:
    """What a user brings: so many recordings, each so long."""

    name: str
    recordings: int
    minutes: float
    runs: int
    """Plans it is tried with."""
    promised: tuple[int, ...]
    """Numbers of slots for which the makespan is to be near the bound."""


LOADS = (
    Load("10 minutes", 1, 10.0, 4, (1, 2)),
    Load("1 hour", 1, 60.0, 4, (1, 2, 4, 8)),
    Load("3 hours", 1, 180.0, 2, (1, 2, 4, 8, 16)),
    Load("16 recordings of 1 hour", 16, 60.0, 1, COUNTS),
)


def recording(minutes: float, seed: int) -> list[Arrival]:
    """A recording's segments as the ingest process hands them on; the last arrival is its end."""
    rng = random.Random(seed)
    shape = KINDS["conversation" if seed % 2 else "lecture"]
    planner, arrivals, spans = SegmentPlanner(), [], []
    now_s = looked_s = 0.0
    while now_s < 60 * minutes:
        begin_s = now_s + rng.uniform(*shape.silence_s)
        now_s = begin_s + rng.uniform(*shape.span_s)
        spans.append(SpeechSpan(begin_s, now_s))
        if now_s - looked_s >= LOOK_S:
            arrivals.append(Arrival(now_s / FEED, tuple(planner.push(spans, (), now_s))))
            looked_s, spans = now_s, []
    rest = [*planner.push(spans, (), now_s), *planner.flush(now_s)]
    return [*arrivals, Arrival(now_s / FEED, tuple(rest))]


def recordings_of(load: Load, seed: int) -> list[list[Arrival]]:
    return [recording(load.minutes, seed + 100 * each) for each in range(load.recordings)]


def work_of(segment: AudioSegment) -> float:
    """What a segment truly takes, in seconds of a slot as fast as real time."""
    chance = random.Random(f"{segment.index} {segment.start_s} {segment.end_s}")
    return max(0.2, chance.gauss(1.0, SPREAD)) * segment.speech_s


def slots_of(count: int, mixed: bool) -> list[tuple[Device, Speed]]:
    """Cards, four to a machine; of two kinds where speeds are mixed."""
    found = []
    for number in range(count):
        node = "" if number < PER_NODE else f"node-{number // PER_NODE + 1}"
        times = FAST if mixed and number % 2 else SLOW
        name = f"{node} GPU {number % PER_NODE}".strip()
        device = Device(name, "cuda", str(number), f"card of {times:g}x", node=node)
        found.append((device, Speed(times, REMOTE_TASK_S if node else TASK_S)))
    return found


def simulate(slots: Sequence[tuple[Device, Speed]], recordings: Sequence[list[Arrival]]) -> float:
    """Seconds until all are done, on a pool that has measured its slots with a recording before."""
    pool = VirtualPool(slots, work_of=work_of)
    before = pool.submit(LOCAL, lambda event: None)
    before.add(part for each in recording(2.0 * len(slots), 99) for part in each.segments)
    before.finish_input()
    began = pool.run(lambda: before.wait(0.0))
    rest = iter(recordings)
    open_jobs: list[PoolJob] = []

    def begin() -> None:
        arrivals = next(rest, None)
        if arrivals is None:
            return
        job = pool.submit(LOCAL, lambda event: None)
        open_jobs.append(job)

        def arrive(arrival: Arrival) -> None:
            job.add(arrival.segments)
            if arrival is arrivals[-1]:
                job.finish_input()
                begin()

        for arrival in arrivals:
            pool.clock.after(arrival.at_s, partial(arrive, arrival))

    for _ in range(READ_AT_ONCE):
        begin()
    end = pool.run(lambda: all(job.wait(0.0) for job in open_jobs))
    return end - began


def bound(slots: Sequence[tuple[Device, Speed]], recordings: Sequence[list[Arrival]]) -> float:
    """Seconds that the best schedule needs at least: all work over all speed, and the longest piece
    on the fastest slot. Of a single recording, no piece can be begun before it has arrived, and no
    more slots can work than pieces have arrived."""
    speeds = sorted((speed.times for _, speed in slots), reverse=True)
    works = [work_of(part) for arrivals in recordings for a in arrivals for part in a.segments]
    least = [sum(works) / sum(speeds), max(works) / speeds[0]]
    if len(recordings) > 1:
        return max(least)
    left, done, at_s, arrived = sum(works), 0.0, 0.0, 0
    for arrival in recordings[0]:
        least += [arrival.at_s + work_of(part) / speeds[0] for part in arrival.segments]
        least.append(arrival.at_s + left / sum(speeds))
        left -= sum(map(work_of, arrival.segments))
        done += (arrival.at_s - at_s) * sum(speeds[:arrived])
        at_s, arrived = arrival.at_s, arrived + len(arrival.segments)
        least.append(at_s + (sum(works) - done) / sum(speeds))
    return max(least)


@dataclass(frozen=True, slots=True)
class Row:
    load: Load
    slots: int
    mixed: bool
    seconds: float
    ratios: list[float]
    """Of each run to its bound."""

    @property
    def ratio(self) -> float:
        return statistics.mean(self.ratios)

    @property
    def check(self) -> Check:
        speeds = "1:4" if self.mixed else "equal"
        measured = f"{self.ratio:.3f} ({max(self.ratios):.3f}), {self.seconds:.1f} s"
        promised = self.slots in self.load.promised
        return Check(
            f"{self.load.name}, {self.slots} slots, {speeds}",
            measured,
            f"at most {PROMISED:g}" if promised else "none: too few pieces",
            self.ratio <= PROMISED or not promised,
        )


def simulated() -> list[Row]:
    rows = []
    for load in LOADS:
        plans = [recordings_of(load, seed) for seed in range(load.runs)]
        for count in COUNTS:
            for mixed in (False, True) if count > 1 else (False,):
                slots = slots_of(count, mixed)
                ends = [simulate(slots, plan) for plan in plans]
                ratios = [end / bound(slots, plan) for end, plan in zip(ends, plans, strict=True)]
                rows.append(Row(load, count, mixed, statistics.mean(ends), ratios))
    return rows


def real() -> list[Row]:
    """An hour's segments, all there from the beginning, on processes that sleep."""
    load = Load("1 hour, real processes", 1, 60.0, 1, REAL_COUNTS)
    parts = tuple(part for each in recording(load.minutes, 0) for part in each.segments)
    rows = []
    for count in REAL_COUNTS:
        for mixed in (False, True) if count > 1 else (False,):
            speeds = [FAST if mixed and n % 2 else SLOW for n in range(count)]
            least = sum(part.speech_s for part in parts) / sum(speeds) / REAL
            seconds = _real_run(speeds, parts)
            rows.append(Row(load, count, mixed, seconds, [seconds / least]))
    return rows


def _real_run(speeds: Sequence[float], parts: Sequence[AudioSegment]) -> float:
    model = ModelSpec("scripted", f"{REAL:g}", "int8", "cpu")
    devices = [
        # The engine's speed is the model's times the device's: bench.scripted_engines.
        Device(f"GPU {n}", "cuda", f"{speed:g}", f"card of {speed:g}x")
        for n, speed in enumerate(speeds)
    ]
    request = DecodeRequest(model=model, options=DecodeOptions(language="en", batch_size=8))
    with (
        tempfile.TemporaryDirectory() as name,
        WorkerPool(devices, engine=LOCAL_ENGINE, log_level="error") as pool,
    ):
        spool = PcmSpool(Path(name) / "audio.pcm")
        spool.path.touch()
        pool.preload(model).result()

        def run(what: Sequence[AudioSegment]) -> float:
            events: queue.SimpleQueue[PoolEvent] = queue.SimpleQueue()
            began = time.monotonic()
            job = pool.submit(request, spool, events.put)
            job.add(what)
            job.finish_input()
            while not isinstance(event := events.get(), JobEnded):
                continue
            if event.error is not None:
                raise event.error
            return time.monotonic() - began

        run(parts[: 4 * len(speeds)])  # from which the speeds are known
        return run(parts)


def plot(rows: Sequence[Row], target: Path) -> None:
    """How much longer than the bound, by slots."""
    import matplotlib

    matplotlib.use("svg")
    # The same figures give the same file.
    matplotlib.rcParams["svg.hashsalt"] = "scheduling"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.6), layout="constrained", sharey=True)
    for place, mixed in zip(axes, (False, True), strict=True):
        for load in LOADS:
            line = [r for r in rows if r.load is load and (r.mixed == mixed or r.slots == 1)]
            x, y = [row.slots for row in line], [row.ratio for row in line]
            place.plot(x, y, marker="o", label=load.name)
        place.axhline(PROMISED, color="grey", linestyle=":", label=f"{PROMISED:g}")
        place.set_xscale("log", base=2)
        place.set_xticks(COUNTS, [str(count) for count in COUNTS])
        place.set(title="speeds 1:4" if mixed else "equal speeds", xlabel="slots")
        place.grid(alpha=0.3)
    axes[0].set_ylabel("makespan / lower bound")
    axes[0].legend(fontsize=8)
    figure.savefig(target, metadata={"Date": None})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--plot", type=Path, help="file of the plot, .svg")
    parser.add_argument("--real", action="store_true", help="with worker processes that sleep")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    setup_logging("error")
    rows = real() if args.real else simulated()
    if args.plot is not None:
        plot(rows, args.plot)
    where = (
        f"real processes; {machine()}, load {os.getloadavg()[0]:.1f}" if args.real else "virtual"
    )
    intro = f"Makespan over lower bound, mean (worst) of the runs, {where}."
    data = [[r.load.name, r.slots, r.mixed, r.seconds, r.ratios] for r in rows]
    name = "simulate-real" if args.real else "simulate"
    return publish(args.out, name, intro, [row.check for row in rows], {"rows": data})


if __name__ == "__main__":
    sys.exit(main())
