"""The client against a server of other people's: faster-whisper-server, with a model of ours."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.service import free_port
from core.endpoints import Endpoint
from core.pcm import PcmSpool
from core.types import ModelSpec
from endpoints.engine import EndpointEngine
from endpoints.openai_client import JSON, SEGMENTS
from endpoints.probe import probe
from tests.apps import answers
from tests.decoding.hearing import planned
from tests.endpoints.known_speech import Speech
from tests.endpoints.test_engine import decoded
from tests.spoken import MAX_WER, word_errors
from tests.waiting import PATIENCE_S, eventually


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory, tiny_en: Path) -> Iterator[Endpoint]:
    port = free_port()
    command = [sys.executable, "-m", "faster_whisper_server", str(tiny_en), "--port", str(port)]
    log = tmp_path_factory.mktemp("other") / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1"],
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        eventually(lambda: process.poll() is not None or answers(port), "the server answers")
        assert process.poll() is None, log.read_text()
        yield Endpoint(
            id="other",
            name="other",
            api_url=f"http://127.0.0.1:{port}/v1/audio/transcriptions",
            model_name="whisper-1",
            kind="openai",
            timeout_s=PATIENCE_S,
        )
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def test_its_text_gets_our_times(
    other: Endpoint, spool: PcmSpool, speech: Speech, tiny_en: Path
) -> None:
    engine = EndpointEngine(ModelSpec("tiny.en", str(tiny_en), "remote", "cpu", 1), other)
    outcome = decoded(engine, spool, planned(speech.recording))
    assert outcome.errors == {}
    assert word_errors(speech.recording.text, outcome.segments).wer <= 2 * MAX_WER
    assert len(outcome.words) > 0.8 * len(speech.words)


def test_what_it_can_and_cannot_is_found(other: Endpoint) -> None:
    result = probe(other)
    states = {check.name: check.state for check in result.checks}
    assert (states["reachable"], states["authorised"], states["words"]) == ("ok", "ok", "ok")
    # It ignores that words were asked for, lists no models, and refuses plain text.
    assert (states["times"], states["model"]) == ("warning", "skipped")
    assert result.formats == (SEGMENTS, JSON)
