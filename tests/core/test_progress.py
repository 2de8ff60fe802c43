"""The numbers people watch: they move with the audio done, and never promise too much."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.events import (
    Decoded,
    Event,
    Finished,
    LanguageDecided,
    Planned,
    SegmentFailed,
    SegmentFinished,
    SegmentStarted,
    WorkersLoading,
)
from core.progress import Progress
from core.types import AudioSegment, Gap, JobReport, SegmentReport, Transcript

REPORT = JobReport(
    audio_s=100.0, speech_s=60.0, load_s=0.0, elapsed_s=1.0, decode_s=0.1, vad_s=0.1,
    transcribe_s=0.8, speed=100.0, model="tiny.en", language="en", devices=("CPU 0",),
)  # fmt: skip


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def planned(index: int, start_s: float, end_s: float) -> Planned:
    return Planned(AudioSegment(index, start_s, end_s, ()))


def started(index: int, device: str = "CPU 0") -> SegmentStarted:
    return SegmentStarted(index, device)


def finished(index: int, device: str = "CPU 0") -> SegmentFinished:
    report = SegmentReport(
        index=index, start_s=0.0, end_s=1.0, windows=1, device=device, texts=0, elapsed_s=1.0
    )
    return SegmentFinished((), (), report)


def fed(*events: Event, clock: Clock | None = None) -> Progress:
    progress = Progress(clock or Clock())
    for event in events:
        progress.feed(event)
    return progress


def test_progress_is_the_share_of_planned_audio() -> None:
    progress = fed(
        planned(0, 0.0, 30.0), planned(1, 30.0, 90.0), planned(2, 200.0, 210.0),
        Decoded(300.0, 300.0, finished=True), started(0), finished(0),
    )  # fmt: skip
    assert progress.fraction == pytest.approx(0.3)
    assert progress.done_s == pytest.approx(90.0)
    assert [part.state for part in progress.parts] == ["done", "planned", "planned"]


def test_what_an_earlier_run_had_done_does_not_shorten_the_time_left() -> None:
    clock = Clock()
    progress = fed(
        *(planned(index, 30.0 * index, 30.0 * index + 30.0) for index in range(4)),
        Decoded(120.0, 120.0, finished=True), started(1), finished(0), finished(3),
        clock=clock,
    )  # fmt: skip
    clock.now = 10.0
    assert (progress.fraction, progress.remaining_s) == (0.5, None)
    progress.feed(finished(1))
    assert progress.remaining_s == pytest.approx(10.0)


def test_while_decoding_the_rest_is_guessed_from_the_declared_length() -> None:
    events = (planned(0, 0.0, 50.0), Decoded(100.0, 1000.0, finished=False), finished(0))
    assert fed(*events).fraction == pytest.approx(0.05)
    unknown = (planned(0, 0.0, 50.0), Decoded(100.0, None, finished=False), finished(0))
    assert fed(*unknown).total_s is None
    assert fed(*unknown).fraction <= 0.99


def test_a_declared_length_that_is_too_short_is_not_believed() -> None:
    progress = fed(Decoded(100.0, 20.0, finished=False))
    assert progress.total_s == 100.0
    progress.feed(Decoded(150.0, 20.0, finished=True))
    assert (progress.total_s, progress.decode_finished) == (150.0, True)


def test_done_only_with_the_last_event() -> None:
    progress = fed(planned(0, 0.0, 50.0), Decoded(50.0, 50.0, finished=True), finished(0))
    assert progress.fraction == 0.99
    assert not progress.finished
    progress.feed(Finished(Transcript(()), REPORT))
    assert (progress.fraction, progress.remaining_s, progress.message) == (1.0, 0.0, "")
    assert progress.finished


def test_a_recording_without_speech_is_done_at_the_end() -> None:
    progress = fed(Decoded(20.0, 20.0, finished=True))
    assert (progress.fraction, progress.remaining_s) == (0.0, None)
    progress.feed(Finished(Transcript(()), REPORT))
    assert progress.fraction == 1.0


def test_time_left_follows_the_speed_so_far() -> None:
    clock = Clock()
    progress = fed(
        planned(0, 0.0, 30.0), planned(1, 30.0, 120.0), Decoded(120.0, 120.0, finished=True),
        clock=clock,
    )  # fmt: skip
    clock.now = 100.0  # loading the model does not count
    progress.feed(started(0))
    assert progress.remaining_s is None
    clock.now = 110.0
    progress.feed(finished(0))
    assert progress.remaining_s == pytest.approx(30.0)


def test_says_what_the_job_waits_for_until_work_begins() -> None:
    progress = fed(WorkersLoading("Loading model base (CPU 0)"))
    assert progress.message == "Loading model base (CPU 0)"
    progress.feed(LanguageDecided("zh", 0.9))
    assert progress.language == "zh"
    progress.feed(started(0))
    assert progress.message == ""


def test_a_line_for_each_device_says_what_it_does() -> None:
    progress = fed(planned(0, 0.0, 12.34), planned(1, 13.0, 50.0))
    progress.feed(started(0, "GPU 0"))
    progress.feed(started(1, "GPU 1"))
    assert progress.devices == {"GPU 0": "segment 0 (12.3s)", "GPU 1": "segment 1 (37.0s)"}
    progress.feed(finished(0, "GPU 0"))
    assert progress.devices == {"GPU 0": "waiting", "GPU 1": "segment 1 (37.0s)"}


def test_a_device_that_still_has_segments_of_its_batch_does_not_wait() -> None:
    progress = fed(*(planned(i, 10.0 * i, 10.0 * i + 10.0) for i in range(3)))
    for index in range(3):
        progress.feed(started(index))
    progress.feed(finished(2))
    assert progress.devices["CPU 0"] == "segment 1 (10.0s)"
    progress.feed(finished(0))
    progress.feed(finished(1))
    assert progress.devices["CPU 0"] == "waiting"


def test_a_segment_that_moved_to_another_device_is_done_there() -> None:
    progress = fed(planned(0, 0.0, 10.0), started(0, "CPU 0"), started(0, "CPU 1"))
    assert progress.devices == {"CPU 0": "waiting", "CPU 1": "segment 0 (10.0s)"}


def test_failed_segments_are_done_too() -> None:
    gap = Gap(0.0, 10.0, "killed two workers", 0)
    progress = fed(planned(0, 0.0, 10.0), planned(1, 10.0, 20.0), SegmentFailed(0, "CPU 0", gap))
    assert [part.state for part in progress.parts] == ["failed", "planned"]
    assert progress.fraction == pytest.approx(0.5)


@given(st.lists(st.floats(0.5, 60.0), min_size=1, max_size=40), st.integers(0, 999))
def test_never_falls_once_the_recording_is_planned(lengths: list[float], seed: int) -> None:
    rng = random.Random(seed)
    clock = Clock()
    progress = Progress(clock)
    at_s = 0.0
    for index, length_s in enumerate(lengths):
        progress.feed(planned(index, at_s, at_s + length_s))
        at_s += length_s + rng.uniform(0.0, 5.0)
    progress.feed(Decoded(at_s, None, finished=True))
    before = 0.0
    for index in rng.sample(range(len(lengths)), len(lengths)):
        clock.now += 1.0
        progress.feed(started(index))
        progress.feed(finished(index))
        assert before <= progress.fraction <= 0.99
        assert 0.0 <= progress.done_s <= at_s
        before = progress.fraction
        assert (progress.remaining_s or 0.0) >= 0.0
    assert progress.fraction == 0.99
