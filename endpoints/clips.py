"""Windows cut to what a server takes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.pcm import PcmSpool
from core.types import SAMPLE_RATE, SpeechSpan, Window
from decoding.clip import Clip, cut_clip

QUIET_S = 0.2
"""Length of the quietest moment that is looked for: a pause between two words."""


def fitted(spool: PcmSpool, window: Window, limit_s: float) -> tuple[Window, ...]:
    """The window, or parts of it of at most ``limit_s`` of audio each, cut where it is quietest."""
    if window.audio_s <= limit_s:
        return (window,)
    clip = cut_clip(spool, window)
    if clip.duration_s <= limit_s:  # the padding of the last window reaches over the end
        return (window,)
    at_s = _quietest(clip, limit_s / 2, limit_s)
    cut_s = clip.to_recording(at_s)
    first = _between(window, window.start_s, cut_s)
    return (first, *fitted(spool, _between(window, cut_s, window.end_s), limit_s))


def _quietest(clip: Clip, first_s: float, last_s: float) -> float:
    size = round(QUIET_S * SAMPLE_RATE)
    energy = np.concatenate(([0.0], np.cumsum(clip.audio.astype(np.float64) ** 2)))
    first, last = round(first_s * SAMPLE_RATE), round(last_s * SAMPLE_RATE)
    sums = energy[first + size : last + 1] - energy[first : last + 1 - size]
    return (first + int(np.argmin(sums)) + size / 2) / SAMPLE_RATE


def _between(window: Window, start_s: float, end_s: float) -> Window:
    return Window(_clipped(window.pieces, start_s, end_s), _clipped(window.spans, start_s, end_s))


def _clipped(spans: Sequence[SpeechSpan], start_s: float, end_s: float) -> tuple[SpeechSpan, ...]:
    return tuple(
        SpeechSpan(max(span.start_s, start_s), min(span.end_s, end_s))
        for span in spans
        if span.start_s < end_s and span.end_s > start_s
    )
