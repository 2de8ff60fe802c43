"""What the API costs: against the pool called directly, in a rush, and for streams that wait.

overhead   the same clip by ``ParallelWhisperTranscriber`` and by ``POST /api/jobs``, its events
           to the end and its file; in turns, medians
rush       200 submissions at the same moment: all taken, or told when to come back
streams    1,000 event streams of a job in which nothing happens: memory, and ``/health``

python -m bench.api
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import resource
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import soundfile

from bench.figures import Check, none_of, percentile, publish, spread
from bench.machine import machine
from bench.service import Service, add_options, settings_of, signal_to
from core.logs import setup_logging
from core.process_memory import resident_mib
from core.settings import Settings
from core.types import SAMPLE_RATE
from parallel_transcriber import ParallelWhisperTranscriber

SHORT_S, LONG_S = 3.0, 60.0
SHORT_LIMIT_MS, LONG_LIMIT_PERCENT = 50.0, 3.0
STREAMS_LIMIT_MIB, HEALTH_LIMIT_MS = 50.0, 50.0
LOOKS_AT_HEALTH = 100


def clip(speech: Path, seconds: float, path: Path) -> Path:
    """Speech of that length, of the recordings in a folder one after the other."""
    parts, length = [], 0
    for file in itertools.cycle(sorted(speech.glob("*.flac"))):
        parts.append(soundfile.read(file, dtype="int16")[0])
        length += len(parts[-1])
        if length >= seconds * SAMPLE_RATE:
            break
    samples = np.concatenate(parts)[: round(seconds * SAMPLE_RATE)]
    soundfile.write(path, samples, SAMPLE_RATE)
    return path


def over_the_api(service: Service, recording: Path) -> float:
    """Seconds from the first byte sent to the last of the subtitles."""
    began = time.monotonic()
    job = service.submit(recording, language="en")
    with service.http.stream("GET", f"/api/jobs/{job}/events") as events:
        last = [line for line in events.iter_lines() if line.startswith("data: ")][-1]
    state = json.loads(last.removeprefix("data: "))["state"]
    if state != "complete" or service.subtitles(job) is None:
        raise RuntimeError(f"the job ended {state}")
    return time.monotonic() - began


def directly(transcriber: ParallelWhisperTranscriber, recording: Path) -> float:
    began = time.monotonic()
    transcriber.transcribe_parallel(recording, language="en")
    return time.monotonic() - began


def overhead(
    service: Service, args: argparse.Namespace, clips: dict[float, Path]
) -> dict[float, dict[str, list[float]]]:
    """Seconds of both ways, by length of the clip; in turns, so that both see the same machine."""
    settings = Settings(model=args.model, device=args.device)
    seconds: dict[float, dict[str, list[float]]] = {}
    with ParallelWhisperTranscriber(args.model, settings=settings) as transcriber:
        for length, path in clips.items():
            directly(transcriber, path)
            over_the_api(service, path)
            both: dict[str, list[float]] = {"direct": [], "api": []}
            for _ in range(args.repeats):
                both["direct"].append(directly(transcriber, path))
                both["api"].append(over_the_api(service, path))
            seconds[length] = both
    return seconds


async def rush(service: Service, recording: Path, number: int) -> tuple[Counter[str], int]:
    """How so many submissions at once ended, and how many refusals did not say when to return."""
    ends: Counter[str] = Counter()
    mute = 0
    body = recording.read_bytes()
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(
        base_url=service.url, timeout=600.0, limits=limits, trust_env=False
    ) as http:

        async def one() -> None:
            nonlocal mute
            answer = await http.post("/api/jobs", params={"name": recording.name}, content=body)
            if answer.status_code != 202:
                ends[str(answer.status_code)] += 1
                mute += not answer.headers.get("Retry-After", "").isdigit()
                return
            async with http.stream("GET", f"{answer.json()['status_url']}/events") as events:
                lines = [line async for line in events.aiter_lines() if line.startswith("data: ")]
            ends[json.loads(lines[-1].removeprefix("data: "))["state"]] += 1

        async with asyncio.TaskGroup() as group:
            for _ in range(number):
                group.create_task(one())
    return ends, mute


async def streams(service: Service, job: str, number: int) -> tuple[float, list[float]]:
    """MiB that so many idle streams cost the service, and seconds of ``/health`` meanwhile."""
    pid, port = service.parent.pid, int(service.url.rsplit(":", 1)[1])
    before = resident_mib(pid) or 0.0
    request = f"GET /api/jobs/{job}/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()

    async def stream() -> asyncio.StreamWriter:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        await reader.readuntil(b"event: state\n")
        return writer

    held: list[asyncio.StreamWriter] = []
    while len(held) < number:
        held += await asyncio.gather(*(stream() for _ in range(min(50, number - len(held)))))
    seconds = []
    async with httpx.AsyncClient(base_url=service.url, timeout=60.0, trust_env=False) as http:
        for _ in range(LOOKS_AT_HEALTH):
            began = time.monotonic()
            (await http.get("/health")).raise_for_status()
            seconds.append(time.monotonic() - began)
    cost = (resident_mib(pid) or 0.0) - before
    for writer in held:
        writer.close()
    return cost, seconds


def idle_streams(service: Service, recording: Path, number: int) -> tuple[float, list[float]]:
    """As :func:`streams`, of a job whose workers stand still meanwhile."""
    with ExitStack() as stack:
        for pid in service.workers():
            signal_to(pid, signal.SIGSTOP)
            stack.callback(signal_to, pid, signal.SIGCONT)
        job = service.submit(recording)
        # The first stream alone loads what all of them share.
        asyncio.run(streams(service, job, 1))
        return asyncio.run(streams(service, job, number))


def overhead_checks(seconds: dict[float, dict[str, list[float]]]) -> list[Check]:
    found = []
    for length, both in seconds.items():
        direct, api = (statistics.median(both[way]) for way in ("direct", "api"))
        more_ms, percent = 1000 * (api - direct), 100 * (api - direct) / direct
        short = length <= SHORT_S
        limit = f"under {SHORT_LIMIT_MS:g} ms" if short else f"under {LONG_LIMIT_PERCENT:g} %"
        found += [
            Check(f"{length:g} s clip, direct", spread(both["direct"], digits=3), "—", True),
            Check(f"{length:g} s clip, over the API", spread(both["api"], digits=3), "—", True),
            Check(
                f"{length:g} s clip, what the API adds to the median",
                f"{more_ms:.0f} ms, {percent:.1f} %",
                limit,
                more_ms < SHORT_LIMIT_MS if short else percent < LONG_LIMIT_PERCENT,
            ),
        ]
    return found


def rush_checks(ends: Counter[str], mute: int) -> list[Check]:
    right = {"complete", "429", "503"}
    named = ", ".join(f"{count} × {end}" for end, count in sorted(ends.items()))
    return [
        Check(f"{ends.total()} requests at once", named, "complete, 429, 503", set(ends) <= right),
        none_of("refusals without Retry-After", mute),
    ]


def stream_checks(number: int, cost_mib: float, health_s: list[float]) -> list[Check]:
    slow_ms = 1000 * percentile(health_s, 0.95)
    return [
        Check(
            f"memory of {number} idle event streams",
            f"{cost_mib:.1f} MiB",
            f"under {STREAMS_LIMIT_MIB:g} MiB",
            cost_mib < STREAMS_LIMIT_MIB,
        ),
        Check(
            "`/health` meanwhile (median / 95 % / max)",
            spread([1000 * value for value in health_s], "ms"),
            f"95 % under {HEALTH_LIMIT_MS:g} ms",
            slow_ms < HEALTH_LIMIT_MS,
        ),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--streams", type=int, default=1000)
    add_options(parser)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    setup_logging("warning")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with tempfile.TemporaryDirectory(prefix="api-") as name:
        folder = Path(name)
        service = Service(folder, **settings_of(args), WHISPER_MAX_CLIENT_JOBS="0")
        clips = {s: clip(args.speech, s, folder / f"{s:g}.wav") for s in (SHORT_S, LONG_S)}
        try:
            service.start()
            service.wait_ready()
            seconds = overhead(service, args, clips)
            ends, mute = asyncio.run(rush(service, clips[SHORT_S], args.requests))
            cost, health_s = idle_streams(service, clips[LONG_S], args.streams)
            exit_code = service.stop()
        finally:
            service.close()
    found = [
        *overhead_checks(seconds),
        *rush_checks(ends, mute),
        *stream_checks(args.streams, cost, health_s),
        Check("exit code after SIGTERM", str(exit_code), "0", exit_code == 0),
    ]
    intro = f"The API with {args.model} on {args.device}, {args.repeats} repeats; {machine()}."
    data: dict[str, Any] = {
        "overhead": {str(length): both for length, both in seconds.items()},
        "rush": dict(ends),
        "streams": {"mib": cost, "health_s": health_s},
    }
    return publish(args.out, "api", intro, found, data)


if __name__ == "__main__":
    sys.exit(main())
