"""What is written of a job comes back the same, to the last bit."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import core.errors
from core.errors import SubtitleError, WorkerError
from core.events import SegmentFailed, SegmentFinished
from core.types import Gap, JobReport, Transcript
from jobs.options import JobOptions
from jobs.records import dump, dump_error, load, load_error, load_request
from jobs.request import JobRequest

FILE_NAMES = (st.binary(min_size=1) | st.text(min_size=1).map(str.encode)).map(
    lambda name: name.replace(b"\0", b"").decode("utf-8", "surrogateescape")
)
"""Those of Linux: bytes that are not UTF-8 stand in them as lone surrogates."""

WRITTEN = [
    JobReport,
    SegmentFailed,
    SegmentFinished,
    Transcript,
]

st.register_type_strategy(Path, FILE_NAMES.map(Path))

OPTIONS = st.builds(
    JobOptions,
    language=st.none() | st.just("zh"),
    hotwords=st.none() | st.from_regex(r"\w+", fullmatch=True),
    audio_track=st.none() | st.integers(0, 99),
    formats=st.lists(st.sampled_from(["srt", "vtt", "json"])),
    beam_size=st.none() | st.integers(1, 20),
    batch_size=st.none() | st.integers(0, 128),
    vad_threshold=st.floats(0.001, 0.999),
    min_segment_duration=st.floats(allow_nan=False),
)


def all_errors(cls: type[SubtitleError] = SubtitleError) -> list[type[SubtitleError]]:
    return [cls, *(found for sub in cls.__subclasses__() for found in all_errors(sub))]


@pytest.mark.parametrize("kind", WRITTEN)
@given(data=st.data())
def test_every_value_comes_back_the_same(kind: type[Any], data: st.DataObject) -> None:
    value = data.draw(st.from_type(kind))
    text = dump(value)
    again = load(kind, text)
    # Through repr, because NaN is not equal to itself and -0.0 is to 0.0.
    assert repr(again) == repr(value)
    assert dump(again) == text
    assert text.isascii()
    assert "\n" not in text


@given(request=st.builds(JobRequest, path=FILE_NAMES.map(Path), options=OPTIONS))
def test_every_request_comes_back_the_same(request: JobRequest) -> None:
    text = dump(request)
    assert load_request(text) == request
    assert dump(load_request(text)) == text


def test_a_request_of_an_older_version_keeps_its_options() -> None:
    old = {
        "path": "/a.wav",
        "url": None,
        "name": "talk",
        "model": "base",
        "compute_type": "int8",
        "decode": {"language": "zh", "beam_size": 3, "batch_size": 0, "audit": True},
        "plan": {"vad_threshold": 0.3, "use_vad": False},
        "audio_track": 1,
        "multi_gpu": False,
        "formats": ["srt", "vtt"],
        "device": "cpu",
        "adopt": "link",
        "only_gaps": False,
    }
    assert load_request(json.dumps(old)) == JobRequest(
        path=Path("/a.wav"),
        name="talk",
        adopt="link",
        options=JobOptions(
            model="base",
            compute_type="int8",
            language="zh",
            beam_size=3,
            batch_size=0,
            vad_threshold=0.3,
            use_vad=False,
            audio_track=1,
            multi_gpu=False,
            formats=("srt", "vtt"),
            device="cpu",
        ),
    )


def test_options_of_a_newer_version_are_left_out() -> None:
    newer = json.loads(dump(JobRequest(path=Path("/a.wav"))))
    newer["options"]["colour"] = "red"
    assert load_request(json.dumps(newer)) == JobRequest(path=Path("/a.wav"))


@given(st.floats())
def test_floats_keep_every_bit(value: float) -> None:
    again = load(Gap, dump(Gap(value, value, "x"))).start_s
    assert again.hex() == value.hex()


@given(FILE_NAMES)
def test_paths_that_are_not_utf8_keep_their_bytes(name: str) -> None:
    request = JobRequest(path=Path("/folder") / name.strip("/"))
    assert load_request(dump(request)).path == request.path


def test_what_an_older_version_wrote_gets_the_defaults() -> None:
    assert load_request('{"path": "/a.wav"}') == JobRequest(path=Path("/a.wav"))


def test_what_a_newer_version_added_is_left_out() -> None:
    text = json.loads(dump(Gap(1.0, 2.0, "noise")))
    assert load(Gap, json.dumps({**text, "colour": "red"})) == Gap(1.0, 2.0, "noise")


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"end_s": 1}', '{"start_s": "x", "end_s": 1, "reason": "y"}'],
)
def test_what_is_not_the_type_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of several libraries
        load(Gap, text)


def test_what_could_not_be_read_again_is_not_written() -> None:
    with pytest.raises(TypeError, match="no written form"):
        dump({"a": object()})
    with pytest.raises((TypeError, ValueError), match="start_s"):
        dump(Gap("soon", 1.0, "x"))  # type: ignore[arg-type]


def test_tuples_of_values_are_written_without_a_name() -> None:
    gaps = (Gap(0.0, math.inf, "x"), Gap(2.0, 3.0, "y", 4))
    assert load(tuple[Gap, ...], dump(gaps)) == gaps


@pytest.mark.parametrize("cls", all_errors())
def test_errors_come_back_as_what_they_were(cls: type[SubtitleError]) -> None:
    again = load_error(dump_error(cls("It broke.", hint="Mend it.")))
    assert type(again) is cls
    assert (again.message, again.hint) == ("It broke.", "Mend it.")


@pytest.mark.parametrize("name", ["Vanished", "Any", "annotations", "__doc__", "SystemExit"])
def test_an_error_that_is_no_longer_known_keeps_its_words(name: str) -> None:
    again = load_error(json.dumps({"type": name, "message": "It broke.", "hint": ""}))
    assert type(again) is WorkerError
    assert again.explain() == "It broke."


def test_every_error_lives_in_the_module_that_is_searched() -> None:
    assert all(getattr(core.errors, cls.__name__) is cls for cls in all_errors())
