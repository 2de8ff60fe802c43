"""A remote server as an engine: the same segments, words and audit as with the local model."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import endpoints.engine
from core.endpoints import Endpoint, EndpointKind
from core.errors import Cancelled, EndpointFailed, EndpointRefused, ModelError
from core.pcm import PcmSpool
from core.types import AudioSegment, DecodeOptions, ModelSpec, Word
from decoding.model import SpeechModel
from endpoints.engine import EndpointEngine
from endpoints.local_model import LocalModel
from tests.decoding.hearing import ENGLISH, Outcome, planned
from tests.endpoints.known_speech import Speech
from tests.endpoints.server import SpeechServer

KINDS: tuple[EndpointKind, ...] = ("openai", "asr", "funasr")


@pytest.fixture(scope="session")
def segments(speech: Speech) -> list[AudioSegment]:
    """As many as there are pauses to cut at."""
    found = planned(speech.recording, shortest_s=3.0, longest_s=10.0)
    assert len(found) >= 3
    return found


class Listening(LocalModel):
    """The real model, which tells how often it was asked."""

    asked = 0
    kept: SpeechModel | None = None
    """Loaded once for all tests."""

    def _loaded(self) -> SpeechModel:
        if self._model is None:
            self._model = Listening.kept
        Listening.kept = super()._loaded()
        return Listening.kept

    def align(self, *args: Any) -> Any:
        type(self).asked += 1
        return super().align(*args)


@pytest.fixture
def build(tiny_en: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Endpoint], EndpointEngine]:
    spec = ModelSpec("tiny.en", str(tiny_en), "remote", "cpu", 1)
    monkeypatch.setattr(Listening, "asked", 0)
    monkeypatch.setattr(endpoints.engine, "LocalModel", Listening)

    def engine(endpoint: Endpoint) -> EndpointEngine:
        made = EndpointEngine(spec, endpoint)
        made.warm_up()
        return made

    return engine


Build = Callable[[Endpoint], EndpointEngine]


def decoded(
    engine: EndpointEngine,
    spool: PcmSpool,
    segments: Sequence[AudioSegment],
    options: DecodeOptions = ENGLISH,
    should_stop: Callable[[], bool] = lambda: False,
) -> Outcome:
    outcome = Outcome()
    engine.decode(
        spool,
        segments,
        options,
        on_started=outcome.started.append,
        on_result=lambda result: outcome.results.update({result.index: result}),
        on_error=lambda index, error: outcome.errors.update({index: error}),
        should_stop=should_stop,
    )
    assert {*outcome.results} | {*outcome.errors} == {segment.index for segment in segments}
    assert not {*outcome.results} & {*outcome.errors}
    return outcome


def check_words(words: Sequence[Word], speech: Speech, off_s: float) -> None:
    assert [word.text.strip() for word in words] == [word.text.strip() for word in speech.words]
    for one, other in zip(words, speech.words, strict=True):
        assert one.start_s == pytest.approx(other.start_s, abs=off_s)


@pytest.mark.parametrize("kind", KINDS)
def test_all_words_come_back_on_the_recordings_clock(
    build: Build,
    server: SpeechServer,
    spool: PcmSpool,
    speech: Speech,
    segments: list[AudioSegment],
    kind: EndpointKind,
) -> None:
    engine = build(server.endpoint(kind))
    outcome = decoded(engine, spool, segments)
    assert (outcome.errors, outcome.gaps) == ({}, [])
    check_words(outcome.words, speech, off_s=0.5)
    assert server.most_at_once <= 2
    # One look at the text of the first answer, and the model is gone again.
    assert Listening.asked == 1
    assert not engine._local.loaded


def test_text_without_times_is_aligned_here(
    build: Build,
    server: SpeechServer,
    spool: PcmSpool,
    speech: Speech,
    segments: list[AudioSegment],
) -> None:
    server.refused_formats = {"word", "verbose_json"}
    engine = build(server.endpoint())
    outcome = decoded(engine, spool, segments)
    assert (outcome.errors, outcome.gaps) == ({}, [])
    check_words(outcome.words, speech, off_s=1.0)
    assert engine._local.loaded
    assert Listening.asked == sum(len(segment.windows) for segment in segments)


def test_times_of_sentences_are_enough_where_no_words_are_wanted(
    build: Build, server: SpeechServer, spool: PcmSpool, segments: list[AudioSegment]
) -> None:
    server.word_times = False
    outcome = decoded(
        build(server.endpoint()), spool, segments, DecodeOptions(word_timestamps=False)
    )
    assert len(outcome.segments) == len(segments)
    assert outcome.words == []
    assert Listening.asked == 1


def test_a_model_that_is_not_here_is_missed_only_where_it_is_needed(
    server: SpeechServer, spool: PcmSpool, segments: list[AudioSegment], tmp_path: Path
) -> None:
    spec = ModelSpec("gone", str(tmp_path / "gone"), "remote", "cpu", 1)
    outcome = decoded(EndpointEngine(spec, server.endpoint()), spool, segments[:1])
    assert outcome.words
    server.word_times = False
    outcome = decoded(EndpointEngine(spec, server.endpoint()), spool, segments[:1])
    assert [type(error) for error in outcome.errors.values()] == [ModelError]


def test_windows_are_cut_to_what_the_server_takes(
    build: Build,
    server: SpeechServer,
    spool: PcmSpool,
    speech: Speech,
    segments: list[AudioSegment],
) -> None:
    outcome = decoded(build(server.endpoint(max_clip_s=6.0)), spool, segments)
    assert (outcome.errors, outcome.gaps) == ({}, [])
    assert max(request.audio_s for request in server.seen) <= 6.0
    said = " ".join(word.text.strip() for word in outcome.words)
    assert said == " ".join(word.text.strip() for word in speech.words)


def test_speech_that_was_left_out_is_sent_again(
    build: Build,
    server: SpeechServer,
    spool: PcmSpool,
    speech: Speech,
    segments: list[AudioSegment],
) -> None:
    server.script.extend(["beginning"])
    outcome = decoded(build(server.endpoint()), spool, segments[:1])
    assert (outcome.errors, outcome.gaps) == ({}, [])
    assert outcome.redecoded > 0
    heard = [word for word in speech.words if word.end_s <= segments[0].end_s]
    assert len(outcome.words) >= len(heard) - 1  # the cut may fall into a word


def test_speech_that_is_never_heard_is_a_gap(
    build: Build, server: SpeechServer, spool: PcmSpool, segments: list[AudioSegment]
) -> None:
    server.behaviour = "beginning"
    outcome = decoded(build(server.endpoint()), spool, segments[:1])
    assert outcome.gaps
    assert "found no words" in outcome.gaps[0].reason


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        ("other text", "a text that the recording does not say"),
        ("long text", "more text than can be spoken"),
        ("loops", "loop"),
        ("late", "lies about times"),
        ("backwards", "lies about times"),
        ("half", "cut off"),
        ("html", "a web page"),
        ("oom", "out of GPU memory"),
    ],
)
def test_a_bad_answer_costs_its_own_segment_alone(
    build: Build,
    server: SpeechServer,
    spool: PcmSpool,
    segments: list[AudioSegment],
    behaviour: str,
    said: str,
) -> None:
    server.script.append(behaviour)
    pair = sorted(segments, key=lambda segment: -segment.speech_s)[:2]
    # Of two answers at a time only the first is looked at; the other faults show by themselves.
    parallel = 1 if behaviour == "other text" else 2
    outcome = decoded(build(server.endpoint(parallel=parallel)), spool, pair)
    [(index, error)] = outcome.errors.items()
    assert type(error) is EndpointFailed
    assert str(error).startswith("Endpoint scripted (")
    assert said in str(error)
    assert {*outcome.results} == {segment.index for segment in pair} - {index}


def test_no_text_for_much_speech_is_no_answer(
    build: Build, server: SpeechServer, spool: PcmSpool, speech: Speech
) -> None:
    server.behaviour = "empty"
    outcome = decoded(build(server.endpoint()), spool, planned(speech.recording))
    assert all("heard nothing in" in str(error) for error in outcome.errors.values())
    assert outcome.errors


def test_after_a_failure_the_text_is_looked_at_again(
    build: Build, server: SpeechServer, spool: PcmSpool, segments: list[AudioSegment]
) -> None:
    engine = build(server.endpoint(parallel=1))
    decoded(engine, spool, segments[:2])
    assert Listening.asked == 1
    server.script.append("loops")
    assert decoded(engine, spool, segments[:1]).errors
    decoded(engine, spool, segments[:2])
    assert Listening.asked == 2
    # Much speech and one sentence: that is looked at in any case.
    server.script.append("other text")
    longest = max(segments, key=lambda segment: segment.speech_s)
    [error] = decoded(engine, spool, [longest]).errors.values()
    assert "does not say" in str(error)


@pytest.mark.parametrize(
    ("behaviour", "kind"), [("down", EndpointFailed), ("unknown model", EndpointRefused)]
)
def test_a_server_that_is_out_is_asked_once_in_a_task(
    build: Build,
    server: SpeechServer,
    spool: PcmSpool,
    segments: list[AudioSegment],
    behaviour: str,
    kind: type[Exception],
) -> None:
    server.behaviour = behaviour
    outcome = decoded(build(server.endpoint(parallel=1)), spool, segments)
    assert {type(error) for error in outcome.errors.values()} == {kind}
    assert server.count == 1


def test_a_cancelled_task_leaves_its_requests(
    build: Build, server: SpeechServer, spool: PcmSpool, segments: list[AudioSegment]
) -> None:
    server.behaviour = "hang"
    with pytest.raises(Cancelled):
        decoded(build(server.endpoint()), spool, segments, should_stop=lambda: server.count >= 2)


@pytest.mark.parametrize("kind", KINDS)
def test_the_language_comes_from_the_server_or_from_the_model_here(
    build: Build,
    server: SpeechServer,
    spool: PcmSpool,
    segments: list[AudioSegment],
    kind: EndpointKind,
) -> None:
    windows = [segment.windows[0] for segment in segments[:2]]
    engine = build(server.endpoint(kind))
    language, probability = engine.detect_language(spool, windows)
    assert language == "en"
    assert probability == (0.9 if kind == "asr" else 1.0)
    assert engine._local.loaded == (kind == "funasr")
    server.language = "und"  # nobody speaks, says the server
    if kind == "asr":
        assert engine.detect_language(spool, windows) == ("en", 1.0)


def test_a_process_that_only_sends_loads_no_model_library(root: Path) -> None:
    heavy = ("ctranslate2", "faster_whisper", "onnxruntime", "av", "tokenizers")
    code = (
        "import sys, endpoints.engine\n"
        f"found = [name for name in {heavy!r} if name in sys.modules]\n"
        "sys.exit('loads ' + ', '.join(found) if found else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
