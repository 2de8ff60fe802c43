"""Word errors against the true text, after the Whisper paper's normalisation."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import jiwer
from whisper_normalizer.english import EnglishTextNormalizer


@dataclass(frozen=True, slots=True)
class WordErrors:
    """Counts over a whole recording; ``rate`` in percent of the true words."""

    words: int
    substitutions: int
    deletions: int
    insertions: int

    @property
    def rate(self) -> float:
        return 100 * (self.substitutions + self.deletions + self.insertions) / self.words


def true_text(recording: Path) -> str:
    """Text of the ``.json`` that ``bench.recording`` writes beside a recording."""
    utterances = json.loads(recording.with_suffix(".json").read_text(encoding="utf-8"))
    return " ".join(utterance["text"] for utterance in utterances)


def word_errors(truth: str, decoded: str) -> WordErrors:
    normalise = EnglishTextNormalizer()
    output = jiwer.process_words(normalise(truth), normalise(decoded))
    return WordErrors(
        output.hits + output.substitutions + output.deletions,
        output.substitutions,
        output.deletions,
        output.insertions,
    )
