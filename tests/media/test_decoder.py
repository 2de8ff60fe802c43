"""Every container people have decodes to the same recording."""

from __future__ import annotations

import wave
from pathlib import Path

import av
import numpy as np
import pytest
from av.audio.frame import AudioFrame
from faster_whisper.audio import decode_audio

from core.pcm import Int16, PcmSpool
from core.types import SAMPLE_RATE
from media.container import DecodeLimits
from media.decoder import BLOCK_S, MediaDecoder
from tests.media.conftest import Decode, MakeFile
from tests.media.containers import RECIPES

ENCODER_DELAY_S = 0.05
"""Priming samples that a bare stream (ADTS, AVI, WMA) cannot declare, so players play them too."""


def lag_and_likeness(original: Int16, decoded: Int16) -> tuple[float, float]:
    """Seconds by which ``decoded`` is late, and the correlation there (1: the same)."""
    size = 1 << (len(original) + len(decoded)).bit_length()
    a, b = original.astype(np.float64), decoded.astype(np.float64)
    product = np.fft.irfft(np.fft.rfft(b, size) * np.conj(np.fft.rfft(a, size)), size)
    peak = int(np.argmax(product))
    lag = peak - size if peak > size // 2 else peak
    return lag / SAMPLE_RATE, float(product[peak] / np.sqrt((a @ a) * (b @ b)))


@pytest.mark.parametrize("kind", RECIPES)
def test_container_decodes_to_the_recording(
    kind: str, media_file: MakeFile, speech: Int16, decode: Decode
) -> None:
    samples, decoder = decode(media_file(f"speech.{kind}"))
    lag_s, likeness = lag_and_likeness(speech, samples)
    assert 0.9 < likeness <= 1.001
    assert -0.005 < lag_s < ENCODER_DELAY_S
    assert abs(len(samples) - len(speech)) < (ENCODER_DELAY_S + 0.03) * SAMPLE_RATE
    assert (decoder.damaged_packets, decoder.truncated) == (0, False)
    assert decoder.samples == len(samples)


@pytest.mark.parametrize("kind", [kind for kind, recipe in RECIPES.items() if recipe.exact])
def test_lossless_16_khz_is_untouched(
    kind: str, media_file: MakeFile, speech: Int16, decode: Decode
) -> None:
    samples, _ = decode(media_file(f"speech.{kind}"))
    # Sony Wave64 pads its data to 8 bytes and FFmpeg reads the padding as samples.
    assert len(samples) - len(speech) in ((0,) if kind != "w64" else range(5))
    np.testing.assert_array_equal(samples[: len(speech)], speech)


@pytest.mark.parametrize("kind", ["mp3", "m4a", "mp4", "opus", "mkv", "ts", "float.wav", "3gp"])
def test_samples_equal_faster_whispers_own_decoder(
    kind: str, media_file: MakeFile, decode: Decode
) -> None:
    path = media_file(f"speech.{kind}")
    samples, _ = decode(path)
    reference = decode_audio(str(path)) * 32768.0
    assert len(samples) == len(reference)
    assert np.abs(samples - reference).max() <= 1


def test_readers_see_each_block_when_it_is_yielded(
    media_file: MakeFile, spool: PcmSpool, speech: Int16
) -> None:
    with MediaDecoder.open(media_file("speech.flac"), DecodeLimits()) as decoder:
        seen = 0
        for number, block in enumerate(decoder.decode_to(spool)):
            np.testing.assert_array_equal(spool.read_int16(seen, seen + len(block)), block)
            seen += len(block)
            assert spool.samples() == seen
            if number == 0:
                assert seen < 2 * BLOCK_S * SAMPLE_RATE
    assert seen == len(speech)


def test_stereo_is_mixed_from_both_sides(tmp_path: Path, speech: Int16, decode: Decode) -> None:
    left, right = tmp_path / "left.wav", tmp_path / "right.wav"
    _write_wav(left, np.stack([speech, np.zeros_like(speech)], axis=1))
    _write_wav(right, np.stack([np.zeros_like(speech), speech], axis=1))
    for path in (left, right):
        samples, _ = decode(path)
        assert lag_and_likeness(speech, samples)[1] > 0.99


@pytest.mark.parametrize("channels", [3, 4, 8, 12, 64])
def test_every_channel_of_a_field_recorder_is_heard(
    channels: int, tmp_path: Path, speech: Int16, decode: Decode
) -> None:
    path = tmp_path / "recorder.wav"
    for microphone in {0, 3, channels - 1} & set(range(channels)):
        tracks = np.zeros((len(speech), channels), np.int16)
        tracks[:, microphone] = speech
        _write_wav(path, tracks)
        samples, _ = decode(path)
        assert len(samples) == len(speech)
        assert lag_and_likeness(speech, samples)[1] > 0.9


def test_many_planar_channels_are_all_heard(tmp_path: Path, speech: Int16, decode: Decode) -> None:
    """PyAV's own access to the planes of such frames reads memory that is not theirs."""
    channels = 12
    path = tmp_path / "recorder.nut"
    tracks = np.zeros((len(speech), channels), np.int16)
    tracks[:, 3] = speech
    frame = AudioFrame.from_ndarray(tracks.reshape(1, -1), "s16", f"{channels} channels")
    frame.sample_rate, frame.pts = SAMPLE_RATE, 0
    with av.open(str(path), "w") as output:
        stream = output.add_stream(
            "pcm_s16le_planar", rate=SAMPLE_RATE, layout=f"{channels} channels"
        )
        output.mux([*stream.encode(frame), *stream.encode(None)])
    samples, _ = decode(path)
    assert lag_and_likeness(speech, samples)[1] > 0.9


def test_track_that_changes_its_rate_and_layout_midway_is_heard_to_the_end(
    media_file: MakeFile, tmp_path: Path, speech: Int16, decode: Decode
) -> None:
    joined = tmp_path / "joined.ac3"
    parts = [media_file("speech.ac3").read_bytes(), media_file("speech.mono.ac3").read_bytes()]
    joined.write_bytes(b"".join(parts))
    samples, decoder = decode(joined)
    half = len(samples) // 2
    assert abs(len(samples) - 2 * len(speech)) < 0.1 * SAMPLE_RATE
    for part in (samples[:half], samples[half:]):
        assert lag_and_likeness(speech, part)[1] > 0.9
    assert decoder.damaged_packets == 0


def _write_wav(path: Path, frames: Int16) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(frames.shape[1])
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(frames.tobytes())
