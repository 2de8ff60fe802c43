"""What a worker on another machine costs beside one of this machine.

A head and a node run here, so the figures are those of a network that costs nothing: what the way
through Ray takes. The engine reads its audio and does nothing else with it, so that all the time of
a task is overhead. The measure is a window of the base model, decoded in the same run.

python -m bench.cluster
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from bench.figures import Check, publish
from bench.machine import machine
from bench.recording import build
from bench.service import add_options
from cluster.link import ClusterLink
from core.events import SegmentFinished
from core.logs import setup_logging
from core.pcm import PcmSpool
from core.pool_job import DecodeRequest
from core.settings import Settings
from core.types import (
    SAMPLE_RATE,
    AudioSegment,
    DecodeOptions,
    ModelSpec,
    SegmentReport,
    SpeechSpan,
    Window,
)
from parallel_transcriber import ParallelWhisperTranscriber
from tests.cluster.machines import cluster
from tests.waiting import eventually
from workers.backend import SlotBackend
from workers.devices import Device
from workers.messages import WorkerSpec
from workers.pool import WorkerPool

ENGINE = "bench.cluster:ReadingEngine"
WINDOW_S = 30.0
PROMISED = 2.0
"""Percent of a base-model window on this processor."""


class ReadingEngine:
    """Reads what it is to decode."""

    def __init__(self, spec: ModelSpec) -> None:
        pass

    def warm_up(self) -> None:
        pass

    def detect_language(self, spool: PcmSpool, windows: Sequence[Window]) -> tuple[str, float]:
        return "en", 1.0

    def decode(
        self,
        spool: PcmSpool,
        segments: Sequence[AudioSegment],
        options: DecodeOptions,
        *,
        on_started: Callable[[int], None],
        on_result: Callable[[SegmentFinished], None],
        on_error: Callable[[int, Exception], None],
        should_stop: Callable[[], bool],
    ) -> None:
        for segment in segments:
            on_started(segment.index)
            for window in segment.windows:
                assert len(spool.read(window.start_s, window.end_s)) == WINDOW_S * SAMPLE_RATE
            report = SegmentReport(
                index=segment.index,
                start_s=segment.start_s,
                end_s=segment.end_s,
                windows=len(segment.windows),
                texts=0,
                elapsed_s=0.0,
            )
            on_result(SegmentFinished((), (), report))


def no_process(spec: WorkerSpec) -> SlotBackend:
    raise OSError("nothing is done here")


def per_task_s(pool: WorkerPool, folder: Path, tasks: int, windows: int) -> float:
    """Seconds from one task to the next of a worker that has nothing to do for them; the median of
    five jobs."""
    spool = PcmSpool(folder / "audio.pcm")
    count = tasks * windows
    if not spool.path.exists() or spool.samples() < count * WINDOW_S * SAMPLE_RATE:
        noise = np.random.default_rng(0).integers(-9, 9, int(count * WINDOW_S) * SAMPLE_RATE)
        spool.path.write_bytes(noise.astype(np.int16).tobytes())
    segments = []
    for index in range(count):
        span = SpeechSpan(index * WINDOW_S, (index + 1) * WINDOW_S)
        window = Window(pieces=(span,), spans=(span,))
        segments.append(AudioSegment(index, span.start_s, span.end_s, (window,)))
    model = ModelSpec("reading", str(folder), "int8", "cpu")
    options = DecodeOptions(language="en", batch_size=windows)
    taken = []
    for _ in range(6):
        job = pool.submit(DecodeRequest(model=model, options=options), spool, lambda event: None)
        began = time.monotonic()
        job.add(segments)
        job.finish_input()
        job.wait()
        taken.append((time.monotonic() - began) / tasks)
    return statistics.median(taken[1:])  # the first loads


def base_window_s(recording: Path) -> float:
    """Seconds of a window with the base model on one worker, from whole recordings."""
    settings = Settings(model="base", device="cpu", workers=1)
    with ParallelWhisperTranscriber("base", settings=settings) as transcriber:
        transcriber.preload()
        reports = transcriber.start(recording, DecodeOptions(language="en")).result().report
        began = time.monotonic()
        reports = transcriber.start(recording, DecodeOptions(language="en")).result().report
        return (time.monotonic() - began) / sum(each.windows for each in reports.segments)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=40)
    parser.add_argument("--minutes", type=float, default=3.0)
    add_options(parser)
    args = parser.parse_args()
    setup_logging("error")
    with tempfile.TemporaryDirectory(prefix="cluster-") as name:
        folder = Path(name)
        (folder / "config.json").write_text("{}", encoding="utf-8")
        recording = folder / "recording.flac"
        build(recording, folder=args.speech, prefixes=("",), at_least_s=60 * args.minutes)
        window_s = base_window_s(recording)
        found: dict[str, dict[int, float]] = {"here": {}, "there": {}}
        with WorkerPool([Device("CPU 0", "cpu")], engine=ENGINE) as pool:
            for windows in (1, 8):
                found["here"][windows] = per_task_s(pool, folder, args.tasks, windows)
        with cluster(folder) as machines:
            machines.join()
            link = ClusterLink(machines.address, token=machines.token)
            devices = [Device("CPU 0", "cpu")]
            with WorkerPool(devices, engine=ENGINE, cluster=link, start=no_process) as pool:
                pool.start()
                eventually(lambda: any(s.node for s in pool.status()), "the node is there")
                for windows in (1, 8):
                    found["there"][windows] = per_task_s(pool, folder, args.tasks, windows)
    checks = []
    for windows in (1, 8):
        more_s = found["there"][windows] - found["here"][windows]
        share = 100 * more_s / (windows * window_s)
        checks.append(
            Check(
                f"more for a task of {windows} windows of 30 s, on another machine",
                f"{1000 * more_s:.1f} ms, {share:.2f} % of the base model's work",
                f"under {PROMISED:g} %",
                share < PROMISED,
            )
        )
    intro = f"A base-model window takes {window_s:.2f} s on one worker; {machine()}."
    return publish(args.out, "cluster", intro, checks, {"window_s": window_s, "task_s": found})


if __name__ == "__main__":
    sys.exit(main())
