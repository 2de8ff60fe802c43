"""The clock of a packed window leads back to the recording."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.pcm import PcmSpool
from core.types import SAMPLE_RATE, SpeechSpan, Window
from decoding.clip import Clip, cut_clip
from vad import plan_segments

SAMPLE_S = 1 / SAMPLE_RATE


def window(*pieces: tuple[float, float]) -> Window:
    spans = tuple(SpeechSpan(*bounds) for bounds in pieces)
    return Window(spans, spans)


@pytest.fixture
def spool(tmp_path: Path) -> PcmSpool:
    """A minute in which every sample is its own number (modulo 2**15)."""
    spool = PcmSpool(tmp_path / "audio.pcm")
    numbers = np.arange(60 * SAMPLE_RATE) % 2**15
    spool.path.write_bytes(numbers.astype(np.int16).tobytes())
    return spool


def empty_clip(spec: Window) -> Clip:
    offsets, at_s = [], 0.0
    for piece in spec.pieces:
        offsets.append(at_s)
        at_s += piece.duration_s
    audio = np.zeros(round(at_s * SAMPLE_RATE), np.float32)
    return Clip(audio, (), tuple(offsets), spec.pieces)


def test_pieces_are_put_end_to_end(spool: PcmSpool) -> None:
    clip = cut_clip(spool, window((1.0, 2.0), (10.0, 10.5), (30.0, 31.0)))
    assert clip.duration_s == 2.5
    assert clip.offsets == (0.0, 1.0, 1.5)
    expected = np.concatenate(
        [spool.read(1.0, 2.0), spool.read(10.0, 10.5), spool.read(30.0, 31.0)]
    )
    np.testing.assert_array_equal(clip.audio, expected)
    assert [(s.start_s, s.end_s) for s in clip.spans] == [(0.0, 1.0), (1.0, 1.5), (1.5, 2.5)]


def test_a_window_may_reach_over_the_end_of_the_recording(spool: PcmSpool) -> None:
    clip = cut_clip(spool, window((59.0, 60.4)))
    assert clip.duration_s == 1.0


@given(st.integers(0, 2**32))
def test_there_and_back_again(seed: int) -> None:
    rng = random.Random(seed)
    at_s, spans = 0.0, []
    for _ in range(rng.randint(1, 12)):
        at_s += rng.uniform(0.1, 8.0)
        spans.append(SpeechSpan(at_s, at_s + rng.uniform(0.1, 6.0)))
        at_s = spans[-1].end_s
    for segment in plan_segments(spans):
        for spec in segment.windows:
            _check_round_trip(empty_clip(spec), rng)


def _check_round_trip(clip: Clip, rng: random.Random) -> None:
    for index, piece in enumerate(clip.pieces):
        for time_s in (piece.start_s, rng.uniform(piece.start_s, piece.end_s), piece.end_s):
            assert clip.to_recording(clip.to_clip(time_s), index) == pytest.approx(time_s, abs=1e-6)
    moments = sorted(rng.uniform(0.0, clip.duration_s) for _ in range(20))
    there = [clip.to_recording(moment) for moment in moments]
    assert there == sorted(there)
    for moment, time_s in zip(moments, there, strict=True):
        assert clip.to_clip(time_s) == pytest.approx(moment, abs=1e-6)
        piece = clip.pieces[clip.piece_at(moment)]
        assert piece.start_s <= time_s <= piece.end_s
    for left, right in pairwise(clip.pieces):
        cut_out_s = rng.uniform(left.end_s, right.start_s)
        assert clip.to_clip(cut_out_s) == pytest.approx(clip.to_clip(right.start_s), abs=1e-6)


def test_times_outside_are_held_at_the_edges() -> None:
    clip = empty_clip(window((5.0, 6.0), (20.0, 22.0)))
    assert clip.to_clip(0.0) == 0.0
    assert clip.to_clip(99.0) == pytest.approx(clip.duration_s)
    assert clip.to_recording(-1.0) == 5.0
    assert clip.to_recording(99.0) == 22.0
    assert clip.to_recording(1.5, piece=0) == 6.0
    assert clip.to_recording(0.5, piece=1) == 20.0
