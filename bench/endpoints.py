"""What remote endpoints give and cost: speeds that add up, slow servers, failures, a server lost.

    python -m bench.endpoints --out /tmp/endpoints

The pool, its worker processes and all that is between them are real; engines and servers are
scripted (``bench.scripted_engines``): of exactly known speed, so that what is lost can be told.
"""

from __future__ import annotations

import argparse
import os
import queue
import random
import re
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.figures import Check, none_of, publish
from bench.machine import machine
from bench.scripted_engines import LOCAL_ENGINE, REMOTE_ENGINE
from core.endpoints import REMOTE, SHARED, Endpoint
from core.events import SegmentFailed, SegmentFinished
from core.logs import setup_logging
from core.pcm import PcmSpool
from core.pool_job import DecodeRequest, JobEnded, PoolEvent
from core.process_memory import resident_mib
from core.types import AudioSegment, DecodeOptions, ModelSpec, SpeechSpan, Window
from workers.devices import Device
from workers.limits import PoolLimits
from workers.pool import WorkerPool

LOCAL_SPEED, FAST, SLOW = 20.0, 40.0, 0.1
"""Times real time: each local worker, an endpoint as fast as both, one that is no help."""
FAILURES = 1000
SETTLED = 100
"""Failures after which nothing may grow any more."""
TIMEOUT_S = 3.0
WITHIN = 0.05
LIMITS = PoolLimits()


@dataclass(slots=True)
class Run:
    """One recording through a pool."""

    seconds: float
    texts: dict[int, str] = field(default_factory=dict)
    lost: list[int] = field(default_factory=list)
    devices: dict[str, int] = field(default_factory=dict)
    """Segments that each did."""


def recording(minutes: float, seed: int) -> list[AudioSegment]:
    """Segments of 10 to 60 s, each window full of speech."""
    rng, start_s = random.Random(seed), 0.0
    segments: list[AudioSegment] = []
    while start_s < 60 * minutes:
        windows = []
        for _ in range(rng.choice((1, 1, 2))):
            span = SpeechSpan(start_s, start_s + rng.uniform(10.0, 29.0))
            windows.append(Window(pieces=(span,), spans=(span,)))
            start_s = span.end_s
        first_s = windows[0].start_s
        segments.append(AudioSegment(len(segments), first_s, start_s, tuple(windows)))
    return segments


def server(folder: Path, name: str, speed: float, **settings: object) -> Endpoint:
    given = {"id": name, "name": name, "api_url": f"speed://{speed:g}{folder / name}"}
    rest = {"model_name": "", "kind": "asr", "timeout_s": TIMEOUT_S}
    return Endpoint(**{**given, **rest, **settings})  # type: ignore[arg-type]


def pool_of(endpoints: Sequence[Endpoint], limits: PoolLimits = LIMITS) -> WorkerPool:
    devices = [Device(f"CPU {number}", "cpu") for number in range(2)]
    pool = WorkerPool(devices, engine=LOCAL_ENGINE, endpoint_engine=REMOTE_ENGINE, limits=limits)
    pool.set_endpoints(endpoints)
    model = ModelSpec("scripted", f"{LOCAL_SPEED:g}", "int8", "cpu")
    pool.preload(model).result()
    while not all(status.state == "idle" for status in (*pool.status(), *pool.endpoint_status())):
        time.sleep(0.01)
    return pool


def run(
    pool: WorkerPool,
    segments: Sequence[AudioSegment],
    folder: Path,
    where: str,
    at: Callable[[int], None] = lambda done: None,
) -> Run:
    """``at``: told the number of segments that are done, after each."""
    events: queue.SimpleQueue[PoolEvent] = queue.SimpleQueue()
    spool = PcmSpool(folder / "audio.pcm")
    spool.path.touch()
    model = ModelSpec("scripted", f"{LOCAL_SPEED:g}", "int8", "cpu")
    request = DecodeRequest(model=model, options=DecodeOptions(language="en"), where=where)
    begun = time.monotonic()
    job = pool.submit(request, spool, events.put)
    job.add(segments)
    job.finish_input()
    found = Run(0.0)
    while not isinstance(event := events.get(), JobEnded):
        if isinstance(event, SegmentFinished):
            found.texts[event.index] = event.segments[0].text
            found.devices[event.device] = found.devices.get(event.device, 0) + 1
            at(len(found.texts))
        elif isinstance(event, SegmentFailed):
            found.lost.append(event.index)
    found.seconds = time.monotonic() - begun
    if event.error is not None:
        raise event.error
    return found


def speeds(folder: Path, minutes: float) -> list[Check]:
    """(a) and (b): a fast endpoint and a very slow one beside two local workers."""
    segments = recording(minutes, seed=1)
    speech_s = sum(segment.speech_s for segment in segments)
    checks = []
    for name, speed, sum_of in (
        ("fast", FAST, 2 * LOCAL_SPEED + FAST),
        ("slow", SLOW, 2 * LOCAL_SPEED),
    ):
        with pool_of([server(folder, name, speed)]) as pool:
            found = run(pool, segments, folder, SHARED)
        ideal_s = speech_s / sum_of
        off = found.seconds / ideal_s - 1
        shares = ", ".join(f"{label}: {count}" for label, count in sorted(found.devices.items()))
        checks.append(
            Check(
                f"two local workers of {LOCAL_SPEED:g}x and an endpoint of {speed:g}x,"
                f" {speech_s / 60:.0f} min of speech",
                f"{found.seconds:.1f} s for {ideal_s:.1f} s at {sum_of:g}x ({off:+.1%}); {shares}",
                f"at most {WITHIN:+.0%}",
                off <= WITHIN and len(found.texts) == len(segments),
            )
        )
    return checks


@contextmanager
def log_into(file: Path) -> Iterator[None]:
    """The log of this process and of the workers that it starts, as the service has it."""
    setup_logging("info")
    shown = os.dup(2)
    with file.open("wb") as stream:
        os.dup2(stream.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(shown, 2)
        os.close(shown)


def held_mib(pid: int) -> float:
    return resident_mib(pid) or 0.0


def failures(folder: Path) -> list[Check]:
    """(c): one endpoint fails a thousand times in a row, each time on trial."""
    gone = server(folder, "gone", FAST, timeout_s=0.0)
    (folder / "gone").touch()
    limits = PoolLimits(endpoint_retry_s=0.001, endpoint_retry_max_s=0.001, endpoints_wait=True)
    lines = folder / "lines"
    with log_into(lines), pool_of([gone], limits) as pool:
        pid = pool.endpoint_status()[0].pid or 0
        seen: dict[int, tuple[float, float, int, int]] = {}

        def watch() -> None:
            while not seen or max(seen) < FAILURES:
                reason = pool.endpoint_status()[0].reason
                found = re.search(r"request (\d+)", reason)
                count = int(found[1]) if found else 0
                if count >= (FAILURES if seen else SETTLED):
                    held = held_mib(os.getpid()), held_mib(pid)
                    written = lines.read_bytes().count(b"\n")
                    seen[count] = (*held, _threads(pid), written)
                time.sleep(0.005)
            (folder / "gone").unlink()

        thread = threading.Thread(target=watch, name="watch")
        thread.start()
        found = run(pool, recording(1, seed=2), folder, REMOTE)
        thread.join()
        starts = pool.endpoint_status()[0].starts
    (first, before), (last, after) = sorted(seen.items())
    grown = after[0] - before[0], after[1] - before[1]
    between = f"from failure {first} to {last}"
    return [
        Check(
            f"memory of the pool and of the worker, {between}",
            f"{grown[0]:+.1f} and {grown[1]:+.1f} MiB",
            "at most +1 MiB",
            max(grown) <= 1.0,
        ),
        none_of(f"threads more of both, {between}", max(0, after[2] - before[2])),
        Check(
            f"lines of the log, {between}",
            str(after[3] - before[3]),
            f"at most one for each change of state: {2 * (last - first)}",
            after[3] - before[3] <= 2 * (last - first),
        ),
        none_of("workers replaced", starts - 1),
        none_of("segments lost", found.lost),
    ]


def _threads(pid: int) -> int:
    """Of this process and of another one."""
    of_other = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    found = re.search(r"Threads:\s+(\d+)", of_other)
    return threading.active_count() + int(found[1] if found else 0)


def killed(folder: Path, minutes: float) -> list[Check]:
    """(d): the first of three endpoints falls silent in the middle."""
    names = ("first", "second", "third")
    servers = [server(folder, name, FAST, priority=place) for place, name in enumerate(names)]
    segments = recording(minutes, seed=3)

    def fall_silent(done: int) -> None:
        if done == len(segments) // 2:
            (folder / "first").touch()

    with pool_of(servers) as pool:
        run(pool, recording(1, seed=4), folder, REMOTE)
        whole = run(pool, segments, folder, REMOTE)
        found = run(pool, segments, folder, REMOTE, fall_silent)
    lost_s = found.seconds - whole.seconds
    longest = sorted((segment.speech_s for segment in segments), reverse=True)
    clips_s = sum(longest[: servers[0].parallel]) / FAST
    same = found.texts == whole.texts
    return [
        none_of("segments lost when the first of three endpoints fell silent", found.lost),
        Check("same words", "yes" if same else "no", "yes", same),
        Check(
            f"time lost, {minutes:g} min of speech",
            f"{lost_s:.1f} s",
            f"at most the lost clips' {clips_s:.1f} s + one time-out of {TIMEOUT_S:g} s, + 5 %",
            lost_s <= clips_s + TIMEOUT_S + WITHIN * whole.seconds,
        ),
    ]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--minutes", type=float, default=30.0, help="of speech, for the speeds")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checks = [*speeds(folder, args.minutes), *failures(folder), *killed(folder, 10.0)]
    intro = f"Scripted engines of known speed in real workers; {machine()}."
    data = [[check.what, check.measured, check.promised, check.holds] for check in checks]
    return publish(args.out, "endpoints", intro, checks, {"checks": data})


if __name__ == "__main__":
    sys.exit(main())
