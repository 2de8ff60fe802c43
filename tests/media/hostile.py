"""Files made to hurt: bombs, forged numbers, lists of other files, endless metadata.

Each maker writes one file. They are written byte by byte, because no encoder would.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path

from tests.media.containers import RECIPES, SPEECH, Track, read_speech, write_media

Maker = Callable[[Path], object]


def content(data: bytes) -> Maker:
    return lambda path: path.write_bytes(data)


def wav(
    rate: int,
    channels: int = 1,
    *,
    bits: int = 16,
    size: int = 200_000,
    kind: int = 1,
    declared: int | None = None,
) -> Maker:
    """A WAV whose header claims this, over ``size`` bytes of silence."""

    def write(path: Path) -> None:
        step = channels * bits // 8
        layout = struct.pack(
            "<IHHIIHH", 16, kind, channels, rate, rate * step % 2**32, step % 2**16, bits
        )
        body = (
            b"WAVEfmt "
            + layout
            + b"data"
            + struct.pack("<I", size if declared is None else declared)
        )
        body += bytes(size)
        path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)

    return write


def aiff(rate: bytes) -> Maker:
    """``rate`` is the 80-bit float of the header."""

    def write(path: Path) -> None:
        samples = bytes(20_000)
        common = b"COMM" + struct.pack(">IHIH", 18, 1, len(samples) // 2, 16) + rate
        sound = b"SSND" + struct.pack(">III", len(samples) + 8, 0, 0) + samples
        body = b"AIFF" + common + sound
        path.write_bytes(b"FORM" + struct.pack(">I", len(body)) + body)

    return write


def caf(rate: float) -> Maker:
    def write(path: Path) -> None:
        samples = bytes(20_000)
        layout = struct.pack(">d4sIIIII", rate, b"lpcm", 0, 2, 1, 1, 16)
        path.write_bytes(
            b"caff\0\1\0\0desc" + struct.pack(">Q", len(layout)) + layout
            + b"data" + struct.pack(">Q", len(samples) + 4) + bytes(4) + samples
        )  # fmt: skip

    return write


def _ebml(name: str, body: bytes) -> bytes:
    return bytes.fromhex(name) + (0x01 << 56 | len(body)).to_bytes(8, "big") + body


def matroska(
    *, tracks: int = 1, rate: float = 16_000.0, chapters: int = 0, apart_ms: int = 100
) -> Maker:
    """PCM in Matroska: 20 blocks of 0.1 s in the first track, ``apart_ms`` from one to the next,
    and as long as that takes by its own account."""

    def track(number: int) -> bytes:
        audio = _ebml("b5", struct.pack(">f", rate)) + _ebml("9f", b"\1") + _ebml("6264", b"\x10")
        return _ebml(
            "ae",
            _ebml("d7", number.to_bytes(3, "big")) + _ebml("73c5", number.to_bytes(3, "big"))
            + _ebml("83", b"\2") + _ebml("86", b"A_PCM/INT/LIT") + _ebml("e1", audio),
        )  # fmt: skip

    def chapter(number: int) -> bytes:
        start = _ebml("91", (number * 1000).to_bytes(6, "big"))
        title = _ebml("80", _ebml("85", f"Chapter {number}".encode()))
        return _ebml("b6", _ebml("73c4", number.to_bytes(4, "big")) + start + title)

    def cluster(number: int) -> bytes:
        time = _ebml("e7", (number * apart_ms).to_bytes(6, "big"))
        return _ebml("1f43b675", time + _ebml("a3", b"\x81\0\0\x80" + b"\1\0" * 1600))

    def write(path: Path) -> None:
        length = _ebml("4489", struct.pack(">d", 20.0 * apart_ms))
        info = _ebml("1549a966", _ebml("2ad7b1", (1_000_000).to_bytes(3, "big")) + length)
        all_tracks = _ebml("1654ae6b", b"".join(track(1 + i) for i in range(tracks)))
        marks = _ebml("1043a770", _ebml("45b9", b"".join(map(chapter, range(1, 1 + chapters)))))
        sound = b"".join(cluster(i) for i in range(20))
        segment = info + all_tracks + (marks if chapters else b"") + sound
        path.write_bytes(_ebml("1a45dfa3", _ebml("4282", b"matroska")) + _ebml("18538067", segment))

    return write


@cache
def speech(kind: str, folder: Path) -> bytes:
    """The first two seconds of the clip, in that container."""
    track = Track([(0.0, read_speech()[:32_000])])
    return write_media(folder / f"base.{kind}", [track], RECIPES[kind]).read_bytes()


def id3(frames: Callable[[], bytes]) -> Maker:
    """Speech as MP3 behind an ID3v2 tag of these frames."""

    def write(path: Path) -> None:
        body = frames()
        size = bytes(len(body) >> shift & 0x7F for shift in (21, 14, 7, 0))
        path.write_bytes(b"ID3\x03\0\0" + size + body + speech("mp3", path.parent))

    return write


def id3_frame(name: bytes, body: bytes) -> bytes:
    return name + struct.pack(">I", len(body)) + b"\0\0" + body


def id3_texts(count: int) -> Callable[[], bytes]:
    return lambda: b"".join(id3_frame(b"TXXX", b"\0key %06d\0text" % i) for i in range(count))


def id3_chapters(count: int) -> Callable[[], bytes]:
    times = struct.pack(">IIII", 0, 1000, 2**32 - 1, 2**32 - 1)
    return lambda: b"".join(id3_frame(b"CHAP", b"c%06d\0" % i + times) for i in range(count))


def flac_comments(count: int, size: int) -> Maker:
    """Speech as FLAC whose only metadata are ``count`` comments of ``size`` bytes."""

    def write(path: Path) -> None:
        flac = SPEECH.read_bytes()
        at, last = 4, False
        while not last:
            last = bool(flac[at] & 0x80)
            at += 4 + int.from_bytes(flac[at + 1 : at + 4], "big")
        texts = (b"KEY%06d=" % i + b"v" * size for i in range(count))
        body = struct.pack("<II", 0, count)
        body += b"".join(struct.pack("<I", len(text)) + text for text in texts)
        info = b"\0" + flac[5:42]
        path.write_bytes(b"fLaC" + info + b"\x84" + len(body).to_bytes(3, "big") + body + flac[at:])

    return write


def speech_file(kind: str) -> Maker:
    return lambda path: path.write_bytes(speech(kind, path.parent))


def sparse(head: Maker, size: int) -> Maker:
    """A beginning, and then nothing but a hole in the file system."""

    def write(path: Path) -> None:
        head(path)
        with path.open("r+b") as file:
            file.truncate(size)

    return write


def adts_bomb(hours: float) -> Maker:
    """Silence as bare AAC at 8 kHz: the same few bytes over and over."""
    frame = bytes.fromhex("fff16c40017ffc01182007")  # header and one silent frame
    return lambda path: path.write_bytes(frame * round(hours * 3600 * 8000 / 1024))
