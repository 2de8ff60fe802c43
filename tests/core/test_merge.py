"""core.merge: order, seams, word times, gaps and the coverage audit."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.merge import (
    MIN_WORD_S,
    TranscriptBuilder,
    audit_coverage,
    join_gaps,
    monotonic,
)
from core.types import Gap, SpeechSpan, Transcript, TranscriptSegment, Word
from tests.counting import growth


def words_at(*timed: tuple[float, float, str]) -> tuple[Word, ...]:
    return tuple(Word(start, end, text, 0.9) for start, end, text in timed)


def segment_of(*timed: tuple[float, float, str]) -> TranscriptSegment:
    words = words_at(*timed)
    text = "".join(word.text for word in words)
    return TranscriptSegment(words[0].start_s, words[-1].end_s, text, words)


@dataclass(frozen=True)
class Result:
    """What one segment gave."""

    index: int
    segments: tuple[TranscriptSegment, ...] = ()
    gaps: tuple[Gap, ...] = ()


def merged_of(results: Iterable[Result]) -> Transcript:
    builder = TranscriptBuilder()
    for result in results:
        builder.add(result.index, result.segments, result.gaps)
    return builder.build()


def text_of(*results: Result) -> str:
    return "".join(segment.text for segment in merged_of(results).segments)


times = st.floats(0, 600, allow_nan=False)
loose_words = st.lists(
    st.tuples(times, times, st.sampled_from([" a", " very", " word,", "你", " end."])).map(
        lambda t: Word(t[0], t[1], t[2], 0.5)
    ),
    max_size=30,
)


@st.composite
def results(draw: st.DrawFn) -> list[Result]:
    """Results of consecutive audio segments with unique words, times as loose as can be."""
    made: list[Result] = []
    serial = 0
    for index in range(draw(st.integers(0, 6))):
        segments = []
        for _ in range(draw(st.integers(0, 3))):
            words = []
            for word in draw(loose_words):
                words.append(replace(word, text=f" w{serial}"))
                serial += 1
            start_s, end_s = draw(times), draw(times)
            text = "".join(word.text for word in words) or f" s{serial}"
            serial += 1
            segments.append(TranscriptSegment(start_s, end_s, text, tuple(words)))
        made.append(Result(index, tuple(segments)))
    return made


@given(results(), st.randoms(use_true_random=False))
def test_no_word_is_lost_and_the_order_of_arrival_does_not_matter(
    made: list[Result], rng: random.Random
) -> None:
    shuffled = made[:]
    rng.shuffle(shuffled)
    merged = merged_of(shuffled)
    assert merged == merged_of(made)
    expected = sorted(w.text for r in made for s in r.segments for w in s.words)
    assert sorted(word.text for word in merged.words()) == expected
    whole = sorted(s.text for r in made for s in r.segments)
    assert sorted(s.text for s in merged.segments) == whole


@given(results())
def test_merged_times_never_run_backwards(made: list[Result]) -> None:
    merged = merged_of(made)
    starts = [word.start_s for word in merged.words()]
    assert starts == sorted(starts)
    assert all(word.start_s <= word.end_s for word in merged.words())
    segment_starts = [segment.start_s for segment in merged.segments]
    assert segment_starts == sorted(segment_starts)
    assert all(segment.start_s <= segment.end_s for segment in merged.segments)


@given(results(), st.randoms(use_true_random=False))
def test_what_has_been_shown_stays_as_it_was(made: list[Result], rng: random.Random) -> None:
    rng.shuffle(made)
    builder = TranscriptBuilder()
    shown: tuple[TranscriptSegment, ...] = ()
    for result in made:
        builder.add(result.index, result.segments)
        now = builder.ordered_prefix()
        assert now[: len(shown)] == shown
        shown = now
    assert builder.build().segments == shown


def test_prefix_waits_for_the_missing_segment() -> None:
    builder = TranscriptBuilder()
    builder.add(1, [segment_of((5, 6, " two"))])
    assert builder.ordered_prefix() == ()
    assert [s.text for s in builder.build().segments] == [" two"]
    builder.add(0, [segment_of((1, 2, " one"))])
    assert [s.text for s in builder.ordered_prefix()] == [" one", " two"]


def test_a_result_given_twice_is_refused() -> None:
    builder = TranscriptBuilder()
    builder.add(0)
    builder.add(2)
    for index in (0, 2, -1):
        with pytest.raises(ValueError, match=f"Segment {index}"):
            builder.add(index)


def test_word_heard_on_both_sides_of_a_seam_stays_once() -> None:
    left = Result(0, (segment_of((0, 0.5, " in"), (0.5, 0.9, " the"), (0.9, 1.2, " end")),))
    right = Result(1, (segment_of((1.0, 1.35, " End,"), (1.4, 1.7, " we")),))
    assert text_of(left, right) == " in the end we"


def test_phrase_heard_on_both_sides_of_a_seam_stays_once() -> None:
    left = Result(0, (segment_of((0.5, 0.9, " the"), (0.9, 1.2, " end")),))
    right = Result(1, (segment_of((0.6, 0.95, " the"), (0.95, 1.3, " end"), (2, 3, " we")),))
    assert text_of(left, right) == " the end we"


def test_word_said_twice_across_a_seam_stays_twice() -> None:
    left = Result(0, (segment_of((0, 0.3, " very")),))
    right = Result(1, (segment_of((0.3, 0.6, " very"), (0.7, 1, " good")),))
    assert text_of(left, right) == " very very good"


def test_other_words_at_the_same_time_stay() -> None:
    left = Result(0, (segment_of((0, 0.5, " yes")),))
    right = Result(1, (segment_of((0, 0.5, " no")),))
    assert text_of(left, right) == " yes no"


def test_doubling_inside_one_segment_is_not_touched() -> None:
    twice = Result(0, (segment_of((1, 1, " no")), segment_of((1, 1.02, " no"))))
    assert text_of(twice) == " no no"


def test_segment_without_words_heard_twice_stays_once() -> None:
    left = Result(0, (TranscriptSegment(1.0, 3.0, " Hello there."),))
    right = Result(1, (TranscriptSegment(1.1, 3.2, "hello there"),))
    assert text_of(left, right) == " Hello there."


def test_one_word_thrown_far_away_does_not_drag_the_others() -> None:
    fixed = monotonic(words_at((1, 1.2, "a"), (50, 50.2, "b"), (2, 2.2, "c"), (3, 3.2, "d")))
    assert [(w.text, w.start_s) for w in fixed] == [("a", 1), ("b", 1.2), ("c", 2), ("d", 3)]
    assert fixed[1].end_s == pytest.approx(1.4)


def test_words_in_order_keep_their_times() -> None:
    words = words_at((1, 1.2, "a"), (1.2, 2, "b"), (2.5, 3, "c"))
    assert monotonic(words) == list(words)


def test_words_on_one_spot_share_its_time() -> None:
    fixed = monotonic(words_at((1, 1.2, "a"), (1, 1.3, "b"), (1.25, 2, "c")))
    assert [w.start_s for w in fixed] == pytest.approx([1, 1 + MIN_WORD_S, 1.25])
    assert [w.end_s for w in fixed] == pytest.approx([1 + MIN_WORD_S, 1.25, 2])


def test_words_without_length_get_one_where_there_is_room() -> None:
    fixed = monotonic(words_at((1, 1, "a"), (1, 1, "b"), (2, 2, "c"), (2.01, 3, "d")))
    lengths = [w.end_s - w.start_s for w in fixed]
    assert lengths[:3] == pytest.approx([MIN_WORD_S, MIN_WORD_S, 0.01])


@given(loose_words)
def test_monotonic_words_do_not_overlap(words: list[Word]) -> None:
    fixed = monotonic(words)
    assert [w.text for w in fixed] == [w.text for w in words]
    for word, following in itertools.pairwise(fixed):
        assert word.start_s <= word.end_s <= following.start_s + 1e-9


def test_touching_gaps_with_one_reason_are_joined() -> None:
    gaps = [Gap(5, 6, "crash", 1), Gap(1, 2, "noise", 0), Gap(2, 3, "noise", 0), Gap(6, 7, "noise")]
    joined = (Gap(1, 3, "noise", 0), Gap(5, 6, "crash", 1), Gap(6, 7, "noise"))
    assert join_gaps(gaps) == joined
    assert merged_of([Result(0, gaps=tuple(gaps))]).gaps == joined


def test_audit_reports_the_part_no_word_covers() -> None:
    spans = [SpeechSpan(0, 10)]
    words = words_at((0.2, 1, "a"), (1, 3, "b"), (7, 10, "c"))
    (hole,) = audit_coverage(spans, words)
    assert (hole.start_s, hole.end_s) == pytest.approx((3.3, 6.7))


def test_audit_forgives_what_alignment_gets_wrong() -> None:
    assert audit_coverage([SpeechSpan(0, 3)], words_at((0.7, 1.3, "a"), (2.3, 2.4, "b"))) == ()


def test_audit_is_not_fooled_by_a_stretched_word() -> None:
    (hole,) = audit_coverage([SpeechSpan(0, 20)], words_at((0, 20, "a")))
    assert (hole.start_s, hole.end_s) == pytest.approx((2, 18))
    assert audit_coverage([SpeechSpan(0, 20)], words_at((0, 20, "a")), max_word_s=math.inf) == ()


def test_audit_ignores_words_outside_speech() -> None:
    span = SpeechSpan(5, 6)
    assert audit_coverage([span], words_at((1, 2, "a"), (8, 9, "b"))) == (span,)


@st.composite
def spans_apart(draw: st.DrawFn) -> list[SpeechSpan]:
    spans: list[SpeechSpan] = []
    clock_s = 0.0
    for silence_s, length_s in draw(st.lists(st.tuples(st.floats(0, 60), st.floats(0.1, 40)))):
        spans.append(SpeechSpan(clock_s + silence_s, clock_s + silence_s + length_s))
        clock_s = spans[-1].end_s
    return spans


@given(spans_apart(), loose_words, st.floats(0, 1), st.floats(0.05, 2))
def test_audit_finds_exactly_the_uncovered_instants(
    spans: list[SpeechSpan], words: list[Word], tolerance_s: float, least_s: float
) -> None:
    words = [replace(w, end_s=max(w.start_s, w.end_s)) for w in words]
    holes = audit_coverage(
        spans, words, tolerance_s=tolerance_s, min_uncovered_s=least_s, max_word_s=math.inf
    )
    assert all(hole.duration_s >= least_s for hole in holes)
    assert all(a.end_s <= b.start_s for a, b in itertools.pairwise(holes))
    covered = [(w.start_s - tolerance_s, w.end_s + tolerance_s) for w in words]
    for hole in holes:
        assert any(s.start_s <= hole.start_s and hole.end_s <= s.end_s for s in spans)
        assert not any(a < hole.end_s and hole.start_s < b for a, b in covered)
    for span in spans:
        edges = sorted({span.start_s, span.end_s, *(t for pair in covered for t in pair)})
        for left, right in itertools.pairwise(edges):
            middle = (left + right) / 2
            inside = span.start_s <= left and right <= span.end_s and left < middle < right
            if inside and right - left >= least_s and not any(a < middle < b for a, b in covered):
                assert any(h.start_s <= middle <= h.end_s for h in holes)


def test_four_times_the_words_are_four_times_the_work() -> None:
    made = [
        Result(
            index,
            (segment_of(*((index * 30 + k * 0.3, index * 30 + k * 0.3 + 0.3, " w")
                          for k in range(90))),),
        )
        for index in range(200)
    ]  # fmt: skip
    spans = [SpeechSpan(i * 5.0, i * 5.0 + 4) for i in range(1200)]

    def work(size: int) -> None:
        merged = merged_of(reversed(made[:size]))
        audit_coverage(spans[: 6 * size], merged.words())

    assert growth(Word, work, 50) < 5
    assert growth(SpeechSpan, work, 50) < 5
    assert sum(1 for _ in merged_of(reversed(made)).words()) == 200 * 90
