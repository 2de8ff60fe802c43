"""The first of three endpoints is killed in the middle of a recording: what that costs.

The endpoints are three real services of this project, each with one worker; they and the run share
the machine's processor.

python -m bench.failover
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from bench.figures import Check, none_of, publish
from bench.machine import machine
from bench.recording import build
from bench.service import Service, add_options, settings_of, signal_to
from core.endpoints import REMOTE, Endpoint
from core.events import Finished, SegmentFinished
from core.logs import setup_logging
from core.settings import Settings
from core.types import DecodeOptions
from parallel_transcriber import ParallelWhisperTranscriber

NAMES = ("first", "second", "third")
TIMEOUT_S = 30.0
PARALLEL = 2


def endpoints_of(services: Sequence[Service], model: str) -> list[Endpoint]:
    return [
        Endpoint(
            id=name,
            name=name,
            api_url=f"{service.url}/v1/audio/transcriptions",
            model_name=model,
            kind="openai",
            priority=place,
            parallel=PARALLEL,
            timeout_s=TIMEOUT_S,
            timeout_per_audio_s=0.0,
        )
        for place, (name, service) in enumerate(zip(NAMES, services, strict=True))
    ]


def run(
    transcriber: ParallelWhisperTranscriber, recording: Path, at: Callable[[int], None]
) -> tuple[Finished, float]:
    """What came of it, and seconds. ``at``: told the number of segments that are finished."""
    began, count = time.monotonic(), 0
    for event in transcriber.start(recording, DecodeOptions(language="en"), where=REMOTE).events():
        if isinstance(event, SegmentFinished):
            count += 1
            at(count)
        elif isinstance(event, Finished):
            return event, time.monotonic() - began
    raise RuntimeError("the run ended without a result")


def words(finished: Finished) -> list[str]:
    return [word.text for segment in finished.transcript.segments for word in segment.words]


def kill(service: Service) -> None:
    """The service and its workers, as when its machine is switched off."""
    for process in service.processes():
        signal_to(process.pid, signal.SIGKILL)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    add_options(parser)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    setup_logging("warning")
    with tempfile.TemporaryDirectory(prefix="failover-") as name, ExitStack() as stack:
        folder = Path(name)
        recording = folder / "recording.flac"
        build(recording, folder=args.speech, prefixes=("",), at_least_s=60 * args.minutes)
        services = [
            Service(folder / each, **settings_of(args), WHISPER_WORKERS="1") for each in NAMES
        ]
        for service in services:
            stack.callback(service.close)
            service.start()
        for service in services:
            service.wait_ready()
        settings = Settings(model=args.model, device="cpu", workers=1, endpoints_down="wait")
        transcriber = stack.enter_context(ParallelWhisperTranscriber(args.model, settings=settings))
        transcriber.pool.set_endpoints(endpoints_of(services, args.model))
        whole, whole_s = run(transcriber, recording, lambda count: None)
        half = len(whole.report.segments) // 2
        found, found_s = run(
            transcriber, recording, lambda count: kill(services[0]) if count == half else None
        )
    rates = [each.elapsed_s for each in whole.report.segments]
    lost_s, clips_s = found_s - whole_s, PARALLEL * max(rates)
    same = words(found) == words(whole)
    checks = [
        Check("devices", ", ".join(found.report.devices), "first and second", True),
        none_of(
            "gaps more than without the kill",
            len(found.transcript.gaps) - len(whole.transcript.gaps),
        ),
        Check(f"same {len(words(whole))} words", "yes" if same else "no", "yes", same),
        Check(
            f"time lost, of {whole_s:.1f} s",
            f"{lost_s:.1f} s",
            f"at most the lost clips' {clips_s:.1f} s + one time-out of {TIMEOUT_S:g} s",
            lost_s <= clips_s + TIMEOUT_S,
        ),
    ]
    intro = f"{args.minutes:g} minutes through three services with {args.model}; {machine()}."
    data = {"whole_s": whole_s, "found_s": found_s, "devices": found.report.devices}
    return publish(args.out, "failover", intro, checks, data)


if __name__ == "__main__":
    sys.exit(main())
