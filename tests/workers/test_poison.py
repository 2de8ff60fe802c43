"""A segment that fails is divided: only the window that fails is lost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.events import Incident, SegmentFailed, SegmentFinished
from core.pool_job import PoolEvent
from core.types import SpeechSpan, Window
from tests.workers.conftest import (
    HASTY,
    QUICK,
    Bench,
    WatchedJob,
    all_gaps,
    gaps,
    incidents,
    segment,
    texts,
)
from tests.workers.scripted_engine import read_log
from workers.limits import PoolLimits


def run(
    bench: Bench, actions: dict[str, str], limits: PoolLimits = QUICK
) -> tuple[list[PoolEvent], WatchedJob]:
    """Four segments of 30 s in three windows each: those of segment 1 start at 60, 70 and 80 s."""
    job = bench.submit(bench.pool(limits=limits), bench.model(actions=actions), batch_size=6)
    job.add([segment(index, 30.0, windows=3) for index in range(4)])
    job.finish_input()
    return list(job.events()), job


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        ("kill", "killed two workers (SIGKILL)"),
        ("segv", "killed two workers (SIGSEGV)"),
        ("hang", "killed two workers (no progress for 3 s)"),
        ("raise", "failed 2 times: ValueError: cannot hear segment1"),
        ("oom", "ran out of memory again: CUDA failed with error out of memory"),
    ],
)
def test_only_the_window_that_fails_is_lost(bench: Bench, action: str, reason: str) -> None:
    events, job = run(bench, {"1@70": action}, HASTY if action == "hang" else QUICK)
    (finished,) = [e for e in events if isinstance(e, SegmentFinished) and e.index == 1]
    assert [text.start_s for text in finished.segments] == [60.0, 80.0]
    (gap,) = finished.gaps
    assert (gap.start_s, gap.end_s, gap.segment_index) == (70.0, 80.0, 1)
    assert gap.reason == reason
    assert all_gaps(events) == (gap,)
    assert gaps(events) == {}
    assert set(texts(events)) == {0, 1, 2, 3}
    assert job.reports[1].windows == 2
    assert job.reports[1].texts == 2
    notified = incidents(events)
    assert (notified.count("segment_split"), notified.count("segment_given_up")) == (1, 1)


def test_hang_divides_the_only_suspect_at_once(bench: Bench) -> None:
    events, _ = run(bench, {"1@70": "hang_once"}, HASTY)
    assert set(texts(events)) == {0, 1, 2, 3}
    assert all_gaps(events) == ()
    assert incidents(events) == ["worker_hung", "segment_split"]


def test_segment_of_which_nothing_is_left_is_one_gap(bench: Bench) -> None:
    events, _ = run(bench, {"1": "raise"})
    (failed,) = [event for event in events if isinstance(event, SegmentFailed)]
    assert (failed.index, failed.gap.start_s, failed.gap.end_s) == (1, 60.0, 90.0)
    assert failed.gap.reason == "failed 2 times: ValueError: cannot hear segment1"
    assert [event.index for event in events if isinstance(event, SegmentFinished)].count(1) == 0
    assert all_gaps(events) == (failed.gap,)


def test_gap_covers_the_speech_and_not_the_silence_around_it(bench: Bench) -> None:
    spans = (SpeechSpan(2.0, 3.0), SpeechSpan(5.0, 6.5))
    quiet = replace(segment(0), windows=(Window((SpeechSpan(0.0, 10.0),), spans),))
    job = bench.submit(bench.pool(1), bench.model(actions={"0": "raise"}))
    job.add([quiet])
    job.finish_input()
    found = all_gaps(list(job.events()))
    assert [(gap.start_s, gap.end_s) for gap in found] == [(2.0, 6.5)]


def test_segments_decoded_together_are_charged_only_alone(bench: Bench) -> None:
    """A batch that dies says nothing of its segments; two deaths alone do."""
    model = bench.model(actions={"3": "kill"}, together=True)
    job = bench.submit(bench.pool(1), model, 5, batch_size=4)
    events = list(job.events())
    assert set(gaps(events)) == {3}
    assert set(texts(events)) == {0, 1, 2, 4}
    tried = [entry["indices"] for entry in read_log(model, "decode") if 3 in entry["indices"]]
    assert tried == [[1, 2, 3, 4], [3], [3]]


def test_chance_deaths_of_a_batch_cost_no_text(bench: Bench) -> None:
    model = bench.model(actions={"2": "kill_once"}, together=True)
    job = bench.submit(bench.pool(1), model, 5, batch_size=4)
    events = list(job.events())
    assert gaps(events) == {}
    assert len(texts(events)) == 5
    assert incidents(events) == ["worker_lost"]


def test_each_step_is_one_line_in_the_log_and_one_in_the_history(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    pool = bench.pool(1)
    job = bench.submit(pool, bench.model(actions={"1@70": "kill"}))
    job.add([segment(0), segment(1, 30.0, windows=3)])
    job.finish_input()
    history = [event for event in job.events() if isinstance(event, Incident)]
    assert [event.kind for event in history] == [
        "worker_lost",
        "worker_lost",
        "segment_split",
        "worker_lost",
        "worker_lost",
        "segment_given_up",
    ]
    assert history[0].text == "The worker of CPU 0 died with segment 1 in work (SIGKILL)."
    assert history[2].text == (
        "Trying the 3 windows of segment 1 (60.0-90.0s) one by one: it killed two workers (SIGKILL)"
    )
    assert history[-1].text == (
        "Leaving out segment 1, window 2 (70.0-80.0s): it killed two workers (SIGKILL)"
    )
    lines = [record.message for record in caplog.records if record.levelname != "INFO"]
    assert lines == [f"[CPU 0] {event.text}" for event in history]
    assert pool.counters() == {"worker_lost": 4, "segment_split": 1, "segment_given_up": 1}
