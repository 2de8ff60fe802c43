"""Which answers are believed, by text and times alone."""

from __future__ import annotations

import pytest

from core.types import SpeechSpan
from endpoints.checks import fault_of, is_sparse, spoken_s
from endpoints.heard import Heard, HeardPart, HeardWord, joined_text, timed_parts, timed_words

SPEECH = (SpeechSpan(0.5, 6.0), SpeechSpan(8.0, 12.0))
TEXT = "The block books were the immediate predecessors of the true printed book"


def timed(start_s: float, each_s: float, text: str = TEXT) -> tuple[HeardWord, ...]:
    return tuple(
        HeardWord(start_s + at * each_s, start_s + (at + 1) * each_s, f" {word}")
        for at, word in enumerate(text.split())
    )


@pytest.mark.parametrize(
    "heard",
    [
        Heard(TEXT, words=timed(0.5, 0.45)),
        Heard(TEXT, parts=(HeardPart(0.0, 30.0, TEXT),)),
        Heard(TEXT),
        Heard("印刷术是在书籍之前的直接先驱它们由木版制成"),
    ],
)
def test_honest_answers_have_no_fault(heard: Heard) -> None:
    assert fault_of(heard, 12.5, SPEECH) is None


def test_silence_and_a_cough_may_have_no_text() -> None:
    assert fault_of(Heard(""), 30.0, (SpeechSpan(3.0, 4.0),)) is None


@pytest.mark.parametrize(
    ("heard", "said"),
    [
        (Heard(""), "heard nothing in 10 s"),
        (Heard("and the printing " * 20), "loop"),
        (
            Heard(" ".join(f"{7919**n % 99991:x}" for n in range(120))),
            "more text than can be spoken",
        ),
        (Heard("".join(chr(0x4E00 + n) for n in range(300))), "more text than can be spoken"),
        (Heard(TEXT, words=timed(20.0, 0.4)), "text at 20.0 s"),
        (Heard(TEXT, words=timed(-5.0, 0.4)), "text at -5.0 s"),
        (Heard(TEXT, words=(HeardWord(12.0, 16.0, "a"),)), "a word until"),
        (Heard(TEXT, words=timed(0.5, 0.45)[::-1]), "go back"),
        (Heard(TEXT, words=timed(2.0, 0.01)), "10 words in"),
        (Heard(TEXT, words=(HeardWord(9.0, 2.0, "a"),)), "before it begins"),
        (Heard(TEXT, parts=(HeardPart(40.0, 50.0, TEXT),)), "text at 40.0 s"),
    ],
)
def test_what_cannot_be_is_named(heard: Heard, said: str) -> None:
    fault = fault_of(heard, 12.5, SPEECH)
    assert fault is not None
    assert said in fault


def test_words_in_silence_are_a_lie() -> None:
    fault = fault_of(Heard(TEXT, words=timed(5.0, 0.4)), 30.0, (SpeechSpan(20.0, 29.0),))
    assert fault is not None
    assert "where nobody speaks" in fault


def test_scripts_without_spaces_are_counted_by_character() -> None:
    assert spoken_s("七个字的一句话") == pytest.approx(7 / 12)
    assert spoken_s("seven words can be said in one second") == pytest.approx(8 / 7)


def test_little_text_for_much_speech_is_doubted() -> None:
    assert is_sparse("Thank you.", SPEECH)
    assert not is_sparse(TEXT, SPEECH)


def test_bare_words_get_the_spaces_and_punctuation_of_the_text() -> None:
    text = "“Printing,” he said — in the only sense. Yes"
    bare = ["Printing", "he", "said", "in", "the", "only", "sense", "Yes"]
    rows = [{"word": word, "start": at, "end": at + 1} for at, word in enumerate(bare)]
    words = timed_words(rows, text)
    assert "".join(word.text for word in words) == text
    assert [word.text for word in words[:3]] == ["“Printing,”", " he", " said"]


def test_sentences_are_joined_with_their_spaces() -> None:
    assert joined_text([" One.", " Two."]) == " One. Two."
    assert joined_text(["One.", "Two.", "", "三。", "四。"]) == "One. Two.三。四。"


def test_words_that_are_not_in_the_text_stand_for_themselves() -> None:
    rows = [{"word": word, "start": 1, "end": 2} for word in ("forty", "two", "四")]
    assert [word.text for word in timed_words(rows, "42 4")] == ["forty", " two", "四"]


def test_times_that_are_all_zero_are_none() -> None:
    assert timed_words([{"word": "a", "start": 0, "end": 0}], "a") == ()
    assert timed_parts([{"text": "a", "start": 0, "end": 0}]) == ()
    with pytest.raises(ValueError, match="no number"):
        timed_parts([{"text": "a", "start": 0, "end": float("nan")}])
