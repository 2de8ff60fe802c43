"""What decoding gives, whoever decodes: parts and words on a clip's clock, and windows' results.

Apart from the model, so that a worker whose model runs on another machine does not load one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from core.errors import SubtitleError
from core.pcm import PcmSpool
from core.types import SpeechSpan, TranscriptSegment, Window


@dataclass(frozen=True, slots=True)
class Part:
    """A sentence or so between two timestamps the model set, on the clip's clock."""

    start_s: float
    end_s: float
    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class AlignedWord:
    """A word on the clip's clock; ``part`` is the index of the part it was decoded in."""

    text: str
    start_s: float
    end_s: float
    probability: float
    part: int


@dataclass(frozen=True, slots=True)
class WindowResult:
    """What a window gave. Without its encoder output, which must not outlive the batch."""

    segments: list[TranscriptSegment]
    leftover: tuple[SpeechSpan, ...]
    """Speech without words, on the recording's clock."""
    redecoded: bool


class WindowDecoder(Protocol):
    """Decodes windows with one set of options."""

    def decode(
        self, spool: PcmSpool, windows: Sequence[Window]
    ) -> Sequence[WindowResult | SubtitleError]:
        """Decode windows as one batch, in their order. The error of one window ends its segment
        and no other; an exception ends all of the batch.

        Raises:
            Cancelled: the task was cancelled between two passes.
        """
