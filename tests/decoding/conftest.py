from __future__ import annotations

from pathlib import Path

import pytest

from core.types import ModelSpec
from decoding.model import SpeechModel
from tests.spoken import Recording, joined

THREADS = 1
"""Every core has tests of its own to run."""


def load(name: str, path: Path) -> SpeechModel:
    return SpeechModel(ModelSpec(name, str(path), "int8", "cpu", THREADS))


@pytest.fixture(scope="session")
def tiny(tiny_en: Path) -> SpeechModel:
    """The real English model, loaded once."""
    return load("tiny.en", tiny_en)


@pytest.fixture(scope="session")
def recording() -> Recording:
    """Four clips with silences of one to three seconds."""
    return joined([0, 1, 4, 5], gaps_s=(1.0, 2.0, 3.0))
