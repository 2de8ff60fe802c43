"""Shared by the media tests: the clip and where decoded audio goes."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.pcm import Int16, PcmSpool
from media.container import DecodeLimits
from media.decoder import MediaDecoder
from tests.media.containers import SPEECH, make_container, read_speech

Decode = Callable[..., tuple[Int16, MediaDecoder]]
MakeFile = Callable[[str], Path]


@pytest.fixture(scope="session")
def speech() -> Int16:
    return read_speech()


@pytest.fixture(scope="session")
def media_file(tmp_path_factory: pytest.TempPathFactory) -> MakeFile:
    """``media_file("speech.webm")``: the clip in that container, made once."""
    folder = tmp_path_factory.mktemp("containers")

    def make(name: str) -> Path:
        target = folder / name
        return target if target.exists() else make_container(SPEECH, target)

    return make


@pytest.fixture
def spool(tmp_path: Path) -> PcmSpool:
    return PcmSpool(tmp_path / "audio.pcm")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MB; skips where one cannot be mounted."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(path)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no right to mount a small file system here")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.fixture
def decode(spool: PcmSpool) -> Decode:
    """Decode in this process; gives the spool's samples and the decoder."""

    def run(
        path: Path, limits: DecodeLimits | None = None, audio_track: int | None = None
    ) -> tuple[Int16, MediaDecoder]:
        with MediaDecoder.open(path, limits or DecodeLimits(), audio_track=audio_track) as decoder:
            for _ in decoder.decode_to(spool):
                pass
            return spool.read_int16(0, spool.samples()), decoder

    return run
