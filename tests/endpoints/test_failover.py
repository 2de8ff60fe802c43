"""Endpoints that go wrong in every way, in a real pool: their work is done elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from core.endpoints import REMOTE, Endpoint
from core.events import Finished, Incident, SegmentFinished
from core.settings import Settings
from core.types import DecodeOptions, PlanOptions
from parallel_transcriber import ParallelWhisperTranscriber
from tests.endpoints.known_speech import Speech, speech_of
from tests.endpoints.server import SpeechServer

NAMES = ("first", "second", "third")


@pytest.fixture(scope="module")
def long_speech() -> Speech:
    """A minute, in segments of ten seconds and more."""
    return speech_of([*range(8)], (1.0, 2.0))


@pytest.fixture
def servers(long_speech: Speech) -> Iterator[list[SpeechServer]]:
    """Three, to be asked in their order."""
    with ExitStack() as stack:
        yield [stack.enter_context(SpeechServer(long_speech)) for _ in NAMES]


@pytest.fixture(scope="module")
def transcriber(tiny_en: Path) -> Iterator[ParallelWhisperTranscriber]:
    """Its own worker must not do what endpoints should."""
    settings = Settings(workers=1, device="cpu", endpoints_down="wait", log_level="warning")
    with ParallelWhisperTranscriber("tiny.en", settings=settings) as made:
        yield made


def transcribe(
    transcriber: ParallelWhisperTranscriber,
    speech: Speech,
    folder: Path,
    endpoints: list[Endpoint],
    at: Callable[[int], None] = lambda finished: None,
) -> tuple[Finished, list[Incident]]:
    """``at``: told the number of segments that are finished, after each."""
    transcriber.pool.set_endpoints(endpoints)
    plan = PlanOptions(min_segment_duration=3.0, max_segment_duration=10.0)
    path = speech.recording.write(folder / "talk.wav")
    run = transcriber.start(path, DecodeOptions(language="en"), plan, where=REMOTE)
    finished, incidents = 0, []
    for event in run.events():
        if isinstance(event, SegmentFinished):
            finished += 1
            at(finished)
        elif isinstance(event, Incident):
            incidents.append(event)
        elif isinstance(event, Finished):
            return event, incidents
    raise AssertionError("the run ended without a result")


def check_words(finished: Finished, speech: Speech) -> None:
    assert finished.transcript.complete
    said = [word.text.strip() for each in finished.transcript.segments for word in each.words]
    assert said == [word.text.strip() for word in speech.words]


def endpoints_of(servers: list[SpeechServer]) -> list[Endpoint]:
    return [
        server.endpoint("asr", id=name, name=name, priority=place, parallel=1)
        for place, (name, server) in enumerate(zip(NAMES, servers, strict=True))
    ]


def test_the_first_of_three_is_lost_in_the_middle(
    transcriber: ParallelWhisperTranscriber,
    servers: list[SpeechServer],
    long_speech: Speech,
    tmp_path: Path,
) -> None:
    first, _, third = servers

    def lose(finished: int) -> None:
        if finished == 2:
            first.close()

    finished, incidents = transcribe(
        transcriber, long_speech, tmp_path, endpoints_of(servers), lose
    )
    check_words(finished, long_speech)
    assert {*finished.report.devices} == {"Endpoint first", "Endpoint second"}
    assert third.count == 0, "the second is enough"
    assert any("Endpoint first" in each.text for each in incidents if each.kind == "device_out")


@pytest.mark.parametrize(
    ("behaviour", "named"),
    [
        ("hang", "did not answer within"),
        ("half", "cut off or broken"),
        ("html", "Sign in"),
        ("error in 200", "model is gone"),
        ("loops", "fell into a loop"),
        ("late", "lies about times"),
        ("other text", "does not say"),
        ("oom", "out of GPU memory"),
    ],
)
def test_whatever_the_first_does_the_second_does_its_work(
    transcriber: ParallelWhisperTranscriber,
    servers: list[SpeechServer],
    long_speech: Speech,
    tmp_path: Path,
    behaviour: str,
    named: str,
) -> None:
    servers[0].behaviour = behaviour
    first, *others = endpoints_of(servers)
    if behaviour == "hang":
        first = replace(first, timeout_s=2.0, timeout_per_audio_s=0.0)
    finished, incidents = transcribe(transcriber, long_speech, tmp_path, [first, *others])
    check_words(finished, long_speech)
    told = [each.text for each in incidents if "Endpoint first" in each.text]
    assert any(named in text for text in told), told
