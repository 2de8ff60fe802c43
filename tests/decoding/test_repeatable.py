"""A segment gives the same bytes whatever shared its batch and whatever its worker did before.

The recording holds what sends windows different ways through the rounds: clear speech, windows of
equal length, noise in which the model may loop, and slowed speech of which it may leave some for
further rounds.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.events import SegmentFinished
from core.pcm import Int16, PcmSpool
from core.types import SAMPLE_RATE, AudioSegment, ModelSpec
from decoding import quality
from decoding.model import SpeechModel
from tests.decoding.conftest import THREADS
from tests.decoding.hearing import ENGLISH, Wrapped, decode, noisy, slowed, transcribed, whole
from tests.spoken import Recording, joined, quiet
from tests.waiting import PATIENCE_S
from transcriber import WhisperEngine

Planned = tuple[PcmSpool, list[AudioSegment]]


def cut(recording: Recording, seconds: float) -> Recording:
    return replace(recording, pcm=recording.pcm[: round(seconds * SAMPLE_RATE)])


def _pieces() -> list[Recording]:
    short, other_short = (joined([i], gaps_s=(0.3,)) for i in (1, 7))
    equal = [cut(joined([i]), 4.0) for i in (4, 5, 2)]
    loop = noisy(joined([6, 7, 1], gaps_s=(0.5,)), 5.0)
    leftover = slowed(cut(joined([4], gaps_s=(0.3,)), 4.0), 0.4)
    return [equal[0], short, loop, equal[1], leftover, equal[2], other_short]


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Planned:
    """A segment for each piece; the last two share one."""
    parts: list[Int16] = []
    each: list[AudioSegment] = []
    for index, piece in enumerate(_pieces()):
        each.append(whole(piece, index, sum(map(len, parts)) / SAMPLE_RATE))
        parts += [piece.pcm, quiet(1.0)]
    *first, second_last, last = each
    together = AudioSegment(
        second_last.index, second_last.start_s, last.end_s, second_last.windows + last.windows
    )
    spool = PcmSpool(tmp_path_factory.mktemp("repeatable") / "audio.pcm")
    spool.path.write_bytes(np.concatenate(parts).tobytes())
    return spool, [*first, together]


def written(results: dict[int, SegmentFinished]) -> dict[int, str]:
    """All of the results but the time they took."""
    return {
        index: repr(replace(one, report=replace(one.report, elapsed_s=0.0)))
        for index, one in results.items()
    }


def decoded(
    model: object, spool: PcmSpool, segments: Sequence[AudioSegment], batch_size: int = 8
) -> dict[int, str]:
    outcome = decode(model, spool, segments, replace(ENGLISH, batch_size=batch_size))
    assert outcome.errors == {}
    return written(outcome.results)


@pytest.fixture(scope="module")
def alone(tiny: SpeechModel, planned: Planned) -> dict[int, str]:
    """Each segment by itself, one window at a time."""
    spool, segments = planned
    return {
        segment.index: decoded(tiny, spool, [segment], 1)[segment.index] for segment in segments
    }


def test_every_way_gives_the_same(
    tiny: SpeechModel, planned: Planned, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gate so strict that it takes long sentences for loops sends windows every way, whatever
    this processor's kernels make of the noise: searched again, left out, into further rounds."""
    monkeypatch.setattr(quality, "MAX_COMPRESSION_RATIO", 0.9)
    spool, all_segments = planned
    segments = [all_segments[i] for i in (0, 1, 3, 5)]  # clear speech: the gate does the rest
    model = Wrapped(tiny)
    outcome = decode(model, spool, segments[::-1])
    assert model.searches[0] == (False, 5)
    assert model.searches[1][0]
    assert len(model.encoded) > 1
    assert len(outcome.words) > 4
    each = [decoded(tiny, spool, [segment], 1) for segment in segments]
    assert written(outcome.results) == {k: text for one in each for k, text in one.items()}


@pytest.mark.parametrize(("batch_size", "seed"), [(2, 1), (3, 2), (8, 3)])
def test_neighbours_and_their_order_change_nothing(
    tiny: SpeechModel, planned: Planned, alone: dict[int, str], batch_size: int, seed: int
) -> None:
    spool, segments = planned
    order = list(segments)
    random.Random(seed).shuffle(order)
    assert decoded(tiny, spool, order, batch_size) == alone


def test_a_worker_that_did_other_work_before_gives_the_same(
    tiny: SpeechModel, planned: Planned, alone: dict[int, str], tmp_path: Path
) -> None:
    spool, segments = planned
    other = joined([6], gaps_s=(0.5,))
    transcribed(tiny, other, tmp_path, replace(ENGLISH, initial_prompt="Printing."))
    assert decoded(tiny, spool, segments[1:3]) == {index: alone[index] for index in (1, 2)}


def _elsewhere(path: Path, spool: PcmSpool, segments: list[AudioSegment], threads: int) -> Any:
    model = SpeechModel(ModelSpec("tiny.en", str(path), "int8", "cpu", threads))
    return decoded(model, spool, segments)


@pytest.mark.parametrize("threads", [1, 2])
def test_another_process_gives_the_same(
    tiny_en: Path, planned: Planned, alone: dict[int, str], threads: int
) -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        assert process.submit(_elsewhere, tiny_en, *planned, threads).result(PATIENCE_S) == alone


def test_rows_kept_from_the_vote_change_nothing(base: Path, planned: Planned) -> None:
    spool, segments = planned
    some = [segments[i] for i in (0, 1, 3)]
    engine = WhisperEngine(ModelSpec("base", str(base), "int8", "cpu", THREADS))

    def decoded(batch_size: int) -> dict[int, str]:
        results: dict[int, SegmentFinished] = {}
        engine.decode(
            spool,
            some,
            replace(ENGLISH, batch_size=batch_size),
            on_started=lambda index: None,
            on_result=lambda result: results.update({result.index: result}),
            on_error=lambda index, error: pytest.fail(str(error)),
        )
        return written(results)

    assert engine.detect_language(spool, [s.windows[0] for s in segments[:5]])[0] == "en"
    after_vote = decoded(8)
    assert after_vote == decoded(1)
