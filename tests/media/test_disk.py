"""A recording too large for the disk: said in words, before others find no room to write."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import DiskFull
from core.pcm import PcmSpool
from core.settings import Settings
from media.container import DecodeLimits
from media.process import IsolatedProcess
from media.spool import CHECK_DISK_BYTES
from tests.media import targets
from tests.media.hostile import wav

MIB = 1024**2


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 MB of samples."""
    path = tmp_path_factory.mktemp("disk") / "long.wav"
    wav(16_000, size=20 * MIB)(path)
    return path


def decode(path: Path, spool: PcmSpool, min_free_bytes: int) -> int:
    limits = DecodeLimits(min_free_bytes=min_free_bytes)
    with IsolatedProcess(targets.decode, path, spool, limits) as process:
        for _ in process.messages():
            pass
        return process.result


def free_bytes(folder: Path) -> int:
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def test_spool_stops_while_there_is_still_room_for_others(long: Path, small_disk: Path) -> None:
    spool = PcmSpool(small_disk / "audio.pcm")
    with pytest.raises(DiskFull, match="less than 5 MiB of the disk free") as caught:
        decode(long, spool, 5 * MIB)
    assert caught.value.hint
    assert 5 * MIB <= free_bytes(small_disk) < 6 * MIB


def test_others_filling_the_disk_are_noticed_while_decoding(
    long: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = PcmSpool(small_disk / "audio.pcm")
    looks: list[int] = []
    statvfs: Callable[[int], os.statvfs_result] = os.fstatvfs

    def look(descriptor: int) -> os.statvfs_result:
        looks.append(spool.path.stat().st_size)
        if len(looks) == 2:
            (small_disk / "of-another").write_bytes(bytes(9 * MIB))
        return statvfs(descriptor)

    monkeypatch.setattr(os, "fstatvfs", look)
    error = targets.error_of(long, spool, DecodeLimits(min_free_bytes=MIB))
    assert isinstance(error, DiskFull)
    assert looks[0] == 0
    assert CHECK_DISK_BYTES <= looks[1] < CHECK_DISK_BYTES + MIB
    assert free_bytes(small_disk) >= MIB


def test_disk_without_room_is_refused_before_the_first_block(long: Path, small_disk: Path) -> None:
    spool = PcmSpool(small_disk / "audio.pcm")
    with pytest.raises(DiskFull):
        decode(long, spool, 17 * MIB)
    assert spool.samples() == 0


def test_full_disk_is_said_where_nothing_is_kept_free(long: Path, small_disk: Path) -> None:
    spool = PcmSpool(small_disk / "audio.pcm")
    with pytest.raises(DiskFull, match="no space left"):
        decode(long, spool, 0)
    spool.path.unlink()
    assert decode(long, PcmSpool(long.with_suffix(".pcm")), MIB) == 10 * MIB


def test_limits_are_those_of_the_settings() -> None:
    limits = DecodeLimits.of(Settings(min_free_mib=7, max_audio_hours=0.5))
    assert (limits.min_free_bytes, limits.max_audio_s) == (7 * MIB, 1800.0)
