"""Whoever changes what a segment becomes raises the version, so that kept segments are not mixed.

``python -m tests.decoding.test_version`` writes what is decoded now as the known answer. Kernels
differ between kinds of CPU: on the kind that wrote the answer every letter and time must be the
same, on another (measured with the kernels for Intel and for older processors: commas come and go,
and times beside them move by 0.3 s) the words and roughly the times.
"""

from __future__ import annotations

import json
import platform
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest

from core.model_files import ensure_installed
from core.types import DecodeOptions
from decoding.model import SpeechModel
from decoding.version import DECODING_VERSION
from tests.conftest import ROOT
from tests.decoding.conftest import load
from tests.decoding.hearing import transcribed
from tests.spoken import joined

KNOWN = ROOT / "tests" / "data" / "decoded.json"

SAME_S = 0.4
"""Room for the time of a word on another kind of CPU, beside a comma that was not there."""


def cpu_kind() -> str:
    """What decides the kernels: the maker, and whether there are dot products of bytes."""
    facts = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    maker = re.search(r"^vendor_id\s*:\s*(\S+)", facts, re.MULTILINE)
    has = [flag for flag in ("avx2", "avx_vnni", "avx512_vnni") if f" {flag} " in facts]
    return " ".join([maker[1] if maker else platform.machine(), *has])


def decoded(model: SpeechModel, folder: Path) -> dict[str, Any]:
    recording = joined([0, 4, 5, 1], gaps_s=(1.0, 2.5))
    segments = transcribed(model, recording, folder, DecodeOptions(language="en")).segments
    return {
        "version": DECODING_VERSION,
        "model": "tiny.en",
        "cpu": cpu_kind(),
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
    assert known["version"] == DECODING_VERSION, "write the known answer anew (see above)"
    changed = "raise DECODING_VERSION and write the known answer anew (see above)"
    if known["cpu"] == now["cpu"]:
        assert now == known, changed
    words, known_words = words_of(now), words_of(known)
    assert [text for _, _, text in words] == [text for _, _, text in known_words], changed
    for (*times, text), (*known_times, _) in zip(words, known_words, strict=True):
        assert times == pytest.approx(known_times, abs=SAME_S), f"{text}: {changed}"


def main() -> None:
    model = load("tiny.en", ensure_installed("tiny.en", ROOT / "models"))
    with tempfile.TemporaryDirectory() as folder:
        answer = decoded(model, Path(folder))
    KNOWN.write_text(json.dumps(answer, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
