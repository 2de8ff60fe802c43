"""What is not a recording, or not one we may hear, is refused in words; what is left is kept."""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from core.errors import (
    DiskFull,
    EncryptedMedia,
    FileMissing,
    InputError,
    MediaLimitExceeded,
    NoAudioTrack,
    UnreadableMedia,
)
from core.pcm import Int16, PcmSpool
from core.types import SAMPLE_RATE
from media.container import DecodeLimits
from media.decoder import BLOCK_S, MediaDecoder
from media.formats import DEMUXERS
from tests.media.conftest import Decode, MakeFile
from tests.media.containers import RECIPES, SPEECH, Recipe, Track, make_container, write_media
from tests.media.test_decoder import lag_and_likeness


def _bytes(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def _zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(SPEECH, "speech.flac")


def _zip_with_password(path: Path) -> None:
    _zip(path)
    data = bytearray(path.read_bytes())
    data[6] |= 1
    path.write_bytes(data)


def _video_without_sound(path: Path) -> None:
    write_media(path, [], Recipe("aac", video="libx264"), video_s=1.0)


def _common_encryption(path: Path) -> None:
    options = {
        "encryption_scheme": "cenc-aes-ctr",
        "encryption_key": "00" * 16,
        "encryption_kid": "11" * 16,
    }
    speech = np.zeros(SAMPLE_RATE, np.int16)
    write_media(
        path, [Track([(0.0, speech)])], Recipe("aac", format="mp4"), container_options=options
    )


def _fairplay(path: Path) -> None:
    make_container(SPEECH, path)
    path.write_bytes(path.read_bytes().replace(b"mp4a", b"drms"))


def _garbled(path: Path) -> None:
    """An intact index, and every packet it points to overwritten."""
    data = make_container(SPEECH, path).read_bytes()
    media = data.index(b"mdat") + 4
    size = int.from_bytes(data[media - 8 : media - 4], "big") - 8
    path.write_bytes(data[:media] + b"\xff" * size + data[media + size :])


def _wav(rate: int, channels: int = 1) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        data = bytes(2 * channels * 5_000)
        step = 2 * channels
        layout = struct.pack("<IHHIIHH", 16, 1, channels, rate, rate * step, step, 16)
        body = b"WAVEfmt " + layout + b"data" + struct.pack("<I", len(data)) + data
        path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)

    return write


BAD_FILES: dict[str, tuple[Callable[[Path], object], type[InputError], str | None]] = {
    "empty.wav": (_bytes(b""), UnreadableMedia, "is empty"),
    "noise.mp3": (_bytes(np.random.default_rng(1).bytes(50_000)), UnreadableMedia, None),
    "zeros.mp4": (_bytes(bytes(50_000)), UnreadableMedia, None),
    "header.flac": (_bytes(SPEECH.read_bytes()[:60]), UnreadableMedia, None),
    "garbled.m4a": (_garbled, UnreadableMedia, "No audio in garbled.m4a could be decoded"),
    "notes.txt": (_bytes(b"Printing, in the only sense\n" * 99), UnreadableMedia, "not an audio"),
    "subtitles.srt": (_bytes(b"1\n00:00:01,000 --> 00:00:02,000\nHi\n\n"), UnreadableMedia, None),
    "picture.png": (_bytes(b"\x89PNG\r\n\x1a\n" + bytes(500)), UnreadableMedia, "not an audio"),
    "list.m3u8": (_bytes(b"#EXTM3U\n#EXTINF:5,\nx.wav\n"), UnreadableMedia, "list of other files"),
    "dash.mpd": (_bytes(b'<?xml version="1.0"?><MPD/>'), UnreadableMedia, "list of other files"),
    "stream.sdp": (_bytes(b"v=0\nm=audio 5004 RTP/AVP 0\n"), UnreadableMedia, "not an audio"),
    "archive.zip": (_zip, UnreadableMedia, "zip archive, not a recording"),
    "secret.zip": (_zip_with_password, EncryptedMedia, "zip archive with a password"),
    "secret.gpg": (_bytes(b"-----BEGIN PGP MESSAGE-----\n"), EncryptedMedia, "is encrypted"),
    "cenc.mp4": (_common_encryption, EncryptedMedia, "copy-protected"),
    "shop.m4a": (_fairplay, EncryptedMedia, "copy-protected"),
    "silent.mp4": (_video_without_sound, NoAudioTrack, "video without sound"),
    "folder": (Path.mkdir, UnreadableMedia, "is a folder"),
    "pipe.wav": (os.mkfifo, UnreadableMedia, "not a regular file"),
    "device.wav": (lambda path: path.symlink_to("/dev/zero"), UnreadableMedia, "not a regular"),
    "gone.wav": (lambda path: None, FileMissing, "does not exist"),
    "dangling.wav": (lambda path: path.symlink_to("nowhere"), FileMissing, "does not exist"),
    "forged.wav": (_wav(rate=1), MediaLimitExceeded, "1 Hz"),
    "fast.wav": (_wav(rate=2_000_000), MediaLimitExceeded, "2000000 Hz"),
    "wide.wav": (_wav(rate=48_000, channels=65), MediaLimitExceeded, "65 channels"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_file_is_refused_in_words(name: str, tmp_path: Path, decode: Decode) -> None:
    make, error, words = BAD_FILES[name]
    make(tmp_path / name)
    with pytest.raises(error, match=words) as caught:
        decode(tmp_path / name)
    assert type(caught.value) is error
    assert caught.value.hint


def test_ffconcat_text_cannot_open_its_neighbour(tmp_path: Path, decode: Decode) -> None:
    make_container(SPEECH, tmp_path / "neighbour.wav")
    for name in ("upload.wav", "upload.ffconcat"):
        path = tmp_path / name
        path.write_text("ffconcat version 1.0\nfile 'neighbour.wav'\n")
        with av.open(str(path)) as hijacked:  # so the whitelist is what stops it
            assert hijacked.format.name == "concat"
        with pytest.raises(UnreadableMedia, match="list of other files"):
            decode(path)


def test_name_that_looks_like_a_protocol_is_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, speech: Int16, decode: Decode
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("concat:a.wav|b.wav", "http:x.wav", "-i", "über %d ?.wav", "\udcff.wav"):
        path = Path(name)
        path.write_bytes(make_container(SPEECH, tmp_path / "a.wav").read_bytes())
        np.testing.assert_array_equal(decode(path)[0], speech)


def test_whitelist_holds_demuxers_this_ffmpeg_has_and_none_that_opens_more() -> None:
    assert set(DEMUXERS) <= av.format.formats_available
    for name in DEMUXERS:
        format_ = av.format.ContainerFormat(name, "r")
        assert format_.is_input
        assert not format_.no_file
    forbidden = {"concat", "hls", "dash", "image2", "lavfi", "sdp", "rtsp", "tee", "tty", "webvtt"}
    assert not forbidden & set(DEMUXERS)


@pytest.mark.parametrize("kind", ["flac", "wv", "opus"])
def test_decompression_bomb_stops_at_the_limit(kind: str, tmp_path: Path, spool: PcmSpool) -> None:
    silence = np.zeros(3 * 60 * SAMPLE_RATE, np.int16)
    bomb = write_media(tmp_path / f"bomb.{kind}", [Track([(0.0, silence)])], RECIPES[kind])
    assert bomb.stat().st_size < 400_000
    for limits in (DecodeLimits(max_audio_s=30.0), DecodeLimits(max_spool_bytes=30 * 32_000)):
        with MediaDecoder.open(bomb, limits) as decoder, pytest.raises(MediaLimitExceeded):
            for _ in decoder.decode_to(spool):
                pass
        assert 20 < spool.samples() / SAMPLE_RATE <= 30.0 + BLOCK_S


def test_limit_of_streams_and_of_time(tmp_path: Path, speech: Int16, decode: Decode) -> None:
    tracks = [Track([(0.0, speech[:SAMPLE_RATE])])] * 6
    path = write_media(tmp_path / "many.mka", tracks, RECIPES["mka"])
    decode(path, DecodeLimits(max_streams=6))
    with pytest.raises(MediaLimitExceeded, match="6 streams"):
        decode(path, DecodeLimits(max_streams=5))
    with pytest.raises(MediaLimitExceeded, match="longer than 0 s"):
        decode(path, DecodeLimits(wall_clock_s=0.0))


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3", "aac", "mka", "opus", "ts", "wma", "caf"])
def test_file_that_was_cut_off_keeps_what_is_there(
    kind: str, media_file: MakeFile, tmp_path: Path, speech: Int16, decode: Decode
) -> None:
    whole = media_file(f"speech.{kind}").read_bytes()
    path = tmp_path / f"cut.{kind}"
    path.write_bytes(whole[: len(whole) // 2])
    samples, decoder = decode(path)
    assert 0.3 * len(speech) < len(samples) < 0.7 * len(speech)
    assert lag_and_likeness(speech[: len(samples)], samples)[1] > 0.9
    # The others do not say how long they are, or libavformat corrects what they say.
    assert decoder.truncated == (kind in {"wav", "flac", "mka", "mp3"})


def test_cut_off_mp4_with_its_index_in_front_keeps_what_is_there(
    tmp_path: Path, speech: Int16, decode: Decode
) -> None:
    path = tmp_path / "phone.mp4"
    options = {"movflags": "faststart"}
    track = [Track([(0.0, speech)])]
    write_media(path, track, Recipe("aac", 48_000, format="mp4"), container_options=options)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    samples, decoder = decode(path)
    assert len(samples) > 0.3 * len(speech)
    assert decoder.truncated


@pytest.mark.parametrize("kind", ["m4a", "mka", "opus", "ts", "flac"])
def test_damage_in_the_middle_is_skipped_and_the_clock_kept(
    kind: str, media_file: MakeFile, tmp_path: Path, speech: Int16, decode: Decode
) -> None:
    data = bytearray(media_file(f"speech.{kind}").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 500] = np.random.default_rng(7).bytes(500)
    path = tmp_path / f"damaged.{kind}"
    path.write_bytes(data)
    samples, _ = decode(path)
    end = speech[-3 * SAMPLE_RATE :]
    lag_s, likeness = lag_and_likeness(end, samples[len(speech) - len(end) - 1_600 :])
    assert likeness > 0.7
    assert lag_s == pytest.approx(0.1, abs=0.15)


def test_damaged_packets_are_counted(
    media_file: MakeFile, tmp_path: Path, decode: Decode, caplog: pytest.LogCaptureFixture
) -> None:
    data = bytearray(media_file("speech.m4a").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4_000] = b"\xff" * 4_000
    path = tmp_path / "damaged.m4a"
    path.write_bytes(data)
    _, decoder = decode(path)
    assert decoder.damaged_packets > 0
    assert f"Skipped {decoder.damaged_packets} damaged packets of damaged.m4a" in caplog.text


def test_full_disk_is_said(media_file: MakeFile, tmp_path: Path) -> None:
    spool = PcmSpool(tmp_path / "audio.pcm")
    spool.path.symlink_to("/dev/full")
    with (
        MediaDecoder.open(media_file("speech.wav"), DecodeLimits()) as decoder,
        pytest.raises(DiskFull, match="no space left"),
    ):
        list(decoder.decode_to(spool))


def test_video_that_appears_after_a_minute_of_sound_does_not_stop_it(
    media_file: MakeFile, tmp_path: Path, speech: Int16, decode: Decode
) -> None:
    """PyAV fails at the end of files in which a stream appears after they were opened."""
    data = media_file("speech.flv").read_bytes()
    header, tags, at = bytearray(data[:13]), [], 13
    while at < len(data):
        size = int.from_bytes(data[at + 1 : at + 4], "big") + 15
        tags.append(data[at : at + size])
        at += size
    header[4] = 0x04  # "sound only"
    sound = b"".join(tag for tag in tags if tag[0] == 8)
    video = b"".join(tag for tag in tags if tag[0] == 9)
    path = tmp_path / "late.flv"
    path.write_bytes(bytes(header) + sound * 8 + video)
    samples, _ = decode(path)
    assert len(samples) == pytest.approx(8 * len(speech), rel=0.01)
