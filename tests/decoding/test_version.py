"""Whoever changes what a segment becomes raises the version, so that kept segments are not mixed.

``python -m tests.decoding.test_version`` writes what is decoded now as the known answer. Kernels
differ between processors: where they are those that wrote the answer, every letter and time must be
the same; elsewhere most words, and roughly their times.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.types import SAMPLE_RATE, DecodeOptions
from decoding.model import SpeechModel
from decoding.version import DECODING_VERSION
from model_store.packaged import ensure_installed
from tests.conftest import ROOT
from tests.decoding.conftest import load
from tests.decoding.hearing import transcribed
from tests.spoken import MAX_WER, joined

KNOWN = ROOT / "tests" / "data" / "decoded.json"

SAME_S = 0.4
"""Room for the time of a word with other kernels, beside a comma that was not there."""


def kernels(model: SpeechModel) -> str:
    """The same where the kernels are: what the encoder makes of a noise, to the last bit."""
    noise = np.random.default_rng(0).standard_normal(SAMPLE_RATE).astype(np.float32)
    (row,) = model.encode([0.1 * noise])
    return hashlib.sha256(row.tobytes()).hexdigest()


def decoded(model: SpeechModel, folder: Path) -> dict[str, Any]:
    recording = joined([0, 4, 5, 1], gaps_s=(1.0, 2.5))
    segments = transcribed(model, recording, folder, DecodeOptions(language="en")).segments
    return {
        "version": DECODING_VERSION,
        "model": "tiny.en",
        "kernels": kernels(model),
        "segments": [
            {
                "text": segment.text,
                "words": [[round(w.start_s, 2), round(w.end_s, 2), w.text] for w in segment.words],
            }
            for segment in segments
        ],
    }


def words_of(answer: dict[str, Any]) -> list[tuple[float, float, str]]:
    words = [word for segment in answer["segments"] for word in segment["words"]]
    return [(start_s, end_s, re.sub(r"\W", "", text).lower()) for start_s, end_s, text in words]


def test_other_text_needs_another_version(tiny: SpeechModel, tmp_path: Path) -> None:
    known = json.loads(KNOWN.read_text(encoding="utf-8"))
    now = decoded(tiny, tmp_path)
    assert known["version"] == DECODING_VERSION, "write the known answer again (see above)"
    changed = "raise DECODING_VERSION and write the known answer again (see above)"
    if known["kernels"] == now["kernels"]:
        assert now == known, changed
    words, known_words = words_of(now), words_of(known)
    texts, known_texts = ([text for *_, text in each] for each in (words, known_words))
    same = SequenceMatcher(None, texts, known_texts, autojunk=False)
    pairs = [
        (words[block.a + i], known_words[block.b + i])
        for block in same.get_matching_blocks()
        for i in range(block.size)
    ]
    least = (1 - MAX_WER) * len(known_words)
    assert len(words) == pytest.approx(len(known_words), rel=MAX_WER)
    assert len(pairs) >= least, changed
    near = [one for one, other in pairs if one[:2] == pytest.approx(other[:2], abs=SAME_S)]
    assert len(near) >= least, changed


def main() -> None:
    model = load("tiny.en", ensure_installed("tiny.en", ROOT / "models"))
    with tempfile.TemporaryDirectory() as folder:
        answer = decoded(model, Path(folder))
    KNOWN.write_text(json.dumps(answer, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
