"""A recording whose words are known, and the scripted server that knows them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.pcm import PcmSpool
from tests.endpoints.known_speech import Speech, speech_of
from tests.endpoints.server import SpeechServer


@pytest.fixture(scope="session")
def speech() -> Speech:
    """Twenty-four seconds: four clips with silences of one to three seconds."""
    return speech_of([0, 1, 3, 5], (1.0, 2.0, 3.0))


@pytest.fixture
def server(speech: Speech) -> Iterator[SpeechServer]:
    with SpeechServer(speech) as running:
        yield running


@pytest.fixture
def spool(speech: Speech, tmp_path: Path) -> PcmSpool:
    return speech.recording.spool(tmp_path)
