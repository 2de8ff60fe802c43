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

MIN_LOGPROB_AFTER_LOOP = -1.3
"""The same where the first answer was a loop: the model recognises hardly anything then. Measured
on noisy, slow and fast speech, of the text under it one word in eight was right."""

NO_SPEECH_PROB = 0.6
"""Above this the model claims silence; believed only together with a low log-probability."""

LOOP_NGRAM = 3
LOOP_REPEATS = 5
"""A phrase of three words said five times in a row or more is a decoder's loop: short enough to
pass the compression ratio, which only long loops fail."""


@dataclass(frozen=True, slots=True)
class Scores:
    """The decoder's scores of its own text."""

    avg_logprob: float
    no_speech_prob: float
    compression_ratio: float


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
    """Whether the model claims silence, and its text confirms it."""
    return scores.no_speech_prob > NO_SPEECH_PROB and scores.avg_logprob < MIN_AVG_LOGPROB


def repeats(scores: Scores, text: str) -> bool:
    """Whether the decoder has fallen into a loop."""
    return scores.compression_ratio > MAX_COMPRESSION_RATIO or loops(text)


def passes(scores: Scores, text: str) -> bool:
    """Whether a decoding is taken as it is.

    Silence is: there is nothing to decode better. So is what is merely improbable: measured on
    noisy, slow and fast speech, neither samples nor wider, narrower or unprompted searches heard
    more of it, and samples invented text on noise.
    """
    return is_silence(scores) or not repeats(scores, text)


def passes_after_loop(scores: Scores, text: str) -> bool:
    """Whether a decoding against loops is taken; if not, no text is better than invented text."""
    if is_silence(scores):
        return True
    return scores.avg_logprob >= MIN_LOGPROB_AFTER_LOOP and not repeats(scores, text)
