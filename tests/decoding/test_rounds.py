"""Nothing said is lost: the real model, and the real model made forgetful."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from core.errors import Cancelled
from core.pcm import PcmSpool
from core.types import AudioSegment
from decoding import quality, rounds
from decoding import segments as segment_rounds
from decoding.model import Decoding, Row, SpeechModel
from tests.decoding.hearing import (
    ENGLISH,
    Wrapped,
    decode,
    heard_spans,
    noisy,
    planned,
    transcribed,
    whole,
)
from tests.spoken import MAX_WER, Recording, joined, word_errors


class Forgetful(Wrapped):
    """Its first answers break off after the first part, as batched decoding does."""

    def __init__(self, model: SpeechModel, searches: int = 1) -> None:
        super().__init__(model)
        self._left = searches

    def answer(self, rows: Sequence[Row], decodings: list[Decoding]) -> list[Decoding]:
        if not self._left:
            return decodings
        self._left -= 1
        return [replace(one, parts=one.parts[:1]) for one in decodings]


def test_every_word_of_joined_clips_is_there(
    tiny: SpeechModel, recording: Recording, tmp_path: Path
) -> None:
    outcome = transcribed(tiny, recording, tmp_path)
    assert word_errors(recording.text, outcome.segments).wer <= MAX_WER
    assert outcome.gaps == []
    assert outcome.errors == {}


def test_word_times_run_forwards_and_stay_in_the_speech(
    tiny: SpeechModel, recording: Recording, tmp_path: Path
) -> None:
    outcome = transcribed(tiny, recording, tmp_path)
    raw = [word for r in outcome.results.values() for s in r.segments for word in s.words]
    assert all(left.start_s <= right.start_s for left, right in pairwise(raw))
    for word in raw:
        assert word.start_s <= word.end_s
        assert any(
            span.start_s - 0.3 <= word.start_s and word.end_s <= span.end_s + 0.3
            for span in recording.utterances
        ), word
    for span in recording.utterances:
        own = [w for w in raw if w.end_s > span.start_s and w.start_s < span.end_s]
        assert own[0].start_s == pytest.approx(span.start_s, abs=0.4)
        assert own[-1].end_s == pytest.approx(span.end_s, abs=0.4)
    assert all("".join(w.text for w in s.words).strip() == s.text for s in outcome.segments)


def test_fifty_nine_seconds_of_speech_are_not_truncated(tiny: SpeechModel, tmp_path: Path) -> None:
    recording = joined([*range(8), 6], gaps_s=(0.2,), trimmed=True)
    assert 59.0 < recording.duration_s < 59.5
    (segment,) = planned(recording, 58.0, 60.0)
    assert segment.duration_s > 58.0
    outcome = decode(tiny, recording.spool(tmp_path), [segment])
    assert len([word for word in outcome.words if word.start_s > 49.0]) >= 15
    assert outcome.words[-1].end_s > 58.5
    assert word_errors(recording.text, outcome.segments).wer <= MAX_WER
    assert outcome.gaps == []


@pytest.mark.parametrize(
    ("continuations", "encoder_rounds"),
    [
        pytest.param(None, None, id="as it is"),
        pytest.param(None, 1, id="continuing alone"),
        pytest.param(0, None, id="rounds alone"),
    ],
)
def test_what_the_model_forgot_is_fetched(
    tiny: SpeechModel,
    recording: Recording,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    continuations: int | None,
    encoder_rounds: int | None,
) -> None:
    if continuations is not None:
        monkeypatch.setattr(rounds, "MAX_CONTINUATIONS", continuations)
    if encoder_rounds is not None:
        monkeypatch.setattr(segment_rounds, "MAX_ROUNDS", encoder_rounds)
    outcome = transcribed(Forgetful(tiny), recording, tmp_path)
    assert word_errors(recording.text, outcome.segments).wer <= MAX_WER
    assert outcome.gaps == []
    assert outcome.redecoded


def test_what_cannot_be_fetched_is_a_gap(
    tiny: SpeechModel, recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "MAX_CONTINUATIONS", 0)
    monkeypatch.setattr(segment_rounds, "MAX_ROUNDS", 1)
    outcome = transcribed(Forgetful(tiny), recording, tmp_path)
    assert word_errors(recording.text, outcome.segments).deletions > 10
    for gap in outcome.gaps:
        assert gap.reason == "speech was heard but the model found no words"
        assert gap.segment_index == 0
    for span in heard_spans(recording)[0]:
        missing_s = span.duration_s
        known = [(w.start_s, w.end_s) for w in outcome.words]
        for start_s, end_s in known + [(g.start_s, g.end_s) for g in outcome.gaps]:
            overlap_s = min(span.end_s, end_s) - max(span.start_s, start_s)
            missing_s -= max(0.0, overlap_s)
        assert missing_s < 1.2, f"{span} has neither words nor a gap"


class Speechless(Wrapped):
    def answer(self, rows: Sequence[Row], decodings: list[Decoding]) -> list[Decoding]:
        return [replace(one, parts=(), text="") for one in decodings]


def test_a_model_that_says_nothing_leaves_all_speech_as_gaps(
    tiny: SpeechModel, recording: Recording, tmp_path: Path
) -> None:
    model = Speechless(tiny)
    outcome = transcribed(model, recording, tmp_path)
    assert outcome.segments == []
    spans, _ = heard_spans(recording)
    heard_s = sum(span.duration_s for span in spans)
    assert sum(gap.duration_s for gap in outcome.gaps) == pytest.approx(heard_s, rel=0.05)
    assert len(model.encoded) <= segment_rounds.MAX_ROUNDS


def test_without_audit_nothing_is_asked_again(
    tiny: SpeechModel, recording: Recording, tmp_path: Path
) -> None:
    model = Speechless(tiny)
    outcome = transcribed(model, recording, tmp_path, replace(ENGLISH, audit=False))
    assert outcome.gaps == []
    assert len(model.encoded) == 1


LOOP = "so we go " * 40


class Looping(Wrapped):
    """One window falls into a loop; ``cured``: not when it is searched against loops."""

    def __init__(self, model: SpeechModel, victim: int, *, cured: bool) -> None:
        super().__init__(model)
        self._victim = victim
        self._cured = cured
        self._row: Row | None = None

    def answer(self, rows: Sequence[Row], decodings: list[Decoding]) -> list[Decoding]:
        if self._row is None:
            self._row = rows[self._victim]
        against_loops, _ = self.searches[-1]
        if against_loops:
            assert [row is self._row for row in rows] == [True]
            if self._cured:
                return decodings
        return [
            self._loop(one) if row is self._row else one
            for row, one in zip(rows, decodings, strict=True)
        ]

    def _loop(self, decoding: Decoding) -> Decoding:
        scores = replace(decoding.scores, compression_ratio=9.0)
        return replace(decoding, text=LOOP, scores=scores)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> tuple[PcmSpool, list[AudioSegment], str]:
    """Three segments of one window each."""
    recording = joined([0, 4, 6], gaps_s=(2.5,))
    segments = planned(recording, 2.0, 12.0)
    assert [len(segment.windows) for segment in segments] == [1, 1, 1]
    return recording.spool(tmp_path_factory.mktemp("three")), segments, recording.text


def test_only_the_window_that_loops_is_searched_again(
    tiny: SpeechModel, three: tuple[PcmSpool, list[AudioSegment], str]
) -> None:
    spool, segments, text = three
    model = Looping(tiny, victim=1, cured=True)
    outcome = decode(model, spool, segments)
    assert [count for against_loops, count in model.searches if against_loops] == [1]
    assert [outcome.results[i].report.redecoded_windows > 0 for i in range(3)] == [
        False,
        True,
        False,
    ]
    assert outcome.gaps == []
    assert word_errors(text, outcome.segments).wer <= 2 * MAX_WER


def test_a_window_that_only_loops_is_a_gap_and_no_text(
    tiny: SpeechModel,
    three: tuple[PcmSpool, list[AudioSegment], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(segment_rounds, "MAX_ROUNDS", 1)
    spool, segments, _ = three
    outcome = decode(Looping(tiny, victim=1, cured=False), spool, segments)
    assert outcome.results[1].segments == ()
    assert {gap.segment_index for gap in outcome.gaps} == {1}
    assert sum(gap.duration_s for gap in outcome.gaps) > 0.8 * segments[1].speech_s


@pytest.mark.parametrize("louder_db", [0.0, 5.0, 10.0])
def test_noise_becomes_no_loops(tiny: SpeechModel, tmp_path: Path, louder_db: float) -> None:
    recording = noisy(joined([6, 7, 1], gaps_s=(0.5,)), louder_db)
    outcome = decode(tiny, recording.spool(tmp_path), [whole(recording)])
    assert not any(quality.loops(segment.text) for segment in outcome.segments)


def test_stops_between_two_passes(tiny: SpeechModel, recording: Recording, tmp_path: Path) -> None:
    model = Wrapped(tiny)
    segments = planned(recording)
    with pytest.raises(Cancelled):
        decode(model, recording.spool(tmp_path), segments, should_stop=lambda: True)
    assert model.encoded == []
    with pytest.raises(Cancelled):
        decode(model, recording.spool(tmp_path), segments, should_stop=lambda: bool(model.encoded))
    assert model.searches == []
