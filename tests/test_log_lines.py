"""What operators find in the log: faults by one search, and the way of every segment by another."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.logs import set_job, setup_logging
from core.pool_job import DecodeRequest
from core.settings import Settings
from core.types import DecodeOptions, PlanOptions
from ingest import IngestRequest
from media.container import DecodeLimits
from parallel_transcriber import ParallelWhisperTranscriber
from tests.spoken import joined
from tests.workers.conftest import QUICK
from tests.workers.scripted_engine import FACTORY, Script
from transcription_run import TranscriptionRun
from workers.devices import Device
from workers.pool import WorkerPool

SEARCHED = re.compile("ERROR|Warning|GPU")
"""``docker logs whisper-for-subs 2>&1 | grep -E "ERROR|Warning|GPU"``, as the guides have it."""

SPEECH = joined(range(8), gaps_s=(1.0,))
PLAN = PlanOptions(min_segment_duration=1.0, max_segment_duration=8.0)


Log = Callable[[], list[str]]


@pytest.fixture
def log(capfd: pytest.CaptureFixture[str]) -> Iterator[Log]:
    """The lines on standard error, of this process and of workers; this thread's with the job's
    id."""
    set_job("a1b2")
    yield lambda: capfd.readouterr().err.splitlines()
    set_job("")


def run(folder: Path, level: str, **script: dict[str, str]) -> None:
    """A recording through the real pool, with two scripted engines that call themselves GPUs."""
    setup_logging("debug")
    devices = [Device(f"GPU {i}", "cuda", str(i)) for i in range(2)]
    pool = WorkerPool(devices, engine=FACTORY, limits=QUICK, log_level=level)
    path = SPEECH.write(folder / "talk.flac")
    ingest = IngestRequest(path=path, plan=PLAN, limits=DecodeLimits())
    model = Script(**script).write(folder / "model")  # type: ignore[arg-type]
    decode = DecodeRequest(model=model, options=DecodeOptions(language="en"), job_id="a1b2")
    try:
        TranscriptionRun(ingest, decode, pool.submit).result()
    finally:
        pool.close()


@pytest.mark.process
def test_one_search_finds_killed_workers_retries_and_gaps(tmp_path: Path, log: Log) -> None:
    actions = {"0": "kill_once", "1": "raise", "3": "raise", "4": "raise", "5": "kill"}
    run(tmp_path, "info", actions=actions)
    lines = log()
    found = [line for line in lines if SEARCHED.search(line)]

    def count(pattern: str) -> int:
        return sum(bool(re.search(pattern, line)) for line in found)

    end = r".* \(job a1b2\)$"
    died = r"Z Warning: \[GPU [01]\] The worker of GPU [01] died with segments? [\d, ]+ in work"
    assert count(rf"{died} \(SIGKILL\)\.{end}") == 3
    for index in (1, 3, 4):
        assert count(rf"Z ERROR \[GPU [01]\] ✗ ERROR in segment {index}: cannot hear{end}") == 2
    assert count(rf"Z Warning: \[GPU [01]\] Trying segments? [\d, ]+ again after an error{end}")
    assert (
        count(rf"Z ERROR \[GPU [01]\] Leaving out segment \d \(\d+\.\d-\d+\.\ds\): it {end}") == 4
    )
    assert count(rf"Z Warning: No text from \d+\.\ds to \d+\.\ds: failed 2 times{end}") == 3
    assert count(rf"Z Warning: No text from \d+\.\ds to \d+\.\ds: killed two workers{end}") == 1
    assert count(r"Z Warning: 4 segments failed to transcribe \(job a1b2\)$") == 1
    assert count(rf"Z Warning: Finished with 4 gaps: \d+ segments \| Speed: {end}") == 1
    assert not [line for line in lines if "WARNING" in line or line.count("Warning:") > 1]


def test_debug_tells_why_a_segment_was_tried_again(tmp_path: Path, log: Log) -> None:
    run(tmp_path, "debug", actions={"2": "raise_once"})
    story = the_story_of(2, log())
    steps_in_order(
        story,
        "is planned: 1 windows",
        "is queued for the workers",
        r"\[GPU [01]\] .* is given to the worker as task \d+: attempt 1, 1 windows, batches of",
        r"\[GPU [01]\] Processing segment 2",
        r"\[GPU [01]\] ✗ ERROR in segment 2: cannot hear segment2",
        "goes back to the queue, to be tried alone: ValueError: cannot hear segment2",
        r"is given to the worker as task \d+: attempt 2",
        r"\[GPU [01]\] .* is finished in task \d+: ",
        "is merged: 1 texts",
    )


def test_debug_tells_the_rounds_of_a_segment(tmp_path: Path, tiny_en: Path, log: Log) -> None:
    setup_logging("debug")
    settings = Settings(
        models_dir=tiny_en.parent, offline=True, device="cpu", workers=1, log_level="debug"
    )
    with ParallelWhisperTranscriber("tiny.en", "int8", settings=settings) as transcriber:
        path = SPEECH.write(tmp_path / "talk.flac")
        transcriber.start(path, plan=PLAN, job_id="a1b2").result()
    steps_in_order(
        the_story_of(1, log()),
        "is planned: ",
        "is queued for the workers",
        r"\[CPU 0\] .* is given to the worker as task \d+: .* beam 5",
        r"\[CPU 0\] Processing segment 1",
        r"\[CPU 0\] .*, round 1: 1 of its windows in a batch of \d",
        r"\[CPU 0\] .*, round 1: [1-9]\d* words so far, \d+\.\ds of speech without words",
        r"\[CPU 0\] .* is finished in task \d+: [1-9]\d* words",
        r"is merged: [1-9]\d* texts",
    )


def the_story_of(index: int, lines: list[str]) -> list[str]:
    """``grep -w "segment N"``: every line names the job."""
    story = [line for line in lines if re.search(rf"\bsegment {index}\b", line)]
    assert [line for line in story if not line.endswith("(job a1b2)")] == []
    return story


def steps_in_order(story: list[str], *steps: str) -> None:
    left = iter(story)
    for step in steps:
        told = any(re.search(step, line) for line in left)
        assert told, f"{step!r} is missing, or out of order, in:\n" + "\n".join(story)
