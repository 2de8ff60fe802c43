"""A recording whose words and times are known, and what is said in a clip cut from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from core.pcm import Int16
from core.types import SAMPLE_RATE, Word
from tests.spoken import Recording, joined, transcripts

NEEDLE = SAMPLE_RATE // 10
"""Samples by which a piece of a clip is looked for."""


@dataclass(frozen=True)
class Speech:
    """A recording and where each of its words is said, on its own clock."""

    recording: Recording
    words: tuple[Word, ...]


def speech_of(clips: Sequence[int], gaps_s: Sequence[float] = (1.0,)) -> Speech:
    """Clips of ``tests/data`` joined; each word gets the share of its utterance that its letters
    have, which is right within some tenths of a second."""
    recording = joined(clips, gaps_s)
    words: list[Word] = []
    for span, clip in zip(recording.utterances, clips, strict=True):
        texts = transcripts()[clip][1].split()
        letters = np.cumsum([0, *(len(text) + 1 for text in texts)])
        bounds = span.start_s + span.duration_s * letters / letters[-1]
        words += [
            Word(float(start_s), float(end_s), f" {text}", 1.0)
            for text, start_s, end_s in zip(texts, bounds, bounds[1:], strict=False)
        ]
    return Speech(recording, tuple(words))


def heard_in(speech: Speech, clip: Int16) -> list[Word]:
    """The words of a clip that was cut from the recording, on the clip's clock."""
    words: list[Word] = []
    for at, start, length in _pieces(speech.recording.pcm, clip):
        first_s, last_s = start / SAMPLE_RATE, (start + length) / SAMPLE_RATE
        shift_s = at / SAMPLE_RATE - first_s
        words += [
            Word(word.start_s + shift_s, word.end_s + shift_s, word.text, 1.0)
            for word in speech.words
            if first_s <= (word.start_s + word.end_s) / 2 < last_s
        ]
    return words


def _pieces(whole: Int16, clip: Int16) -> Iterator[tuple[int, int, int]]:
    """Where each piece begins in the clip and in the recording, and its length, in samples."""
    at, data = 0, whole.tobytes()
    while at + NEEDLE <= len(clip):
        needle = clip[at : at + NEEDLE].tobytes()
        best, start, found = 0, 0, data.find(needle)
        while found >= 0:
            rest = min(len(whole) - found // 2, len(clip) - at)
            same = whole[found // 2 : found // 2 + rest] == clip[at : at + rest]
            length = rest if same.all() else int(np.argmin(same))
            if found % 2 == 0 and length > best:
                best, start = length, found // 2
            found = data.find(needle, found + 1)
        if best:
            yield at, start, best
        at += best or NEEDLE
