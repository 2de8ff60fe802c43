# ruff: noqa: RUF001 (full-width and look-alike characters are the subject here)
"""subtitles.layout: hard limits by property, good taste by example."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidOption
from core.types import Cue, Transcript, TranscriptSegment, Word
from subtitles.breaks import BreakJudge
from subtitles.layout import layout, to_ms
from subtitles.rules import DEFAULT_RULES, LayoutRules
from subtitles.sanitize import clean_text
from subtitles.script import NO_LINE_END, NO_LINE_START, cut_at_width, text_width
from subtitles.units import units_of
from tests.counting import growth
from tests.subtitles.samples import any_text, segment_of, spoken

WORDS = [" the", " quick", " brown,", " fox.", " jumps", " extraordinarily", " over", " and", " I"]
CJK = [
    "你",
    "好，",
    "我们",
    "的",
    "一个。",
    "「错",
    "误」",
    "カタ",
    "ーチ",
    "は、",
    "Whisper",
    " 街",
]

word_lists = st.lists(
    st.tuples(
        st.one_of(st.sampled_from(WORDS), st.sampled_from(CJK), any_text),
        st.sampled_from([0.0, 0.0, 0.05, 0.3, 0.7, 2.5, -0.5]),
        st.sampled_from([0.0, 0.02, 0.2, 0.5, 3.0, 12.0]),
    ),
    min_size=1,
    max_size=60,
)


@st.composite
def transcripts(draw: st.DrawFn) -> Transcript:
    clock_s = draw(st.floats(0, 10_000))
    segments = []
    for drawn in draw(st.lists(word_lists, max_size=4)):
        words = []
        for text, pause_s, length_s in drawn:
            start_s = max(0.0, clock_s + pause_s)
            words.append(Word(start_s, start_s + length_s, text, 0.9))
            clock_s = start_s + length_s
        text = "".join(word.text for word in words)
        segment = TranscriptSegment(words[0].start_s, words[-1].end_s, text, tuple(words))
        segments.append(replace(segment, words=()) if draw(st.booleans()) else segment)
    language = draw(st.sampled_from([None, "en", "de", "zh", "ja"]))
    return Transcript(tuple(segments), language=language)


rule_sets = st.builds(
    LayoutRules,
    max_chars=st.integers(12, 60),
    max_lines=st.integers(1, 3),
    max_cue_s=st.sampled_from([3.0, 7.0]),
    min_gap_ms=st.sampled_from([0, 40, 84]),
)


def letters(text: str) -> str:
    return "".join(text.split())


@given(transcripts(), rule_sets)
def test_every_letter_appears_once_in_order(transcript: Transcript, rules: LayoutRules) -> None:
    shown = "".join(line for cue in layout(transcript, rules) for line in cue.lines)
    said = "".join(
        "".join(w.text for w in s.words) if letters(clean_words(s)) else s.text
        for s in transcript.segments
    )
    assert letters(shown) == letters(clean_text(said))


def clean_words(segment: TranscriptSegment) -> str:
    return "".join(word.text for word in segment.words)


@given(transcripts(), rule_sets)
def test_cues_keep_the_limits(transcript: Transcript, rules: LayoutRules) -> None:
    for cue in layout(transcript, rules):
        assert 1 <= len(cue.lines) <= rules.max_lines
        assert all(line == line.strip() and line for line in cue.lines)
        assert cue.end_ms - cue.start_ms <= rules.max_cue_s * 1000
        for line in cue.lines:
            # a single character with a heap of marks may be wider than a line and is never cut
            assert text_width(line) <= rules.max_chars or len(cut_at_width(line, 1)) == 1


@given(transcripts(), rule_sets)
def test_cues_never_overlap_nor_flash(transcript: Transcript, rules: LayoutRules) -> None:
    cues = layout(transcript, rules)
    for cue in cues:
        assert type(cue.start_ms) is int
        assert type(cue.end_ms) is int
        assert cue.end_ms - cue.start_ms >= rules.min_shown_ms
    for cue, following in itertools.pairwise(cues):
        assert cue.end_ms <= following.start_ms
        room_ms = following.start_ms - cue.start_ms - rules.min_gap_ms
        assert cue.end_ms - cue.start_ms >= min(rules.min_cue_s * 1000, room_ms)


@given(st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from([0.2, 0.4, 1.0])), min_size=1))
def test_no_word_is_shown_before_it_is_said(drawn: list[tuple[str, float]]) -> None:
    timed = []
    clock_s = 0.0
    for text, length_s in drawn:
        timed.append((clock_s, clock_s + length_s, text))
        clock_s += length_s
    cues = layout(Transcript((segment_of(*timed),), language="en"))
    starts = iter(timed)
    for cue in cues:
        first, *_ = [next(starts) for _ in cue.text.split()]
        assert cue.start_ms == to_ms(first[0])


@given(st.data())
def test_a_longer_transcript_leaves_earlier_cues_alone(data: st.DataObject) -> None:
    count = data.draw(st.integers(120, 400))
    picks = data.draw(st.lists(st.sampled_from(WORDS), min_size=count, max_size=count))
    pauses = data.draw(st.lists(st.sampled_from([0, 0, 0, 0.2]), min_size=count, max_size=count))
    timed = []
    clock_s = 0.0
    for text, pause_s in zip(picks, pauses, strict=True):
        clock_s += pause_s
        timed.append((clock_s, clock_s + 0.3, text))
        clock_s += 0.3
    cut = data.draw(st.integers(1, count))
    whole = layout(Transcript((segment_of(*timed),), language="en"))
    part = layout(Transcript((segment_of(*timed[:cut]),), language="en"))
    words = 0
    for cue in part:
        words += len(cue.text.split())
        if words > cut - DEFAULT_RULES.horizon_units:
            break
        assert cue in whole


def test_settling_early_costs_nothing_in_ordinary_text() -> None:
    text = " We went to the old market and bought some fresh bread and a bottle of red wine" * 30
    transcript = spoken(text)
    assert layout(transcript) == layout(transcript, LayoutRules(horizon_units=10_000))


def test_sentences_get_their_own_cues() -> None:
    cues = layout(spoken(" This is the first sentence of the talk.| And this is the second one."))
    assert [cue.text for cue in cues] == [
        "This is the first sentence of the talk.",
        "And this is the second one.",
    ]


def test_two_very_short_sentences_share_a_cue() -> None:
    assert [cue.text for cue in layout(spoken(" Yes. I know.", word_s=0.2))] == ["Yes. I know."]


def test_a_pause_ends_a_cue() -> None:
    timed = [(0.0, 0.4, " We"), (0.4, 0.8, " waited"), (1.6, 2.0, " nothing"), (2.0, 2.6, " came")]
    cues = layout(Transcript((segment_of(*timed),), language="en"))
    assert [cue.text for cue in cues] == ["We waited", "nothing came"]


def test_lines_break_before_a_conjunction_not_after_an_article() -> None:
    (cue,) = layout(spoken(" He opened the old wooden door and saw the garden", word_s=0.25))
    assert cue.lines == ("He opened the old wooden door", "and saw the garden")


@pytest.mark.parametrize(
    ("text", "language"),
    [
        (" We have asked the professor about a theory that nobody ever believed in", "en"),
        (" Wir haben den alten Professor nach einer Theorie gefragt die keiner kennt", "de"),
        (" Nous avons interrogé le professeur sur une théorie que personne ne connaît", "fr"),
    ],
)
def test_no_line_ends_with_an_article(text: str, language: str) -> None:
    articles = {"the", "a", "den", "einer", "le", "une"}
    for cue in layout(spoken(text, language=language)):
        assert all(line.split()[-1] not in articles for line in cue.lines)


@pytest.mark.parametrize("name", ["Mr.| Quilter", "J.| Quilter", "Jan.| 5", "Dr.| Weiß"])
def test_abbreviations_and_initials_do_not_end_a_sentence(name: str) -> None:
    cues = layout(spoken(f" I have often spoken to old {name} of the weather", word_s=0.3))
    assert [cue.text.count(".") for cue in cues] == [1]


def test_a_capital_opens_a_sentence_unless_the_word_before_binds() -> None:
    judge = BreakJudge("en", DEFAULT_RULES.breaks)
    costs = DEFAULT_RULES.breaks
    segments = (
        segment_of((0, 1, " went"), (1, 2, " home"), (2, 3, " of")),
        segment_of((3, 4, " Nobody")),
    )
    went, home, of, then = units_of(Transcript(segments), 42)
    assert judge.price(went.text, home, then) == costs.clause
    assert judge.price(home.text, of, then) == costs.bound
    assert judge.price(went.text, home, replace(then, opens_segment=False)) == costs.plain


def test_lines_are_even_or_bottom_heavy() -> None:
    (cue,) = layout(spoken(" alpha bravo carrot delta echoes foxtrot golfing hotel", word_s=0.3))
    upper, lower = map(len, cue.lines)
    assert upper <= lower <= upper + 10


def test_chinese_gets_no_spaces_and_no_forbidden_line_starts() -> None:
    pieces = "我们今天要讨论的是一个非常重要的问题，" * 6
    timed = [(i * 0.2, i * 0.2 + 0.2, char) for i, char in enumerate(pieces)]
    cues = layout(Transcript((segment_of(*timed),), language="zh"))
    assert "".join(line for cue in cues for line in cue.lines) == pieces
    for line in (line for cue in cues for line in cue.lines):
        assert text_width(line) <= 42
        assert line[-1] == "，"


@given(
    st.lists(
        st.sampled_from(["你", "好，", "「错", "误」。", "（我）", "カッ", "ー！"]), min_size=2
    )
)
def test_kinsoku(groups: list[str]) -> None:
    pieces = "".join(groups).lstrip("ー！")
    timed = [(i * 0.2, i * 0.2 + 0.2, piece) for i, piece in enumerate(pieces or "你")]
    for cue in layout(Transcript((segment_of(*timed),))):
        for line in cue.lines:
            long_run = text_width(line) >= 40  # a run of marks as wide as a line has to be cut
            assert line[0] not in NO_LINE_START or long_run
            assert line[-1] not in NO_LINE_END or long_run


@pytest.mark.parametrize("at", range(1, 29))
def test_an_opening_bracket_stays_with_what_it_opens(at: int) -> None:
    text = "错" * at + "「" + "错" * (29 - at)
    timed = [(i * 0.2, i * 0.2 + 0.2, char) for i, char in enumerate(text)]
    rules = LayoutRules(max_chars=10, max_lines=1)
    cues = layout(Transcript((segment_of(*timed),)), rules)
    assert not any(cue.text.endswith("「") for cue in cues)


def test_french_punctuation_stays_with_its_word() -> None:
    text = " Mais pourquoi donc avez-vous fait tout cela ? Je ne sais pas !"
    cues = layout(spoken(text, language="fr"))
    assert [" ".join(cue.lines) for cue in cues] == [
        "Mais pourquoi donc avez-vous fait tout cela ?",
        "Je ne sais pas !",
    ]
    assert cues[0].lines[-1].endswith("cela ?")


def test_a_word_longer_than_a_line_is_cut_at_the_width() -> None:
    cues = layout(spoken(" " + "x" * 100))
    assert [len(line) for cue in cues for line in cue.lines] == [42, 42, 16]


def test_segments_without_words_share_their_time_by_length() -> None:
    text = " One sentence of ordinary length stands here. Another one follows it, no shorter."
    cues = layout(Transcript((TranscriptSegment(10.0, 18.0, text),), language="en"))
    assert [cue.text.split()[0] for cue in cues] == ["One", "Another"]
    assert cues[0].start_ms == 10_000
    assert cues[1].start_ms == pytest.approx(14_400, abs=300)


def test_a_cue_lingers_but_not_long() -> None:
    first, second = layout(
        Transcript((segment_of((0, 2, " One thing.")), segment_of((20, 20.2, " Two."))))
    )
    assert (first.start_ms, first.end_ms) == (0, 2500)
    assert (second.start_ms, second.end_ms) == (20_000, 21_000)


def test_a_word_of_twelve_seconds_is_not_shown_for_twelve_seconds() -> None:
    (cue,) = layout(Transcript((segment_of((1, 13, " Well")),)))
    assert (cue.start_ms, cue.end_ms) == (1000, 8000)


def test_blank_and_control_only_text_gives_no_cue() -> None:
    transcript = Transcript((segment_of((0, 1, " "), (1, 2, "\0\u202e")),))
    assert layout(transcript) == ()
    assert layout(Transcript(())) == ()


@pytest.mark.parametrize(
    ("seconds", "ms"),
    [(1.0005, 1001), (0.0005, 1), (2.0004999, 2000), (1.9996, 2000), (0.29, 290), (-1.0, 0)],
)
def test_times_are_rounded_not_truncated(seconds: float, ms: int) -> None:
    assert to_ms(seconds) == ms


@given(st.integers(0, 360_000_000))
def test_whole_milliseconds_come_back_exactly(ms: int) -> None:
    assert to_ms(ms / 1000) == ms


def test_impossible_rules_are_refused() -> None:
    with pytest.raises(InvalidOption):
        LayoutRules(max_chars=3)
    with pytest.raises(InvalidOption):
        LayoutRules(min_cue_s=8.0)


@pytest.mark.parametrize("pause_s", [0.0, 0.15])
def test_four_times_the_words_are_four_times_the_work(pause_s: float) -> None:
    step_s = 0.3 + pause_s
    timed = [(i * step_s, i * step_s + 0.3, WORDS[i % 5]) for i in range(4000)]
    cues: list[tuple[Cue, ...]] = []

    def work(size: int) -> None:
        cues.append(layout(Transcript((segment_of(*timed[:size]),), language="en")))

    assert growth(Word, work, 1000) < 5
    assert len(cues[0]) > 3 * len(cues[1]) > 100
