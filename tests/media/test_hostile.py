# ruff: noqa: RUF001 (look-alike and full-width characters are the subject here)
"""The hostile set: each file is refused with a typed error or heard, in bounded memory,
in the real decoder process, and the next recording is fine."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from core.errors import (
    FileMissing,
    InputError,
    MediaLimitExceeded,
    NoAudioTrack,
    SubtitleError,
    UnreadableMedia,
)
from core.logs import one_line
from core.pcm import PcmSpool
from core.types import SAMPLE_RATE
from media.container import DecodeLimits
from media.process import IsolatedProcess, ProcessLimits
from subtitles.sanitize import safe_stem
from tests.media import targets
from tests.media.hostile import (
    Maker,
    adts_bomb,
    aiff,
    caf,
    content,
    flac_comments,
    id3,
    id3_chapters,
    id3_frame,
    id3_texts,
    matroska,
    sparse,
    speech,
    speech_file,
    wav,
)
from tests.waiting import PATIENCE_S


class Outcome(NamedTuple):
    """How the decoding of a file ended, and the memory it took."""

    error: SubtitleError | None
    peak_bytes: int


HEARD = None
"""In place of an error: the file is odd and plays all the same."""

LIMITS = DecodeLimits(max_audio_s=3600.0, max_spool_bytes=128 * 1024**2)
PROCESS_LIMITS = ProcessLimits(stall_s=PATIENCE_S)
MAX_BYTES = 400 * 1024**2

HUGE = 5 * 1024**3

FILES: dict[str, tuple[Maker, type[InputError] | None]] = {
    # lists of other files
    "itself.mp3": (content(b"ffconcat version 1.0\nfile 'itself.mp3'\n"), UnreadableMedia),
    "passwd.wav": (content(b"ffconcat version 1.0\nfile '/etc/passwd'\n"), UnreadableMedia),
    "bare.ffconcat": (content(b"file 'neighbour.wav'\n"), UnreadableMedia),
    "hls.mp3": (content(b"#EXTM3U\n#EXTINF:5,\nneighbour.wav\n"), UnreadableMedia),
    "hls.m3u8": (content(b"#EXTM3U\n#EXTINF:5,\nneighbour.wav\n"), UnreadableMedia),
    "list.pls": (content(b"[playlist]\nFile1=/etc/passwd\n"), UnreadableMedia),
    "list.asx": (content(b'<asx><ref href="neighbour.wav"/></asx>'), UnreadableMedia),
    # not media
    "picture.svg": (content(b'<svg><image href="file:///etc/passwd"/></svg>'), UnreadableMedia),
    "paper.pdf": (content(b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n" * 99), UnreadableMedia),
    "book.epub": (content(b"PK\x03\x04\x14\0\0\0" + bytes(900)), UnreadableMedia),
    "pack.gz": (content(b"\x1f\x8b\x08" + bytes(900)), UnreadableMedia),
    "one.wav": (content(b"R"), UnreadableMedia),
    "riff.wav": (content(b"RIFF\xff\xff\xff\xffWAVE"), UnreadableMedia),
    "ftyp.mp4": (content(b"\0\0\0\x18ftypisom\0\0\2\0isomiso2"), UnreadableMedia),
    "page.ogg": (content(b"OggS\0\2" + bytes(200)), UnreadableMedia),
    # bombs and forged numbers
    "bomb.aac": (adts_bomb(hours=30), MediaLimitExceeded),
    "holes.mka": (matroska(apart_ms=40 * 60_000), MediaLimitExceeded),
    "1Hz.wav": (wav(1), MediaLimitExceeded),
    "0Hz.wav": (wav(0), UnreadableMedia),
    "4GHz.wav": (wav(4_000_000_000), UnreadableMedia),
    "2GHz.wav": (wav(2**31 - 1), MediaLimitExceeded),
    "255.wav": (wav(16_000, 255), MediaLimitExceeded),
    "65535.wav": (wav(16_000, 65_535, size=2_000_000), UnreadableMedia),
    "no-channel.wav": (wav(16_000, 0), UnreadableMedia),
    "no-bits.wav": (wav(16_000, bits=0), UnreadableMedia),
    "wide.wav": (wav(16_000, bits=64, kind=3), HEARD),
    "nan.caf": (caf(float("nan")), UnreadableMedia),
    "infinite.caf": (caf(float("inf")), MediaLimitExceeded),
    "negative.caf": (caf(-16_000.0), UnreadableMedia),
    "endless.aiff": (aiff(b"\x7f\xff" + bytes(8)), UnreadableMedia),
    "slow.mka": (matroska(rate=1.0), MediaLimitExceeded),
    "nan.mka": (matroska(rate=float("nan")), HEARD),
    # metadata
    "one-tag.mp3": (id3(lambda: id3_frame(b"TXXX", b"\0" * 2 + b"A" * 50_000_000)), HEARD),
    "tags.mp3": (id3(id3_texts(5_000)), HEARD),
    "chapters.mp3": (id3(id3_chapters(100_000)), HEARD),
    "chapters.mka": (matroska(chapters=100_000), HEARD),
    "comment.flac": (flac_comments(1, 16_000_000), HEARD),
    "cover.mp3": (
        id3(lambda: id3_frame(b"APIC", b"\0image/png\0\3\0" + bytes(50_000_000))), HEARD),
    # streams
    "streams.mkv": (matroska(tracks=10_000), MediaLimitExceeded),
    "tracks.mkv": (matroska(tracks=300), MediaLimitExceeded),
    "many.mkv": (matroska(tracks=250), HEARD),
    # gigabytes that lie nowhere
    "sparse.bin": (sparse(content(b""), HUGE), UnreadableMedia),
    "sparse.wav": (sparse(wav(16_000, size=0, declared=2**32 - 1), HUGE), MediaLimitExceeded),
    "sparse.flac": (sparse(content(b"fLaC"), HUGE), UnreadableMedia),
    "sparse.m4a": (sparse(speech_file("m4a"), HUGE), HEARD),
    "sparse.opus": (sparse(speech_file("opus"), HUGE), HEARD),
    "sparse.ts": (sparse(speech_file("ts"), HUGE), HEARD),
    "preallocated.wav": (sparse(speech_file("wav"), 20 * 1024**2), HEARD),
    # not regular files
    "passwd.mp3": (lambda path: path.symlink_to("/etc/passwd"), UnreadableMedia),
    "zero.mp3": (lambda path: path.symlink_to("/dev/zero"), UnreadableMedia),
    "random.mp3": (lambda path: path.symlink_to("/dev/urandom"), UnreadableMedia),
    "circle.mp3": (lambda path: path.symlink_to(path), UnreadableMedia),
    "memory.mp3": (lambda path: path.symlink_to("/proc/self/mem"), UnreadableMedia),
    "fifo.mp3": (os.mkfifo, UnreadableMedia),
    "folder.mp3": (Path.mkdir, UnreadableMedia),
}  # fmt: skip


def decode(
    path: Path, limits: DecodeLimits = LIMITS, process_limits: ProcessLimits = PROCESS_LIMITS
) -> Outcome:
    """In a decoder process of its own."""
    spool = PcmSpool(path.parent / f"{one_line(path.name)[:50]}.pcm")
    peak = 0
    error: SubtitleError | None = None
    with IsolatedProcess(
        targets.decode_and_measure, path, spool, limits, limits=process_limits
    ) as process:
        try:
            for message in process.messages():
                assert isinstance(message, int)
                peak = message
        except SubtitleError as caught:
            error = caught
    if error is None:
        assert 0 < spool.samples() / SAMPLE_RATE <= limits.max_audio_s
    spool.path.unlink(missing_ok=True)
    return Outcome(error, peak)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """Every file in a process of its own, two at a time, good ones strewn in."""
    folder = tmp_path_factory.mktemp("hostile")
    for kind in ("wav", "mp3", "m4a", "opus", "ts"):
        speech(kind, folder)

    makers = {name: make for name, (make, _) in FILES.items()}
    for number in range(5):
        makers[f"good-{number}.wav"] = speech_file("wav")
    names = sorted(makers, key=lambda name: random.Random(name).random())

    def one(name: str) -> Outcome:
        path = folder / name
        makers[name](path)
        outcome = decode(path)
        if path.is_file():
            path.unlink()
        return outcome

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(names, pool.map(one, names), strict=True))


@pytest.mark.parametrize("name", FILES)
def test_hostile_file_is_refused_or_heard_within_bounds(
    name: str, outcomes: dict[str, Outcome]
) -> None:
    error, peak = outcomes[name]
    assert type(error) is (FILES[name][1] or type(None)), error
    assert 0 < peak < MAX_BYTES
    if error is not None:
        assert error.hint
        assert "hostile" not in error.explain()  # strangers need not know our folders


def test_recordings_between_hostile_ones_are_fine(outcomes: dict[str, Outcome]) -> None:
    good = [outcome for name, outcome in outcomes.items() if name.startswith("good-")]
    assert len(good) == 5
    assert all(outcome.error is None for outcome in good)


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3", "m4a", "opus", "mka", "ts", "wma", "amr"])
def test_file_cut_off_anywhere_is_a_result_or_a_typed_error(kind: str, tmp_path: Path) -> None:
    whole = speech(kind, tmp_path)
    sizes = [1, 4, 12, 44, 100, len(whole) // 3, len(whole) - 100, len(whole) - 1]
    path = tmp_path / f"cut.{kind}"
    heard = 0
    for size in sizes:
        path.write_bytes(whole[:size])
        error = targets.error_of(path, PcmSpool(tmp_path / "audio.pcm"), LIMITS)
        heard += error is None
        assert isinstance(error, UnreadableMedia | NoAudioTrack | None)
    assert heard or kind == "m4a"  # its index stands at the end


def test_what_libavformat_does_for_hours_is_stopped(tmp_path: Path) -> None:
    """Its dictionaries take quadratic time, and none of its limits counts entries."""
    path = tmp_path / "tags.mp3"
    id3(id3_texts(1_000_000))(path)
    error = decode(path, process_limits=ProcessLimits(stall_s=2.0)).error
    assert isinstance(error, UnreadableMedia)
    assert "no progress" in str(error)


def test_garbage_that_a_parser_collects_stops_at_the_memory_limit(tmp_path: Path) -> None:
    """After its last frame the parser keeps everything until a next one begins."""
    path = tmp_path / "sparse.mp3"
    sparse(speech_file("mp3"), 600 * 1024**2)(path)
    error, peak = decode(path, process_limits=ProcessLimits(memory_bytes=256 * 1024**2))
    assert error is None or isinstance(error, MediaLimitExceeded)
    assert 200 * 1024**2 < peak < MAX_BYTES


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def test_no_file_makes_the_decoder_call_somebody(tmp_path: Path, listener: socket.socket) -> None:
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    url = f"http://{address}/x.wav"
    calls = {
        "concat.mp3": f"ffconcat version 1.0\nfile '{url}'\n",
        "hls.mp3": f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{url}\n#EXT-X-ENDLIST\n",
        "key.m3u8": f'#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="{url}"\n#EXTINF:5,\nx.ts\n',
        "list.pls": f"[playlist]\nFile1={url}\n",
        "list.asx": f'<asx version="3.0"><entry><ref href="{url}"/></entry></asx>',
        "dash.mpd": f'<?xml version="1.0"?><MPD><BaseURL>{url}</BaseURL></MPD>',
        "stream.sdp": f"v=0\nc=IN IP4 127.0.0.1\nm=audio {address.split(':')[1]} RTP/AVP 0\n",
        "old.mov": f"RTSPtext\nrtsp://{address}/x.mov\n",
        "real.ram": f"rtsp://{address}/x.rm\n",
    }
    for name, text in calls.items():
        (tmp_path / name).write_text(text)
    for error in errors_of([tmp_path / name for name in calls], tmp_path):
        assert isinstance(error, UnreadableMedia)
    names = (url, f"tcp://{address}", f"async:{url}", f"cache:{url}", f"concat:{url}|{url}")
    for error in errors_of([Path(name) for name in names], tmp_path):
        assert isinstance(error, FileMissing)
    with pytest.raises(BlockingIOError):
        listener.accept()


NAMES = (
    "../../up.wav",
    "-rf.wav",
    "--help",
    "a\nb\r2026-01-01T00:00:00Z ERROR forged.wav",
    "\x1b]0;title\x07\x1b[2J.wav",
    "\u202egnp.wav",
    "\u2066hidden\u2069.wav",
    "x" * 251 + ".wav",
    "会" * 83 + ".wav",
    "CON",
    "NUL.wav",
    "...",
    " . ",
    "🎬👩‍👩‍👧.wav",
    "\udcff\udc80.wav",
    "%s%n%d{0}$HOME`id`;.wav",
    "concat:a|b.wav",
    "<script>alert(1)</script>.wav".replace("/", "∕"),
    '"quoted".wav',
    "=HYPERLINK(1).wav",
)


def test_strange_names_are_names(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    paths = [folder / name for name in NAMES]
    for path in paths:
        path.write_bytes(speech("wav", tmp_path))
    assert errors_of(paths, tmp_path) == [None] * len(paths)
    for path in paths:
        path.write_bytes(b"no recording")
    for error in errors_of(paths, tmp_path):
        assert_harmless(error)


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_subtitles_of_a_strange_name_stay_in_their_folder(name: str, tmp_path: Path) -> None:
    stem = safe_stem(name)
    assert stem
    path = tmp_path / f"{stem}.zh-Hant.json"
    assert path.resolve().parent == tmp_path.resolve()
    path.write_bytes(b"")
    assert_printable(path.name)


def test_names_that_no_file_can_have_are_typed_errors(tmp_path: Path) -> None:
    names = ["x" * 300 + ".wav", "a\0b.wav", "gone\n.wav", "passwd/x.wav", ""]
    paths = [Path(base, name) for name in names for base in (tmp_path, "/etc/passwd")]
    for error in errors_of(paths, tmp_path):
        assert_harmless(error)


def errors_of(paths: list[Path], folder: Path) -> list[SubtitleError | None]:
    """Decoded one after the other in one process; None: heard."""
    spool = PcmSpool(folder / "audio.pcm")
    with IsolatedProcess(targets.errors_of, paths, spool, LIMITS, limits=PROCESS_LIMITS) as process:
        assert list(process.messages()) == paths
        return process.result


def assert_harmless(error: SubtitleError | None) -> None:
    """Fit for a terminal, a page, a JSON answer and a database column."""
    assert isinstance(error, FileMissing | UnreadableMedia)
    assert_printable(error.explain())
    assert len(error.explain()) < 320


def assert_printable(text: str) -> None:
    assert text == one_line(text)
    assert text.encode()
