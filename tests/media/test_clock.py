"""The spool's clock is the player's clock: late starts, holes, joined files, wrong timestamps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.errors import InvalidOption
from core.pcm import Int16
from core.types import SAMPLE_RATE
from media.clock import DISCONTINUITY_S, UNDECLARED_HOLE_S, PlayerClock
from tests.media.conftest import Decode, MakeFile
from tests.media.containers import RECIPES, Recipe, Track, write_media
from tests.media.test_decoder import lag_and_likeness

FRAME_S = 0.02


def play(clock: PlayerClock, times: list[float]) -> list[float]:
    """Silence inserted before each 20 ms frame with these timestamps."""
    missing: list[float] = []
    position_s = 0.0
    for time_s, next_s in zip(times, [*times[1:], None], strict=True):
        missing.append(round(clock.missing_before(time_s, FRAME_S, next_s, position_s), 6))
        position_s += missing[-1] + FRAME_S
    return missing


def frames(start_s: float, count: int) -> list[float]:
    return [start_s + FRAME_S * i for i in range(count)]


@pytest.mark.parametrize("kind", ["mp4", "mkv", "video.webm", "ts", "mov"])
def test_late_audio_of_a_video_is_late_in_the_spool(
    kind: str, tmp_path: Path, speech: Int16, decode: Decode
) -> None:
    path = write_media(tmp_path / f"late.{kind}", [Track([(1.5, speech)])], RECIPES[kind])
    samples, _ = decode(path)
    lag_s, likeness = lag_and_likeness(speech, samples)
    assert likeness > 0.9
    assert lag_s == pytest.approx(1.5, abs=0.03)
    assert not samples[: round(1.4 * SAMPLE_RATE)].any()


def test_hole_in_the_timestamps_is_silence_of_that_length(
    tmp_path: Path, speech: Int16, decode: Decode
) -> None:
    second = len(speech) / SAMPLE_RATE + 2.25
    path = tmp_path / "hole.mka"
    pcm = Recipe("pcm_s16le", exact=True)
    write_media(path, [Track([(0.0, speech), (second, speech)])], pcm)
    samples, _ = decode(path)
    assert len(samples) == pytest.approx(2 * len(speech) + 2.25 * SAMPLE_RATE, abs=32)
    np.testing.assert_array_equal(samples[: len(speech)], speech)
    np.testing.assert_array_equal(samples[-len(speech) :], speech)
    assert not samples[len(speech) : -len(speech)].any()


@pytest.mark.parametrize("kind", ["ts", "opus"])
def test_joined_files_whose_clock_restarts_lose_nothing(
    kind: str, media_file: MakeFile, tmp_path: Path, speech: Int16, decode: Decode
) -> None:
    joined = tmp_path / f"joined.{kind}"
    joined.write_bytes(media_file(f"speech.{kind}").read_bytes() * 2)
    samples, _ = decode(joined)
    assert len(samples) == pytest.approx(2 * len(speech), abs=0.2 * SAMPLE_RATE)
    for half in (samples[: len(samples) // 2], samples[len(samples) // 2 :]):
        assert lag_and_likeness(speech, half)[1] > 0.9


def test_default_flagged_track_is_heard_unless_another_is_chosen(
    tmp_path: Path, speech: Int16, decode: Decode
) -> None:
    commentary = speech[::-1].copy()
    path = write_media(
        tmp_path / "film.mkv",
        [
            Track([(0.0, commentary)], language="eng", title="Commentary"),
            Track([(0.0, speech)], language="deu", default=True),
        ],
        Recipe("flac", exact=True, video="libx264"),
    )
    for wanted, expected in ((None, speech), (0, commentary), (1, speech)):
        samples, _ = decode(path, audio_track=wanted)
        np.testing.assert_array_equal(samples, expected)
    for wrong in (2, -1):
        with pytest.raises(InvalidOption, match="no audio track"):
            decode(path, audio_track=wrong)


def test_first_track_is_heard_where_none_is_flagged(
    tmp_path: Path, speech: Int16, decode: Decode
) -> None:
    tracks = [Track([(0.0, speech)]), Track([(0.0, speech[::-1].copy())])]
    path = write_media(tmp_path / "two.mka", tracks, RECIPES["mka"])
    np.testing.assert_array_equal(decode(path)[0], speech)


def test_one_wrong_timestamp_moves_nothing() -> None:
    times = frames(0.0, 10)
    for wrong in (500.0, -3.0, 0.5):
        broken = [*times[:5], times[5] + wrong, *times[6:]]
        assert play(PlayerClock(0.0, 1000.0, may_restart=False), broken) == [0.0] * 10


def test_silence_between_single_frames_is_kept() -> None:
    times = [i * 0.5 for i in range(6)]
    expected = [0.0] + [0.48] * 5
    assert play(PlayerClock(0.0, 3.0, may_restart=False), times) == expected


def test_hole_longer_than_the_declared_recording_is_not_believed() -> None:
    clock = PlayerClock(0.0, 60.0, may_restart=False)
    assert play(clock, [*frames(0.0, 5), *frames(5000.0, 5)]) == [0.0] * 10


def test_long_hole_is_believed_where_nothing_is_declared_up_to_an_hour() -> None:
    for hole, believed in ((UNDECLARED_HOLE_S - 1, True), (UNDECLARED_HOLE_S + 1, False)):
        clock = PlayerClock(0.0, None, may_restart=False)
        missing = play(clock, [*frames(0.0, 5), *frames(0.1 + hole, 5)])
        assert missing[5] == (hole if believed else 0.0)


def test_transport_stream_jump_is_a_new_clock_and_later_holes_count_from_it() -> None:
    clock = PlayerClock(10.0, 9000.0, may_restart=True)
    jump = frames(10.1 + DISCONTINUITY_S + 1, 5)
    assert play(clock, [*frames(10.0, 5), *jump, *frames(jump[-1] + 1.02, 5)]) == (
        [0.0] * 10 + [1.0] + [0.0] * 4
    )


def test_joined_recordings_start_a_new_clock_and_later_holes_count_from_it() -> None:
    clock = PlayerClock(0.0, 60.0, may_restart=False)
    second = frames(0.0, 5)
    first = frames(0.0, 100)
    assert play(clock, [*first, *second, *frames(0.1 + 1.0, 5)]) == (
        [0.0] * 105 + [1.0] + [0.0] * 4
    )


def test_small_surplus_is_taken_from_the_next_hole() -> None:
    clock = PlayerClock(0.0, 60.0, may_restart=False)
    behind = frames(0.1 - 0.5, 5)
    missing = play(clock, [*frames(0.0, 5), *behind, *frames(behind[-1] + FRAME_S + 2.0, 5)])
    assert missing == [0.0] * 10 + [1.5] + [0.0] * 4
