"""A device that runs out of memory: smaller batches first, then an error of those segments only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from core.errors import OutOfMemory
from core.pcm import Float32, PcmSpool
from core.types import AudioSegment
from decoding.model import Decoding, Row, SpeechModel
from tests.decoding.hearing import ENGLISH, Wrapped, decode, planned
from tests.spoken import joined, word_errors

PLAIN = "CUDA failed with error out of memory"
DISGUISED = "parallel_for failed: cudaErrorInvalidDevice: invalid device ordinal"
CLIPS = [1, 7, 1, 7, 1, 7, 1, 7]
"""Short ones: 1.8 s each."""


@pytest.fixture(scope="module")
def eight(tmp_path_factory: pytest.TempPathFactory) -> tuple[PcmSpool, list[AudioSegment], str]:
    """Eight segments of one window each."""
    recording = joined(CLIPS, gaps_s=(2.0,))
    segments = planned(recording, 0.0, 3.5)
    assert [len(segment.windows) for segment in segments] == [1] * 8
    return recording.spool(tmp_path_factory.mktemp("memory")), segments, recording.text


class Small(Wrapped):
    """Has room for so many windows."""

    def __init__(self, model: SpeechModel, room: Callable[[], int], said: str = PLAIN) -> None:
        super().__init__(model)
        self._room = room
        self._said = said

    def encode(self, clips: Sequence[Float32]) -> list[Row]:
        if len(clips) > self._room():
            self.encoded.append(len(clips))
            raise RuntimeError(self._said)
        return super().encode(clips)


def test_batch_is_halved_until_it_fits(
    tiny: SpeechModel,
    eight: tuple[PcmSpool, list[AudioSegment], str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    spool, segments, text = eight
    model = Small(tiny, lambda: 2)
    outcome = decode(model, spool, segments)
    assert model.encoded[:6] == [8, 4, 2, 2, 2, 2]
    assert outcome.errors == {}
    assert sorted(outcome.results) == list(range(8))
    assert word_errors(text, outcome.segments).wer < 0.2
    assert {result.report.reduced_batch for result in outcome.results.values()} == {2}
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "Out of memory with a batch of 8 windows (segments 0, 1, 2, 3, 4, 5, 6, 7);"
        " going on with 4",
        "Out of memory with a batch of 4 windows (segments 0, 1, 2, 3); going on with 2",
    ]


def test_a_smaller_batch_gives_the_same_bytes(
    tiny: SpeechModel, eight: tuple[PcmSpool, list[AudioSegment], str]
) -> None:
    spool, segments, _ = eight
    enough = decode(tiny, spool, segments)
    little = decode(Small(tiny, lambda: 4), spool, segments)
    assert {result.report.reduced_batch for result in enough.results.values()} == {0}
    assert {result.report.reduced_batch for result in little.results.values()} == {4}
    for index, result in enough.results.items():
        assert repr(little.results[index].segments) == repr(result.segments)
        assert little.results[index].gaps == result.gaps


def test_only_what_was_decoded_after_memory_ran_out_says_so(
    tiny: SpeechModel, eight: tuple[PcmSpool, list[AudioSegment], str]
) -> None:
    spool, segments, _ = eight
    model = Small(tiny, lambda: 8 if not model.encoded else 2)
    options = replace(ENGLISH, batch_size=4)
    outcome = decode(model, spool, segments, options)
    assert model.encoded[:2] == [4, 4]
    assert [outcome.results[i].report.reduced_batch for i in range(8)] == [0] * 4 + [2] * 4


def test_out_of_memory_in_disguise_ends_the_work_in_this_process(
    tiny: SpeechModel, eight: tuple[PcmSpool, list[AudioSegment], str]
) -> None:
    spool, segments, _ = eight
    model = Small(tiny, lambda: 8 if not model.encoded else 0, DISGUISED)
    with pytest.raises(OutOfMemory, match="cudaErrorInvalidDevice") as caught:
        decode(model, spool, segments, replace(ENGLISH, batch_size=4))
    assert model.encoded == [4, 4]
    assert str(caught.value.__cause__) == DISGUISED


def test_after_two_halvings_the_segments_of_the_batch_fail(
    tiny: SpeechModel, eight: tuple[PcmSpool, list[AudioSegment], str]
) -> None:
    spool, segments, _ = eight
    model = Small(tiny, lambda: 0)
    outcome = decode(model, spool, segments)
    assert model.encoded == [8, 4, 2, 2, 2, 2]
    assert sorted(outcome.errors) == list(range(8))
    assert {type(error) for error in outcome.errors.values()} == {OutOfMemory}
    assert all(error.__cause__ is not None for error in outcome.errors.values())
    assert outcome.results == {}


def test_memory_that_comes_back_serves_the_rest(
    tiny: SpeechModel, eight: tuple[PcmSpool, list[AudioSegment], str]
) -> None:
    spool, segments, _ = eight
    model = Small(tiny, lambda: 0 if len(model.encoded) < 4 else 8)
    outcome = decode(model, spool, segments)
    assert sorted(outcome.errors) == [0, 1, 2, 3]
    assert sorted(outcome.results) == [4, 5, 6, 7]


def test_one_window_that_does_not_fit_is_not_tried_again(
    tiny: SpeechModel, eight: tuple[PcmSpool, list[AudioSegment], str]
) -> None:
    spool, segments, _ = eight
    model = Small(tiny, lambda: 0)
    outcome = decode(model, spool, segments[:1])
    assert model.encoded == [1]
    assert type(outcome.errors[0]) is OutOfMemory


class Stumbling(Wrapped):
    def answer(self, rows: Sequence[Row], decodings: list[Decoding]) -> list[Decoding]:
        if len(self.searches) == 1:
            raise IndexError("a bug")
        return decodings


def test_any_other_failure_is_not_retried_with_less(
    tiny: SpeechModel, eight: tuple[PcmSpool, list[AudioSegment], str]
) -> None:
    spool, segments, _ = eight
    model = Stumbling(tiny)
    outcome = decode(model, spool, segments)
    assert model.encoded[:1] == [8]
    assert {type(error) for error in outcome.errors.values()} == {IndexError}
    assert sorted(outcome.errors) == list(range(8))
