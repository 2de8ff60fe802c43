"""A window as the model gets it: packed audio, and the clock that leads back to the recording."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np

from core.pcm import Float32, PcmSpool
from core.types import SAMPLE_RATE, SpeechSpan, Window


@dataclass(frozen=True, slots=True)
class Clip:
    """Audio of a window with its silences cut out. Times ``clip_s`` count from its first sample."""

    audio: Float32
    """Float32 in [-1, 1), shape (samples,), at most 30 s."""
    spans: tuple[SpeechSpan, ...]
    """The window's speech on the clip's clock."""
    offsets: tuple[float, ...]
    """Where each piece begins on the clip's clock, ascending from 0."""
    pieces: tuple[SpeechSpan, ...]
    """The pieces on the recording's clock."""

    @property
    def duration_s(self) -> float:
        return len(self.audio) / SAMPLE_RATE

    def piece_at(self, clip_s: float) -> int:
        """Index of the piece that holds this moment."""
        return max(0, bisect_right(self.offsets, clip_s) - 1)

    def to_recording(self, clip_s: float, piece: int | None = None) -> float:
        """The recording's time of a moment, held inside ``piece`` (default: the one it is in)."""
        index = self.piece_at(clip_s) if piece is None else piece
        bounds = self.pieces[index]
        time_s = bounds.start_s + clip_s - self.offsets[index]
        return min(max(time_s, bounds.start_s), bounds.end_s)

    def to_clip(self, recording_s: float) -> float:
        """The clip's time of a moment; one that was cut out is the seam it vanished into."""
        for offset_s, piece in zip(reversed(self.offsets), reversed(self.pieces), strict=True):
            if recording_s >= piece.start_s:
                return offset_s + min(recording_s, piece.end_s) - piece.start_s
        return 0.0


def cut_clip(spool: PcmSpool, window: Window) -> Clip:
    """Read a window's pieces from the spool and put them end to end."""
    parts = [spool.read(piece.start_s, piece.end_s) for piece in window.pieces]
    lengths = [len(part) / SAMPLE_RATE for part in parts]
    offsets = tuple(float(sum(lengths[:i])) for i in range(len(lengths)))
    silent = Clip(np.concatenate(parts), (), offsets, window.pieces)
    spans = tuple(
        SpeechSpan(silent.to_clip(span.start_s), silent.to_clip(span.end_s))
        for span in window.spans
    )
    return Clip(silent.audio, spans, offsets, window.pieces)
