"""The clients against this app itself: a running service with its own model, in both protocols."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from access.credentials import ApiKeys
from core.endpoints import Endpoint, EndpointKind
from core.errors import EndpointRefused
from core.pcm import PcmSpool
from core.settings import Settings
from core.types import ModelSpec
from endpoints.engine import EndpointEngine
from endpoints.probe import probe
from tests.apps import App, running_app
from tests.decoding.hearing import planned
from tests.endpoints.known_speech import Speech
from tests.endpoints.test_engine import decoded
from tests.spoken import MAX_WER, word_errors
from tests.waiting import PATIENCE_S


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, tiny_en: Path) -> Iterator[tuple[App, str]]:
    folder = tmp_path_factory.mktemp("service")
    key = ApiKeys(Settings(data_dir=folder / "data")).add("other-machine")
    with running_app(folder, WHISPER_ACCESS="login") as app:
        app.wait_ready()
        yield app, key


def endpoint_of(service: tuple[App, str], kind: EndpointKind, **changes: str) -> Endpoint:
    app, key = service
    path = "/v1/audio/transcriptions" if kind == "openai" else "/asr"
    return Endpoint(
        id="peer",
        name="peer",
        api_url=app.url + path,
        model_name="tiny.en",
        kind=kind,
        api_key=changes.get("api_key", key),
        timeout_s=PATIENCE_S,
    )


@pytest.mark.parametrize("kind", ["openai", "asr"])
def test_another_whisper_for_subs_hears_as_this_one(
    service: tuple[App, str], spool: PcmSpool, speech: Speech, tiny_en: Path, kind: EndpointKind
) -> None:
    spec = ModelSpec("tiny.en", str(tiny_en), "remote", "cpu", 1)
    engine = EndpointEngine(spec, endpoint_of(service, kind))
    outcome = decoded(engine, spool, planned(speech.recording))
    assert outcome.errors == {}
    assert word_errors(speech.recording.text, outcome.segments).wer <= 2 * MAX_WER
    assert all(word.text[:1] == " " for word in outcome.words[1:])
    spoken = speech.recording.utterances
    for word in outcome.words:
        assert any(
            word.start_s < span.end_s + 0.5 and word.end_s > span.start_s - 0.5 for span in spoken
        )


def test_its_connection_can_be_tested(service: tuple[App, str]) -> None:
    result = probe(endpoint_of(service, "openai"))
    states = {check.name: check.state for check in result.checks}
    assert (states["reachable"], states["authorised"], states["model"]) == ("ok", "ok", "ok")
    assert result.word_times
    assert "tiny.en" in result.models


def test_a_wrong_key_is_refused_in_its_own_words(
    service: tuple[App, str], spool: PcmSpool, speech: Speech, tiny_en: Path
) -> None:
    spec = ModelSpec("tiny.en", str(tiny_en), "remote", "cpu", 1)
    engine = EndpointEngine(spec, endpoint_of(service, "openai", api_key="sk-wrong"))
    [error] = decoded(engine, spool, planned(speech.recording)[:1]).errors.values()
    assert isinstance(error, EndpointRefused)
    assert "HTTP 401" in error.message
    assert "sk-wrong" not in error.explain()
