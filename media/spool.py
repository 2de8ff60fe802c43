"""The writing end of the PCM spool: blocks of even size, counted against the limits."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator

import numpy as np

from core.errors import DiskFull, MediaLimitExceeded
from core.files import disk_is_full
from core.pcm import BYTES_PER_SAMPLE, Int16, PcmSpool
from core.types import SAMPLE_RATE
from media.container import DecodeLimits

CHECK_DISK_BYTES = 4 * 1024**2
"""Most that is written between two checks of the free space: two minutes of audio."""


class SpoolWriter:
    """Owns the spool file while it grows. Unbuffered: a written block is visible to readers."""

    def __init__(self, spool: PcmSpool, limits: DecodeLimits, block_samples: int) -> None:
        self.samples = 0
        """Samples in the file."""
        self.received = 0
        """Samples taken in, those still waiting for a full block included."""
        self._block_samples = block_samples
        self._limits = limits
        self._pieces: list[Int16] = []
        self._look_at_disk_bytes = 0
        try:
            self._file = spool.path.open("wb", buffering=0)
        except OSError as error:
            raise _translated(error) from error

    def close(self) -> None:
        self._file.close()

    def write(self, pieces: Iterable[Int16]) -> Iterator[Int16]:
        """Write everything in ``pieces``; yield each block after it has been written."""
        for piece in pieces:
            self.received += len(piece)
            self._pieces.append(piece)
            if self.received - self.samples >= self._block_samples:
                yield self._write_block()
        if self._pieces:
            yield self._write_block()

    def _write_block(self) -> Int16:
        block = np.concatenate(self._pieces)
        self._pieces.clear()
        self._check_limits(self.samples + len(block))
        self._check_disk(block.nbytes)
        left = block.data.cast("B")
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            raise _translated(error) from error
        self.samples += len(block)
        return block

    def _check_limits(self, samples: int) -> None:
        if samples > self._limits.max_audio_s * SAMPLE_RATE:
            raise MediaLimitExceeded(
                f"The recording is longer than {_readable(self._limits.max_audio_s)}."
            )
        if samples * BYTES_PER_SAMPLE > self._limits.max_spool_bytes:
            raise MediaLimitExceeded(
                "The decoded recording is larger than"
                f" {self._limits.max_spool_bytes / 1024**2:.0f} MiB."
            )

    def _check_disk(self, coming_bytes: int) -> None:
        """Stop while others can still write: a database that meets a full disk loses more."""
        written = self.samples * BYTES_PER_SAMPLE
        if not self._limits.min_free_bytes or written < self._look_at_disk_bytes:
            return
        disk = os.fstatvfs(self._file.fileno())
        room = disk.f_bavail * disk.f_frsize - coming_bytes - self._limits.min_free_bytes
        # File systems without a size of their own say 0 of 0.
        if disk.f_blocks and room < 0:
            raise DiskFull(
                "The decoded audio would leave less than"
                f" {self._limits.min_free_bytes / 1024**2:.0f} MiB of the disk free."
            )
        self._look_at_disk_bytes = written + min(CHECK_DISK_BYTES, max(0, room))


def _readable(seconds: float) -> str:
    return f"{seconds / 3600:g} hours" if seconds >= 3600 else f"{seconds:g} seconds"


def _translated(error: OSError) -> Exception:
    if disk_is_full(error) or error.errno == errno.EFBIG:
        return DiskFull("There is no space left for the decoded audio.")
    return error
