"""Words on the recording's clock, out of the silences, and what they leave uncovered."""

from __future__ import annotations

import numpy as np
import pytest

from core.merge import MIN_WORD_S
from core.types import SAMPLE_RATE, SpeechSpan, TranscriptSegment, Word
from decoding.clip import Clip
from decoding.parts import AlignedWord, Part
from decoding.quality import Scores
from decoding.words import (
    EDGE_S,
    FIRST_WORD_S,
    MAX_WORD_S,
    MIN_HOLE_S,
    TOLERANCE_S,
    hold_in_parts,
    holes,
    in_order,
    place_words,
    to_segments,
)

SCORES = Scores(-0.3, 0.1, 1.4)


def clip(*pieces: tuple[float, float]) -> Clip:
    spans = tuple(SpeechSpan(*bounds) for bounds in pieces)
    offsets = tuple(sum(span.duration_s for span in spans[:i]) for i in range(len(spans)))
    samples = round(sum(span.duration_s for span in spans) * SAMPLE_RATE)
    return Clip(np.zeros(samples, np.float32), (), offsets, spans)


def aligned(start_s: float, end_s: float, text: str = " word", part: int = 0) -> AlignedWord:
    return AlignedWord(text, start_s, end_s, 0.9, part)


def place(start_s: float, end_s: float, *speech: tuple[float, float]) -> tuple[float, float]:
    (word,) = place_words(
        clip((0.0, 30.0)), [aligned(start_s, end_s)], [SpeechSpan(*bounds) for bounds in speech]
    )
    return word.start_s, word.end_s


def test_words_are_moved_to_their_place_in_the_recording() -> None:
    words = [aligned(0.5, 1.0), aligned(2.2, 2.6), aligned(2.9, 3.3)]
    speech = [SpeechSpan(10.0, 12.0), SpeechSpan(20.0, 21.0), SpeechSpan(40.0, 41.0)]
    placed = place_words(clip((10.0, 12.0), (20.0, 21.0), (40.0, 41.0)), words, speech)
    # The middle of the last one lies after the seam at 3.0.
    assert [w.start_s for w in placed] == pytest.approx([10.5, 20.2, 40.0])
    assert [w.end_s for w in placed] == pytest.approx([11.0, 20.6, 40.3])
    assert [(w.text, w.probability) for w in placed] == [(" word", 0.9)] * 3


def test_a_word_gives_the_silence_around_speech_back() -> None:
    assert place(4.0, 5.4, (5.0, 7.0)) == pytest.approx((5.0 - EDGE_S, 5.4))
    assert place(6.6, 8.0, (5.0, 7.0)) == pytest.approx((6.6, 7.0 + EDGE_S))


def test_a_word_inside_speech_or_a_short_pause_stays() -> None:
    assert place(5.1, 5.6, (5.0, 7.0)) == (5.1, 5.6)
    assert place(5.9, 6.5, (5.0, 6.0), (6.3, 8.0)) == (5.9, 6.5)


def test_a_word_stretched_over_a_pause_keeps_the_side_it_covers_most() -> None:
    end_s = 5.5 + MAX_WORD_S + 1.0
    assert place(5.5, end_s, (5.0, 6.5), (end_s - 0.2, 12.0)) == pytest.approx((5.5, 6.5 + EDGE_S))


def test_a_word_in_silence_and_one_at_the_very_edge_stay() -> None:
    assert place(1.0, 1.4, (5.0, 7.0)) == (1.0, 1.4)
    start_s, end_s = place(7.0 - MIN_WORD_S / 4, 9.0, (5.0, 7.0))
    assert end_s - start_s >= MIN_WORD_S


def test_each_part_becomes_a_segment_of_its_own_words() -> None:
    words = [
        aligned(0.1, 0.4, " One"), aligned(0.5, 0.9, " two.", 0), aligned(3.0, 3.5, " Three.", 1),
    ]  # fmt: skip
    parts = [Part(0.0, 1.0, (1, 2)), Part(2.9, 3.6, (3,)), Part(3.6, 4.0, (4,))]
    texts = [" One two.", " Three.", " "]
    segments = to_segments(clip((0.0, 30.0)), parts, words, [SpeechSpan(0.0, 4.0)], SCORES, texts)
    assert [(s.text, s.start_s, s.end_s) for s in segments] == [
        ("One two.", 0.1, 0.9),
        ("Three.", 3.0, 3.5),
    ]
    assert ["".join(w.text for w in s.words) for s in segments] == [" One two.", " Three."]
    first = segments[0]
    assert (first.avg_logprob, first.no_speech_prob) == (-0.3, 0.1)
    assert (first.compression_ratio, first.temperature) == (1.4, 0.0)


def test_without_words_the_models_own_times_are_kept() -> None:
    parts = [Part(0.0, 1.5, (1,)), Part(2.5, 9.0, (2,)), Part(9.0, 9.0, (3,))]
    segments = to_segments(
        clip((10.0, 12.0), (20.0, 30.0)), parts, None, [], SCORES, [" One", " two", ""]
    )
    assert [(s.text, s.start_s, s.end_s, s.words) for s in segments] == [
        ("One", 10.0, 11.5, ()),
        ("two", 20.5, 27.0, ()),
    ]


def said(*words: tuple[float, float]) -> list[TranscriptSegment]:
    own = tuple(Word(start_s, end_s, " x", 0.9) for start_s, end_s in words)
    return [TranscriptSegment(own[0].start_s, own[-1].end_s, "x", own)] if own else []


def test_speech_without_words_is_a_hole() -> None:
    spans = [SpeechSpan(0.0, 10.0), SpeechSpan(12.0, 14.0)]
    assert holes(spans, []) == tuple(spans)
    (hole, rest) = holes(spans, said((0.0, 1.0), (1.0, 2.0), (8.0, 9.0), (9.0, 10.0)))
    assert (hole.start_s, hole.end_s) == (2.0 + TOLERANCE_S, 8.0 - TOLERANCE_S)
    assert rest == spans[1]


def test_the_aligners_error_and_breaths_are_no_holes() -> None:
    limit_s = MIN_HOLE_S + 2 * TOLERANCE_S
    spans = [SpeechSpan(0.0, 4.0)]
    assert holes(spans, said((0.0, 1.0), (1.0 + limit_s - 0.01, 4.0))) == ()
    assert holes(spans, said((0.0, 1.0), (1.0 + limit_s + 0.01, 4.0))) != ()
    assert holes([SpeechSpan(0.0, MIN_HOLE_S - 0.01)], []) == ()


def test_a_stretched_word_does_not_hide_lost_speech() -> None:
    (hole,) = holes([SpeechSpan(0.0, 12.0)], said((0.0, 12.0)))
    assert hole.duration_s > 12.0 - 2 * MAX_WORD_S


def test_segments_without_words_cover_their_whole_time() -> None:
    assert holes([SpeechSpan(0.0, 12.0)], [TranscriptSegment(0.0, 12.0, "text")]) == ()


def held(part: Part, *words: AlignedWord) -> list[tuple[float, float]]:
    return [(w.start_s, w.end_s) for w in hold_in_parts(words, [part])]


def test_a_first_word_stretched_over_skipped_speech_keeps_its_end() -> None:
    skipped = aligned(0.0, 10.0, " The"), aligned(10.0, 10.6, " invention")
    assert held(Part(0.0, 15.0, (1, 2)), *skipped) == [(10.0 - FIRST_WORD_S, 10.0), (10.0, 10.6)]


def test_a_later_beginning_of_the_part_is_the_better_witness() -> None:
    skipped = aligned(12.9, 15.5, " I"), aligned(15.5, 21.6, " really"), aligned(21.6, 21.9, " was")
    first, second, third = held(Part(21.2, 27.6, (1, 2, 3)), *skipped)
    assert second == (21.2, 21.6)
    assert first == pytest.approx((21.2 - MIN_WORD_S, 21.2))
    assert third == (21.6, 21.9)


def test_a_last_word_stretched_out_of_its_part_keeps_its_beginning() -> None:
    words = aligned(4.0, 4.4, " the"), aligned(4.4, 12.0, " end.")
    assert held(Part(0.0, 5.0, (1, 2)), *words) == [(4.0, 4.4), (4.4, 5.0)]


def test_words_of_a_believable_length_stay_where_they_were_aligned() -> None:
    words = aligned(0.2, 0.6, " One"), aligned(0.6, 1.9, " two.")
    assert held(Part(1.0, 1.2, (1, 2)), *words) == [(0.2, 0.6), (0.6, 1.9)]


def spoken(*words: tuple[float, float, str]) -> TranscriptSegment:
    decoded = tuple(Word(start_s, end_s, text, 0.9) for start_s, end_s, text in words)
    text = "".join(word.text for word in decoded).strip()
    return TranscriptSegment(decoded[0].start_s, decoded[-1].end_s, text, decoded)


def test_what_a_later_round_found_stands_where_it_was_said() -> None:
    sentence = spoken(
        (0.0, 0.5, " The"), (0.5, 1.0, " first"), (9.0, 9.5, " and"), (9.5, 10.0, " last")
    )
    found = spoken((4.0, 4.5, " in"), (4.5, 5.0, " between"))
    ordered = in_order([sentence, found])
    assert [(s.text, s.start_s, s.end_s) for s in ordered] == [
        ("The first", 0.0, 1.0),
        ("in between", 4.0, 5.0),
        ("and last", 9.0, 10.0),
    ]


def test_sentences_that_follow_each_other_are_not_divided() -> None:
    one, other = spoken((0.0, 0.5, " One"), (0.5, 1.0, " two.")), spoken((1.0, 2.0, " Three."))
    assert in_order([other, one]) == (one, other)
    silent = TranscriptSegment(0.0, 9.0, "no words")
    assert in_order([silent, one]) == (silent, one)
