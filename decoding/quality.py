"""The quality gate: which decodings are believed.

Thresholds are those of OpenAI's ``whisper/transcribe.py`` and of faster-whisper.
"""

from __future__ import annotations

import zlib
from collections import Counter
from dataclasses import dataclass

MAX_COMPRESSION_RATIO = 2.4
"""Text that gzip shrinks further than this repeats itself."""

MIN_AVG_LOGPROB = -1.0
"""Mean log-probability of the tokens under which a decoding is a guess."""

NO_SPEECH_PROB = 0.6
"""Over this the model says nobody speaks; believed only together with a low log-probability."""

TEMPERATURES = (0.2, 0.4, 0.6, 0.8, 1.0)
"""Tried in this order after the beam search at 0 has failed the gate (whisper/transcribe.py)."""

UNSURE_TEMPERATURES = TEMPERATURES[:2]
"""Tried for text that does not repeat itself but is improbable. Hotter samples of what the model
hardly hears are hardly ever kept, and each costs five times a search."""

LOOP_NGRAM = 3
LOOP_REPEATS = 5
"""A phrase of three words said five times in a row or more is a decoder's loop: short enough to
pass the compression ratio, which only long loops fail."""


@dataclass(frozen=True, slots=True)
class Scores:
    """What the decoder says of its own text."""

    avg_logprob: float
    no_speech_prob: float
    compression_ratio: float
    temperature: float = 0.0


def compression_ratio(text: str) -> float:
    """Bytes of the text per byte of its zlib compression (whisper/utils.py)."""
    data = text.strip().encode()
    return len(data) / len(zlib.compress(data)) if data else 0.0


def loops(text: str) -> bool:
    """Whether one short phrase fills the text again and again."""
    words = text.lower().split()
    if len(words) < LOOP_NGRAM * LOOP_REPEATS:
        return False
    ngrams = Counter(zip(words, words[1:], words[2:], strict=False))
    return ngrams.most_common(1)[0][1] >= max(LOOP_REPEATS, len(words) // (2 * LOOP_NGRAM))


def is_silence(scores: Scores) -> bool:
    """Whether the model says, and its text confirms, that nobody speaks."""
    return scores.no_speech_prob > NO_SPEECH_PROB and scores.avg_logprob < MIN_AVG_LOGPROB


def repeats(scores: Scores, text: str) -> bool:
    """Whether the decoder has fallen into a loop."""
    return scores.compression_ratio > MAX_COMPRESSION_RATIO or loops(text)


def passes(scores: Scores, text: str) -> bool:
    """Whether a decoding is believed. Silence passes: there is nothing to decode better."""
    if is_silence(scores):
        return True
    return scores.avg_logprob >= MIN_AVG_LOGPROB and not repeats(scores, text)
