"""The plan of a recording, over every shape of speech: nothing lost, nothing heard twice."""

from __future__ import annotations

import logging
import math
import random
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from core.errors import InvalidOption
from core.planning import (
    CONTENT_S,
    FRAME_S,
    JOIN_S,
    MIN_SPAN_S,
    PAD_S,
    SegmentPlanner,
    pack_windows,
)
from core.types import WINDOW_S, AudioSegment, SpeechSpan, Window
from tests.counting import growth
from vad import plan_segments

EPS = 1e-6

KINDS: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "dense": ((0.16, 0.8), (0.3, 8.0)),
    "sparse": ((2.0, 100.0), (0.2, 8.0)),
    "monologue": ((0.2, 1.0), (5.0, 200.0)),
    "chatter": ((0.16, 0.5), (0.02, 0.4)),
    "touching": ((0.0, 0.0), (0.3, 25.0)),
}
"""Silence before and length of a span, in seconds."""

LIMITS = [(10.0, 60.0), (5.0, 20.0), (0.0, 30.0), (10.0, 10.0), (2.0, 2.0), (29.0, 30.0), (30, 120)]


def speech(kind: str, count: int, rng: random.Random, start_s: float = 0.0) -> list[SpeechSpan]:
    spans: list[SpeechSpan] = []
    for _ in range(count):
        gap, length = KINDS[kind]
        start_s += rng.uniform(*gap)
        end_s = start_s + rng.uniform(*length)
        spans.append(SpeechSpan(start_s, end_s))
        start_s = end_s
    return spans


def track(spans: list[SpeechSpan], seed: int) -> list[float]:
    frames = math.ceil(spans[-1].end_s / FRAME_S) + 1 if spans else 0
    values: list[float] = np.random.default_rng(seed).random(frames).tolist()
    return values


@st.composite
def recordings(draw: st.DrawFn) -> list[SpeechSpan]:
    """Stretches of different kinds after each other."""
    rng = random.Random(draw(st.integers(0, 2**32)))
    spans: list[SpeechSpan] = []
    for kind, count in draw(
        st.lists(st.tuples(st.sampled_from(sorted(KINDS)), st.integers(1, 25)), max_size=4)
    ):
        spans += speech(kind, count, rng, spans[-1].end_s if spans else rng.uniform(0.0, 3.0))
    return spans


def windows(plan: list[AudioSegment]) -> list[Window]:
    return [window for segment in plan for window in segment.windows]


def planned_spans(plan: list[AudioSegment]) -> list[SpeechSpan]:
    return [span for window in windows(plan) for span in window.spans]


def speech_bounds(segment: AudioSegment) -> tuple[float, float]:
    return segment.windows[0].spans[0].start_s, segment.windows[-1].spans[-1].end_s


@given(recordings(), st.sampled_from(LIMITS), st.integers(0, 99))
def test_every_span_is_covered_exactly_once(
    spans: list[SpeechSpan], limits: tuple[float, float], seed: int
) -> None:
    parts = planned_spans(plan_segments(spans, track(spans, seed), *limits))
    for span in spans:
        own = [part for part in parts if span.start_s <= part.start_s < span.end_s]
        if span.duration_s < MIN_SPAN_S:
            assert own == []
            continue
        assert (own[0].start_s, own[-1].end_s) == (span.start_s, span.end_s)
        assert all(left.end_s == right.start_s for left, right in pairwise(own))
        # Aligning words in next to no audio can kill a process: cuts leave no splinters.
        assert min(part.duration_s for part in own) >= MIN_SPAN_S - EPS
        del parts[: len(own)]
    assert parts == []


@given(recordings(), st.sampled_from(LIMITS), st.integers(0, 99))
def test_windows_fit_the_encoder_and_segments_their_limit(
    spans: list[SpeechSpan], limits: tuple[float, float], seed: int
) -> None:
    plan = plan_segments(spans, track(spans, seed), *limits)
    assert [segment.index for segment in plan] == list(range(len(plan)))
    for segment in plan:
        assert segment.duration_s <= limits[1] + EPS
        assert segment.start_s == segment.windows[0].start_s
        assert segment.end_s == segment.windows[-1].end_s
        assert segment.windows
    for window in windows(plan):
        assert MIN_SPAN_S - EPS <= window.audio_s <= WINDOW_S
        for span in window.spans:
            assert any(
                piece.start_s <= span.start_s + EPS and span.end_s <= piece.end_s + EPS
                for piece in window.pieces
            )
        for piece, following in pairwise(window.pieces):
            assert following.start_s - piece.end_s > 0


@given(recordings(), st.sampled_from(LIMITS), st.integers(0, 99))
def test_no_audio_is_heard_twice_and_time_never_runs_backwards(
    spans: list[SpeechSpan], limits: tuple[float, float], seed: int
) -> None:
    plan = plan_segments(spans, track(spans, seed), *limits)
    pieces = [piece for window in windows(plan) for piece in window.pieces]
    assert all(piece.start_s >= 0.0 and piece.duration_s > 0 for piece in pieces)
    assert all(left.end_s <= right.start_s + EPS for left, right in pairwise(pieces))


# A plan that looked ahead only to what it needed left 698-704 s alone here, which fits before it.
RECEDING = [
    (518.3, 571.9), (605.9, 609.4), (667.7, 696.4), (698.2, 703.7), (747.2, 753.1), (754.8, 762.2),
]  # fmt: skip


@given(recordings(), st.sampled_from(LIMITS), st.integers(0, 99))
@example([SpeechSpan(*bounds) for bounds in RECEDING], (10.0, 60.0), 0)
def test_only_an_isolated_segment_is_shorter_than_the_minimum(
    spans: list[SpeechSpan], limits: tuple[float, float], seed: int
) -> None:
    shortest_s, longest_s = limits
    plan = plan_segments(spans, track(spans, seed), *limits)
    for left, right in pairwise(plan):
        if min(left.duration_s, right.duration_s) < shortest_s - EPS:
            joined_s = speech_bounds(right)[1] - speech_bounds(left)[0] + 2 * PAD_S
            assert joined_s > longest_s - EPS


@given(recordings(), st.sampled_from(LIMITS[:4]), st.integers(0, 99), st.integers(0, 2**32))
def test_how_the_spans_arrive_does_not_change_the_plan(
    spans: list[SpeechSpan], limits: tuple[float, float], seed: int, portions: int
) -> None:
    assume(spans)
    rng = random.Random(portions)
    probabilities = track(spans, seed)
    given_spans, given_track = list(spans), list(probabilities)
    whole = plan_segments(spans, probabilities, *limits)
    assert plan_segments(tuple(spans), np.asarray(probabilities), *limits) == whole
    assert (spans, probabilities) == (given_spans, given_track)
    planner = SegmentPlanner(*limits)
    streamed: list[AudioSegment] = []
    clock_s, at = 0.0, 0
    while at < len(spans):
        clock_s += rng.choice([0.5, 5.0, 50.0])
        # As the VAD does: a span arrives when it has ended, and one that is open holds the clock.
        ended = at
        while ended < len(spans) and spans[ended].end_s <= clock_s:
            ended += 1
        settled_s = clock_s
        if ended < len(spans):
            settled_s = min(settled_s, spans[ended].start_s)
        heard = probabilities[: math.floor(clock_s / FRAME_S)]
        streamed += planner.push(spans[at:ended], heard, settled_s)
        at = ended
    assert streamed + planner.flush() == whole


def test_long_recordings_leave_segment_by_segment() -> None:
    spans = speech("dense", 400, random.Random(1))
    planner = SegmentPlanner()
    counts = []
    for span in spans:
        ready = planner.push([span], [], span.end_s)
        counts.append(len(ready))
        assert all(segment.end_s > span.end_s - 180.0 for segment in ready)
    assert max(counts) == 1
    assert sum(counts) >= 0.9 * len(plan_segments(spans))


def test_short_spans_are_dropped_counted_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    lengths = [1.0, 2.0, 0.096, 0.128, 0.05, 3.0]
    spans = [SpeechSpan(5.0 * i, 5.0 * i + length) for i, length in enumerate(lengths)]
    planner = SegmentPlanner()
    with caplog.at_level(logging.WARNING):
        plan = planner.push(spans, [], 0.0) + planner.flush()
    assert planner.dropped == 2
    assert [s.duration_s for s in planned_spans(plan)] == pytest.approx([1.0, 2.0, 0.128, 3.0])
    assert [(r.name, r.levelname, r.getMessage()) for r in caplog.records] == [
        ("vad", "WARNING", "Segment 2 too short (0.10s), skipping"),
        ("vad", "WARNING", "Segment 4 too short (0.05s), skipping"),
    ]


def test_speech_without_pause_is_cut_where_speech_is_least_probable() -> None:
    rng = np.random.default_rng(7)
    end_s = 400.0
    probabilities = 0.8 + 0.2 * rng.random(round(end_s / FRAME_S))
    dips = np.sort(rng.choice(len(probabilities) // 10, 60, replace=False)) * 10
    for dip in dips:
        probabilities[dip : dip + 5] = 0.3 + 0.3 * rng.random()
    parts = planned_spans(plan_segments([SpeechSpan(0.0, end_s)], probabilities.tolist()))
    room_s = CONTENT_S - 2 * PAD_S
    assert len(parts) >= end_s / room_s
    smooth = np.convolve(np.pad(probabilities, 2, mode="edge"), np.full(5, 0.2), "valid")
    for part, following in pairwise(parts):
        first = math.ceil((part.start_s + room_s / 2) / FRAME_S)
        last = math.floor(min(part.start_s + room_s, end_s - MIN_SPAN_S) / FRAME_S)
        quietest = float(smooth[first + 2 : last - 2].min())
        assert smooth[round(part.end_s / FRAME_S)] <= quietest + EPS
        assert following.start_s == part.end_s
    assert len({round(part.duration_s, 1) for part in parts}) > len(parts) // 2


def test_a_monologue_is_cut_in_its_pauses_before_its_words() -> None:
    """Spans with pauses between them are never cut inside, and long pauses go before short."""
    spans = [SpeechSpan(4.0 * i, 4.0 * i + (3.8 if i % 6 else 3.0)) for i in range(1, 120)]
    plan = plan_segments(spans)
    assert planned_spans(plan) == spans
    ends = {span.end_s for span in spans if span.duration_s == 3.0}
    cuts = [window.spans[-1].end_s for window in windows(plan)][:-1]
    assert sum(cut in ends for cut in cuts) >= 0.9 * len(cuts)


@pytest.mark.parametrize("seed", range(5))
def test_windows_are_packed_full(seed: int) -> None:
    spans = speech("dense", 800, random.Random(seed))
    plan = plan_segments(spans)
    audible_s = sum(span.duration_s for span in spans)
    audible_s += sum(min(JOIN_S, right.start_s - left.end_s) for left, right in pairwise(spans))
    assert len(windows(plan)) <= 1.25 * math.ceil(audible_s / CONTENT_S) + 1


def test_silence_inside_a_window_is_left_out() -> None:
    (segment,) = plan_segments([SpeechSpan(10.0, 15.0), SpeechSpan(40.0, 45.0)])
    (window,) = segment.windows
    assert window.audio_s == pytest.approx(10.0 + JOIN_S + 2 * PAD_S)
    assert segment.duration_s == pytest.approx(35.0 + 2 * PAD_S)


def test_padding_ends_with_the_recording() -> None:
    planner = SegmentPlanner()
    planner.push([SpeechSpan(0.05, 20.0)], [], 20.0)
    (segment,) = planner.flush(20.1)
    assert segment.start_s == pytest.approx(0.0)
    assert segment.end_s == 20.1


def test_no_speech_no_segments() -> None:
    assert plan_segments([]) == []
    assert plan_segments([SpeechSpan(1.0, 1.05)]) == []


@pytest.mark.parametrize(
    "limits",
    [(60.0, 10.0), (-1.0, 60.0), (0.0, 1.9), (0.0, 0.0), (math.nan, 60.0), (10.0, math.nan),
     (10.0, math.inf)],
)  # fmt: skip
def test_impossible_durations_are_refused(limits: tuple[float, float]) -> None:
    with pytest.raises(InvalidOption, match="not possible") as caught:
        plan_segments([], [], *limits)
    assert caught.value.hint


@given(recordings())
def test_loose_speech_is_packed_in_order(spans: list[SpeechSpan]) -> None:
    loose = [span for span in spans if MIN_SPAN_S <= span.duration_s <= CONTENT_S - 2 * PAD_S]
    packed = pack_windows(loose)
    assert [span for window in packed for span in window.spans] == loose
    assert all(window.audio_s <= WINDOW_S for window in packed)


@pytest.mark.parametrize(
    ("kind", "count"),
    [pytest.param("dense", 800, id="dense"), pytest.param("chatter", 1500, id="chatter"),
     pytest.param("monologue", 100, id="monologue")],
)  # fmt: skip
def test_four_times_the_speech_is_four_times_the_work(
    caplog: pytest.LogCaptureFixture, kind: str, count: int
) -> None:
    caplog.set_level(logging.ERROR, "vad")  # not ten thousand lines on spans that are too short
    spans = speech(kind, 4 * count, random.Random(3))
    probabilities = track(spans, 1)
    assert growth(SpeechSpan, lambda size: plan_segments(spans[:size], probabilities), count) < 5
