"""Which decodings are believed."""

from __future__ import annotations

import zlib

import pytest

from decoding import quality
from decoding.quality import Scores, compression_ratio, is_silence, loops, passes, passes_after_loop

PROSE = (
    "Printing, in the only sense with which we are at present concerned, differs from most if not"
    " from all the arts and crafts represented in the Exhibition."
)
SURE = -0.2
GUESS = quality.MIN_AVG_LOGPROB - 0.1
QUIET = quality.NO_SPEECH_PROB + 0.1


@pytest.mark.parametrize(
    ("text", "avg_logprob", "no_speech_prob", "believed"),
    [
        pytest.param(PROSE, SURE, 0.0, True, id="prose"),
        pytest.param("", SURE, 0.0, True, id="nothing said, and sure of it"),
        pytest.param(PROSE, GUESS, 0.0, True, id="a guess: nothing hears it better"),
        pytest.param(PROSE, GUESS, QUIET, True, id="silence: nothing to decode better"),
        pytest.param(PROSE, SURE, QUIET, True, id="sure words in spite of silence"),
        pytest.param("no " * 60, SURE, 0.0, False, id="one word for ever"),
        pytest.param("no " * 60, GUESS, QUIET, True, id="silence, filled with a loop"),
        pytest.param(PROSE + " thank you very much" * 30, SURE, 0.0, False, id="a long loop"),
        pytest.param("so we go " * 5, SURE, 0.0, False, id="a loop too short to compress"),
        pytest.param("哈" * 100, SURE, 0.0, False, id="a loop without spaces"),
    ],
)
def test_gate(text: str, avg_logprob: float, no_speech_prob: float, believed: bool) -> None:
    scores = Scores(avg_logprob, no_speech_prob, compression_ratio(text))
    assert passes(scores, text) is believed


def test_compression_ratio_is_whispers() -> None:
    data = PROSE.encode()
    assert compression_ratio(f"  {PROSE} ") == len(data) / len(zlib.compress(data))
    assert compression_ratio(PROSE) < 2 < quality.MAX_COMPRESSION_RATIO
    assert compression_ratio(PROSE * 10) > quality.MAX_COMPRESSION_RATIO
    assert compression_ratio("") == compression_ratio("  ") == 0.0


def test_loops_are_told_from_refrains() -> None:
    assert loops("we will rock you " * quality.LOOP_REPEATS)
    assert loops("We will rock you, we will Rock You, " * quality.LOOP_REPEATS)
    assert not loops(f"{PROSE} We will, we will rock you. {PROSE} We will, we will rock you.")
    assert not loops("very very very good")
    assert not loops("")


def test_silence_needs_both_signs() -> None:
    assert is_silence(Scores(GUESS, QUIET, 1.0))
    assert not is_silence(Scores(SURE, QUIET, 1.0))
    assert not is_silence(Scores(GUESS, 0.1, 1.0))


def test_after_a_loop_a_guess_is_not_believed() -> None:
    lowest = quality.MIN_LOGPROB_AFTER_LOOP
    assert passes_after_loop(Scores(lowest, 0.0, 1.4), PROSE)
    assert not passes_after_loop(Scores(lowest - 0.01, 0.0, 1.4), PROSE)
    assert not passes_after_loop(Scores(SURE, 0.0, 9.0), PROSE)
    assert passes_after_loop(Scores(GUESS, QUIET, 9.0), PROSE)
