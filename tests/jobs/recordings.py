"""Recordings made of the clips in tests/data, and a disk too small for most of them."""

from __future__ import annotations

import shutil
import subprocess
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile

from core.types import SAMPLE_RATE

CLIPS = Path(__file__).resolve().parent.parent / "data" / "ljspeech"
SHORT = CLIPS / "LJ001-0002.flac"
"""1.9 s."""

SHORT_TEXT = "in being comparatively modern."


def joined(path: Path, times: int = 1, clips: int | None = None) -> Path:
    """All clips, or the first of them, with pauses between, so many times: about a minute each."""
    files = sorted(CLIPS.glob("*.flac"))[:clips]
    sounds = [soundfile.read(file, dtype="int16")[0] for file in files]
    pause = np.zeros(SAMPLE_RATE // 2, np.int16)
    parts = [part for sound in sounds * times for part in (sound, pause)]
    return write_wav(path, np.concatenate(parts))


def silence(path: Path, seconds: float = 3.0) -> Path:
    return write_wav(path, np.zeros(round(seconds * SAMPLE_RATE), np.int16))


def cut_off(path: Path, seconds: float) -> Path:
    """Speech whose header promises a minute and whose data ends earlier."""
    whole = joined(path)
    whole.write_bytes(whole.read_bytes()[: 44 + round(seconds * SAMPLE_RATE) * 2])
    return whole


def write_wav(path: Path, samples: np.ndarray[tuple[int], np.dtype[np.int16]]) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(samples.astype("<i2").tobytes())
    return path


@contextmanager
def small_disk(path: Path, mib: int = 1) -> Iterator[Path]:
    """A file system of so many MiB; skips where one cannot be mounted."""
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(path)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no right to mount a small file system here")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)
