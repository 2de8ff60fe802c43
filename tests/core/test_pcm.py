"""The spool: every reader sees whole samples of what has been written, and no more."""

from __future__ import annotations

import pickle
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from core.pcm import PcmSpool
from core.types import SAMPLE_RATE


@pytest.fixture
def ramp(tmp_path: Path) -> PcmSpool:
    """Three seconds in which every sample is its own number (modulo 2**16)."""
    spool = PcmSpool(tmp_path / "audio.pcm")
    spool.path.write_bytes(np.arange(3 * SAMPLE_RATE).astype(np.int16).tobytes())
    return spool


def test_reads_the_samples_asked_for(ramp: PcmSpool) -> None:
    assert ramp.samples() == 3 * SAMPLE_RATE
    assert ramp.read_int16(100, 105).tolist() == [100, 101, 102, 103, 104]
    assert ramp.read_int16(5, 5).tolist() == []
    assert ramp.read_int16(9, 5).tolist() == []


def test_reading_stops_at_both_ends(ramp: PcmSpool) -> None:
    end = ramp.samples()
    assert ramp.read_int16(-10, 2).tolist() == [0, 1]
    assert len(ramp.read_int16(end - 3, end + 100)) == 3
    assert len(ramp.read_int16(end, end + 100)) == 0
    assert len(ramp.read(2.5, 99.0)) == SAMPLE_RATE // 2


def test_a_half_written_sample_is_not_there_yet(ramp: PcmSpool) -> None:
    whole = ramp.samples()
    with ramp.path.open("ab") as file:
        file.write(b"\x07")
        file.flush()
        assert ramp.samples() == whole
        assert len(ramp.read_int16(whole - 1, whole + 1)) == 1
        file.write(b"\x00")
        file.flush()
    assert ramp.samples() == whole + 1
    assert ramp.read_int16(whole, whole + 1).tolist() == [7]


def test_times_are_rounded_to_the_nearest_sample(ramp: PcmSpool) -> None:
    audio = ramp.read(1.00004, 1.0001)  # samples 16000.64 to 16001.6
    assert audio.tolist() == [16_001 / 32_768]


def test_audio_is_float32_from_minus_one_to_one(tmp_path: Path) -> None:
    spool = PcmSpool(tmp_path / "audio.pcm")
    spool.path.write_bytes(np.array([-32_768, 0, 16_384, 32_767], np.int16).tobytes())
    audio = spool.read(0.0, 1.0)
    assert audio.dtype == np.float32
    assert audio.tolist() == [-1.0, 0.0, 0.5, 32_767 / 32_768]


def test_neighbouring_reads_join_without_seam(ramp: PcmSpool) -> None:
    times = [0.0, 0.77777, 1.12345678, 2.0000321, 3.0]
    parts = [ramp.read(start, end) for start, end in pairwise(times)]
    np.testing.assert_array_equal(np.concatenate(parts), ramp.read(0.0, 3.0))


def test_the_handle_travels_and_the_audio_does_not(ramp: PcmSpool) -> None:
    data = pickle.dumps(ramp)
    assert len(data) < 1_000
    assert pickle.loads(data) == ramp
