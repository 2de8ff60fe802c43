"""Speech whose words and times are known, to try a server with: public domain, in ``known/``."""

from __future__ import annotations

import difflib
import json
import wave
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from core.pcm import Float32
from core.types import SAMPLE_RATE
from endpoints.heard import Heard

FOLDER = Path(__file__).parent / "known"

FLOOR = 1e-4
"""Amplitude of the noise between repeats: digital silence hardly occurs in recordings."""


@dataclass(frozen=True, slots=True)
class KnownClip:
    """Audio at 16 kHz, and each word with its start in seconds."""

    audio: Float32
    words: tuple[tuple[str, float], ...]

    @property
    def duration_s(self) -> float:
        return len(self.audio) / SAMPLE_RATE

    def right(self, heard: Heard) -> float:
        """Share of the words that were heard, less those that were invented: 0–1."""
        truth = [word for word, _ in self.words]
        said = plain(heard.text).split()
        return max(0.0, 1.0 - _edits(truth, said) / len(truth))

    def offsets_s(self, heard: Heard) -> list[float]:
        """How much later than known each word begins that was heard and timed."""
        timed = [(plain(word.text), word.start_s) for word in heard.words]
        found = difflib.SequenceMatcher(
            None, [word for word, _ in self.words], [word for word, _ in timed], autojunk=False
        )
        return [
            timed[block.b + at][1] - self.words[block.a + at][1]
            for block in found.get_matching_blocks()
            for at in range(block.size)
        ]

    def spread(self, length_s: float) -> KnownClip:
        """The clip at the beginning and at the end of so much audio, and silence between."""
        silence = round(length_s * SAMPLE_RATE) - 2 * len(self.audio)
        noise = np.random.default_rng(0).standard_normal(silence).astype(np.float32) * FLOOR
        later_s = length_s - self.duration_s
        again = tuple((word, start_s + later_s) for word, start_s in self.words)
        audio: Float32 = np.concatenate((self.audio, noise, self.audio)).astype(np.float32)
        return KnownClip(audio, (*self.words, *again))


@cache
def known_clip() -> KnownClip:
    """Five seconds of English: fourteen words."""
    with wave.open(str(FOLDER / "printed.wav")) as file:
        pcm = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    rows = json.loads((FOLDER / "printed.json").read_text(encoding="utf-8"))["words"]
    words = tuple((plain(word), float(start_s)) for word, start_s, _ in rows)
    return KnownClip(pcm.astype(np.float32) / 32768.0, words)


def plain(text: str) -> str:
    """Words alone, in small letters."""
    return " ".join("".join(each if each.isalnum() else " " for each in text.lower()).split())


def _edits(truth: list[str], said: list[str]) -> int:
    """Words to change, add or leave out."""
    row = list(range(len(said) + 1))
    for at, word in enumerate(truth, 1):
        before, row[0] = row[0], at
        for place, other in enumerate(said, 1):
            changed = before + (word != other)
            before, row[place] = row[place], min(changed, row[place] + 1, row[place - 1] + 1)
    return row[-1]
