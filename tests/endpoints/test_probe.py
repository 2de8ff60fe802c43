"""What the test of a connection finds, and what it advises."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator

import numpy as np
import pytest

from core.pcm import Int16
from core.types import SpeechSpan, Word
from endpoints.heard import Heard
from endpoints.known_clip import KnownClip, known_clip
from endpoints.openai_client import FORMS
from endpoints.probe import LONG_S, Capabilities, Check, probe
from tests.endpoints.known_speech import Speech
from tests.endpoints.server import SpeechServer
from tests.spoken import Recording


def speech_of_clip(clip: KnownClip) -> Speech:
    pcm: Int16 = np.rint(clip.audio * 32768).astype(np.int16)
    recording = Recording(pcm, (SpeechSpan(0.0, clip.duration_s),), "")
    starts = [start_s for _, start_s in clip.words]
    ends = [*starts[1:], clip.duration_s]
    words = tuple(
        Word(start_s, min(end_s, start_s + 0.6), f" {text}", 1.0)
        for (text, start_s), end_s in zip(clip.words, ends, strict=True)
    )
    return Speech(recording, words)


@pytest.fixture
def knowing() -> Iterator[SpeechServer]:
    """A server that knows the words of the bundled clip, also at the end of a long one."""
    with SpeechServer(speech_of_clip(known_clip().spread(LONG_S))) as server:
        yield server


def found(result: Capabilities) -> dict[str, Check]:
    return {check.name: check for check in result.checks}


def test_a_good_server_passes_all(knowing: SpeechServer) -> None:
    knowing.key = "sk-1"
    result = probe(knowing.endpoint())
    states = {check.name: check.state for check in result.checks}
    assert states == {
        "reachable": "ok",
        "TLS": "skipped",
        "authorised": "ok",
        "words": "ok",
        "times": "ok",
        "model": "ok",
        "formats": "ok",
        "speed": "ok",
        "clips": "ok",
    }
    assert result.formats == FORMS
    assert (result.word_times, result.words_right) == (True, 1.0)
    assert result.offset_s == pytest.approx(0.0, abs=0.01)
    assert (result.max_clip_s, result.models) == (LONG_S, ("whisper-tiny",))
    assert result.speed is not None
    assert json.loads(json.dumps(dataclasses.asdict(result)))["tested_at"] > 1e9
    assert "sk-1" not in repr(result)


@pytest.mark.parametrize("kind", ["asr", "funasr"])
def test_other_protocols_are_tried_too(knowing: SpeechServer, kind: str) -> None:
    result = probe(knowing.endpoint(kind))  # type: ignore[arg-type]
    assert {check.state for check in result.checks} == {"ok", "skipped"}
    assert result.word_times


def test_a_server_that_only_writes_is_used_with_times_from_here(knowing: SpeechServer) -> None:
    knowing.refused_formats = {"verbose_json", "word"}
    result = probe(knowing.endpoint())
    assert found(result)["times"].state == "warning"
    assert result.formats == ("json", "text")
    assert (result.word_times, result.offset_s) == (False, None)


@pytest.mark.parametrize(
    ("behaviour", "name", "fix"),
    [
        ("oom", "transcribes", "nvidia-smi"),
        ("actor oom", "transcribes", "docker restart"),
        ("unknown model", "model", "model's name"),
        ("html", "transcribes", "login page"),
        ("half", "transcribes", "own log"),
        ("other text", "words", "better model"),
        ("late", "times", "not used"),
        ("elsewhere", "transcribes", "Redirects"),
    ],
)
def test_each_fault_has_a_fix(knowing: SpeechServer, behaviour: str, name: str, fix: str) -> None:
    knowing.behaviour = behaviour
    check = found(probe(knowing.endpoint()))[name]
    assert check.state == "failed"
    assert fix in check.fix


def test_a_wrong_key_and_a_closed_port_are_told_apart(knowing: SpeechServer) -> None:
    knowing.key = "sk-1"
    endpoint = knowing.endpoint(api_key="sk-2")
    result = found(probe(endpoint))
    assert (result["reachable"].state, result["authorised"].state) == ("ok", "failed")
    knowing.close()
    [check] = probe(endpoint).checks
    assert (check.name, check.state) == ("reachable", "failed")
    assert "firewall" in check.fix


def test_a_plain_server_under_https_fails_at_tls(knowing: SpeechServer) -> None:
    endpoint = knowing.endpoint()
    secure = dataclasses.replace(endpoint, api_url=endpoint.api_url.replace("http", "https", 1))
    check = found(probe(secure))["TLS"]
    assert check.state == "failed"
    assert check.fix


def test_a_server_that_hears_only_the_beginning_has_a_limit(knowing: SpeechServer) -> None:
    # Five requests come before: the first, and one for each form.
    knowing.script.extend(["right"] * 5 + ["right", "too large"])
    result = probe(knowing.endpoint())
    assert result.max_clip_s == 29.0
    assert found(result)["clips"].state == "ok"
    knowing.script.extend(["right"] * 5 + ["beginning"])
    result = probe(knowing.endpoint())
    assert found(result)["clips"].state == "warning"
    assert result.max_clip_s == pytest.approx(known_clip().duration_s)


def test_the_test_ends_in_time(knowing: SpeechServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("endpoints.probe.WHOLE_S", 0.5)
    knowing.behaviour = "hang"
    result = found(probe(knowing.endpoint()))
    assert result["time"].state == "warning"


def test_words_are_counted_as_heard() -> None:
    clip = known_clip()
    text = " ".join(word for word, _ in clip.words)
    assert clip.right(Heard(text.upper() + ".")) == 1.0
    assert clip.right(Heard(text.replace("true ", ""))) == pytest.approx(13 / 14)
    assert clip.right(Heard("")) == 0.0
    assert len(clip.spread(29.0).words) == 28
    assert clip.spread(29.0).duration_s == pytest.approx(29.0)
