"""The audio of a task on its way to another machine: what its windows cover, and no more.

On the node it is an anonymous file in memory with the same samples at the same places, so that the
worker there reads it as it reads the job's spool here.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from core.pcm import BYTES_PER_SAMPLE, PcmSpool
from core.types import SAMPLE_RATE
from workers.messages import Decode

Part = tuple[int, bytes]
"""The first sample's place in the recording, and int16 samples; 30 s are 960,000 bytes."""


def cut(task: Decode) -> tuple[Part, ...]:
    """What the task's windows cover, in order and each sample once. Raises OSError: the recording
    is gone."""
    windows = [window for segment in task.segments for window in segment.windows]
    windows += task.language_windows
    ranges = sorted(
        (round(piece.start_s * SAMPLE_RATE), round(piece.end_s * SAMPLE_RATE))
        for window in windows
        for piece in window.pieces
    )
    parts: list[Part] = []
    sent = 0
    for start, stop in ranges:
        start = max(start, sent)
        if start < stop:
            parts.append((start, task.spool.read_int16(start, stop).tobytes()))
            sent = stop
    return tuple(parts)


@dataclass(slots=True)
class HeldAudio:
    """The audio of one task, on the node."""

    descriptor: int

    @classmethod
    def of(cls, parts: tuple[Part, ...]) -> HeldAudio:
        held = cls(os.memfd_create("segment"))
        for start, samples in parts:
            os.pwrite(held.descriptor, samples, start * BYTES_PER_SAMPLE)
        return held

    def placed_in(self, task: Decode) -> Decode:
        """The task, reading this instead of a file that is not here."""
        path = Path(f"/proc/{os.getpid()}/fd/{self.descriptor}")
        return replace(task, spool=PcmSpool(path))

    def free(self) -> None:
        os.close(self.descriptor)
