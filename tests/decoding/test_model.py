"""The model's calls: its timestamps as parts, what the options change, languages it hears."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from core.events import SegmentFinished
from core.pcm import PcmSpool
from core.types import SAMPLE_RATE, DecodeOptions, ModelSpec, Window
from decoding.model import SpeechModel, split_parts
from decoding.parts import Part
from tests.decoding.hearing import ENGLISH, Outcome, Wrapped, planned, transcribed
from tests.spoken import MAX_WER, OTHER_SPEECH, Recording, joined, to_int16, word_errors
from transcriber import WhisperEngine

STAMPS = 1000
EOT = 500


def stamp(time_s: float) -> int:
    return STAMPS + round(time_s / 0.02)


@pytest.mark.parametrize(
    ("tokens", "parts"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([stamp(0), 7, 8, stamp(4.8)], [(0.0, 4.8, (7, 8))], id="one"),
        pytest.param(
            [stamp(0), 7, stamp(4.8), stamp(4.8), 8, stamp(9.1)],
            [(0.0, 4.8, (7,)), (4.8, 9.1, (8,))],
            id="two",
        ),
        pytest.param(
            [stamp(0), 7, stamp(4.8), stamp(6.0), 8], [(0.0, 4.8, (7,)), (6.0, 10.0, (8,))],
            id="an open end reaches the clip's",
        ),
        pytest.param([7, 8], [(0.0, 10.0, (7, 8))], id="no timestamps"),
        pytest.param([stamp(2), stamp(4), stamp(9)], [], id="timestamps alone"),
        pytest.param([stamp(1), 7, stamp(29)], [(1.0, 10.0, (7,))], id="later than the clip"),
        pytest.param([stamp(5), 7, stamp(2)], [(5.0, 5.0, (7,))], id="backwards"),
        pytest.param([stamp(0), 7, EOT, 600, stamp(3)], [(0.0, 3.0, (7,))], id="special tokens"),
    ],
)  # fmt: skip
def test_timestamps_cut_the_text_into_parts(
    tokens: list[int], parts: list[tuple[float, float, tuple[int, ...]]]
) -> None:
    found = split_parts(tokens, STAMPS, EOT, duration_s=10.0)
    assert [(p.tokens) for p in found] == [tokens_ for _, _, tokens_ in parts]
    for part, (start_s, end_s, _) in zip(found, parts, strict=True):
        assert (part.start_s, part.end_s) == pytest.approx((start_s, end_s))
    assert all(isinstance(part, Part) for part in found)


def test_a_moment_is_a_timestamp_and_back(tiny: SpeechModel) -> None:
    tokenizer = tiny.tokenizer("en", "transcribe")
    for time_s in (0.0, 1.26, 29.98, 30.0):
        token = tiny.timestamp(tokenizer, time_s)
        (part,) = split_parts([token, 7], tokenizer.timestamp_begin, tokenizer.eot, 30.0)
        assert part.start_s == pytest.approx(time_s)
    assert tiny.timestamp(tokenizer, -5.0) == tiny.timestamp(tokenizer, 0.0)
    assert tiny.timestamp(tokenizer, 99.0) == tiny.timestamp(tokenizer, 30.0)


def test_tokenizers_are_kept(tiny: SpeechModel) -> None:
    assert tiny.tokenizer("en", "transcribe") is tiny.tokenizer("en", "transcribe")


def test_nothing_is_encoded_of_nothing(tiny: SpeechModel) -> None:
    assert tiny.encode([]) == []


def test_without_word_timestamps_the_text_is_the_same(
    tiny: SpeechModel, recording: Recording, tmp_path: Path
) -> None:
    class NoAlignment(Wrapped):
        def align(self, *args: object) -> None:
            raise AssertionError("words were aligned although nobody asked")

    plain = replace(ENGLISH, word_timestamps=False)
    outcome = transcribed(NoAlignment(tiny), recording, tmp_path, plain)
    assert word_errors(recording.text, outcome.segments).wer <= MAX_WER
    assert outcome.words == []
    first, last = recording.utterances[0], recording.utterances[-1]
    assert outcome.segments[0].start_s == pytest.approx(first.start_s, abs=0.7)
    assert outcome.segments[-1].end_s == pytest.approx(last.end_s, abs=0.7)


def test_prompt_and_hotwords_reach_the_model(tiny: SpeechModel) -> None:
    tokenizer = tiny.tokenizer("en", "transcribe")
    bare = tiny.prompt(ENGLISH, tokenizer)
    assert bare == list(tokenizer.sot_sequence)
    for options in (
        replace(ENGLISH, initial_prompt="Gutenberg and Koenig"),
        replace(ENGLISH, hotwords="Gutenberg and Koenig"),
    ):
        prompt = tiny.prompt(options, tokenizer)
        assert "Gutenberg and Koenig" in tokenizer.decode(prompt)
        assert prompt[-len(bare) :] == bare


def test_a_prompt_changes_how_a_word_is_written(tiny: SpeechModel, tmp_path: Path) -> None:
    recording = joined([6], gaps_s=(0.5,))
    plain = " ".join(s.text for s in transcribed(tiny, recording, tmp_path).segments)
    prompted = replace(ENGLISH, initial_prompt="GUTENBERG, FORTY-TWO LINE BIBLE, MOVABLE TYPES.")
    shouted = " ".join(s.text for s in transcribed(tiny, recording, tmp_path, prompted).segments)
    assert word_errors(recording.text, plain).wer < 0.3
    assert shouted != plain


# --- other languages, with the multilingual model ------------------------------------------


@pytest.fixture(scope="module")
def multilingual(base: Path) -> WhisperEngine:
    return WhisperEngine(ModelSpec("base", str(base), "int8", "cpu", 2))


@pytest.fixture(scope="module")
def chinese() -> Recording:
    path = OTHER_SPEECH / "azure__zh-CN__testing_audio.flac"
    if not path.exists():
        pytest.skip("the folder of speech in other languages is not there")
    audio, rate = soundfile.read(path, dtype="float32")
    assert rate == SAMPLE_RATE
    return Recording(to_int16(audio[: 10 * SAMPLE_RATE]), (), "")


def vote(engine: WhisperEngine, recording: Recording, folder: Path) -> tuple[str, float]:
    return engine.detect_language(recording.spool(folder), windows(recording))


def windows(recording: Recording) -> list[Window]:
    return [w for segment in planned(recording, 2.0, 12.0) for w in segment.windows]


def is_chinese(text: str) -> bool:
    return sum("\u4e00" <= letter <= "\u9fff" for letter in text) > len(text) / 2


def is_english(text: str) -> bool:
    """But for a word that the model leaves as it was, which some processors' kernels have it do."""
    return sum(letter.isascii() for letter in text) > 0.8 * len(text)


def multilingual_text(outcome: Outcome) -> str:
    return " ".join(segment.text for segment in outcome.segments)


def test_windows_vote_on_the_language(
    multilingual: WhisperEngine, chinese: Recording, tmp_path: Path
) -> None:
    language, probability = vote(multilingual, joined([0, 1]), tmp_path)
    assert language == "en"
    assert 0.5 < probability <= 1.0
    assert vote(multilingual, chinese, tmp_path)[0] == "zh"


def test_a_minority_is_outvoted(
    multilingual: WhisperEngine, chinese: Recording, tmp_path: Path
) -> None:
    clip = joined([1], gaps_s=(1.0,))
    mixed = Recording(np.concatenate([clip.pcm, chinese.pcm]), (), "")
    spool = mixed.spool(tmp_path)
    voters = [window for segment in planned(mixed, 0.0, 4.0) for window in segment.windows]
    assert multilingual.detect_language(spool, voters[:1])[0] == "en"
    assert multilingual.detect_language(spool, voters)[0] == "zh"


def test_an_english_model_does_not_vote(tiny_en: Path, tmp_path: Path) -> None:
    engine = WhisperEngine(ModelSpec("tiny.en", str(tiny_en), "int8", "cpu", 1))
    assert engine.detect_language(PcmSpool(tmp_path / "none"), []) == ("en", 1.0)


@pytest.mark.parametrize(
    ("task", "looks_right"), [("transcribe", is_chinese), ("translate", is_english)]
)
def test_chinese_is_written_down_or_translated(
    multilingual: WhisperEngine,
    chinese: Recording,
    tmp_path: Path,
    task: str,
    looks_right: Callable[[str], bool],
) -> None:
    options = DecodeOptions(language="zh", task=task)  # type: ignore[arg-type]
    text = multilingual_text(transcribed(multilingual._model, chinese, tmp_path, options))
    assert len(text) > 30
    assert looks_right(text), text


def test_the_vote_costs_no_second_encoder_pass(
    multilingual: WhisperEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = joined([1, 7], gaps_s=(1.5,))
    spool, segments = recording.spool(tmp_path), planned(recording, 0.0, 3.5)
    model = Wrapped(multilingual._model)
    monkeypatch.setattr(multilingual, "_model", model)
    multilingual.detect_language(spool, [segments[0].windows[0]])
    assert model.encoded == [1]
    results: list[SegmentFinished] = []
    multilingual.decode(
        spool,
        segments,
        ENGLISH,
        on_started=lambda index: None,
        on_result=results.append,
        on_error=lambda index, error: pytest.fail(str(error)),
    )
    assert model.encoded == [1, 1]
    assert len(results) == 2
