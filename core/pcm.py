"""The job's audio on disk: 16 kHz mono int16, written by one process, read by all.

A plain file grows block by block; readers in other processes see every whole sample that has
been written. Nothing holds the recording in memory, so a 10-hour file costs what a short one does.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from core.types import SAMPLE_RATE

BYTES_PER_SAMPLE = 2

Int16 = npt.NDArray[np.int16]
Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class PcmSpool:
    """Handle of a spool file. Cheap to pickle: it is only the path."""

    path: Path

    def samples(self) -> int:
        """Whole samples written so far."""
        return self.path.stat().st_size // BYTES_PER_SAMPLE

    def read_int16(self, start: int, stop: int) -> Int16:
        """Samples ``[start, stop)``, shorter where the file ends before ``stop``."""
        start = max(0, start)
        count = max(0, stop - start)
        with self.path.open("rb") as file:
            file.seek(start * BYTES_PER_SAMPLE)
            data = file.read(count * BYTES_PER_SAMPLE)
        return np.frombuffer(data[: len(data) // BYTES_PER_SAMPLE * BYTES_PER_SAMPLE], np.int16)

    def read(self, start_s: float, end_s: float) -> Float32:
        """Audio between two times as float32 in [-1, 1), the range Whisper was trained on."""
        pcm = self.read_int16(round(start_s * SAMPLE_RATE), round(end_s * SAMPLE_RATE))
        return pcm.astype(np.float32) / 32768.0
