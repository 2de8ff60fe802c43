"""What a finished segment is recognised by, a hash of everything that decides its text; and how it
is read.

The key covers its audio, its windows, the model, the options and the version of the decoding. A
segment whose key differs is decoded again, so what was kept can be old or foreign but never wrong.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

from core.endpoints import LOCAL
from core.events import SegmentEnd
from core.pcm import PcmSpool
from core.types import SAMPLE_RATE, AudioSegment, DecodeOptions, ModelSpec, PlanOptions
from decoding.version import DECODING_VERSION
from jobs.records import dump

KEY_VERSION = 1
"""Raise it when what the key is made of changes."""

BLOCK_BYTES = 1024 * 1024


def _as_written_now(kept: Any) -> Any:
    """Before, an entry held either end and the report side by side."""
    if isinstance(kept, dict) and "finished" in kept:
        finished, failed = kept["finished"], kept.get("failed")
        if isinstance(finished, dict):
            return {**finished, "report": kept.get("report")}
        return failed
    return kept


KEPT_SEGMENT: Any = Annotated[SegmentEnd, BeforeValidator(_as_written_now)]
"""For ``jobs.records.load``: a ``SegmentEnd``, also as earlier versions wrote it."""


class SegmentKeys:
    """Keys of one run, in hexadecimal digits.

    Args:
        options: as they were asked for. The language that was then detected is not among them: it
            follows from the audio, and a run that goes on is given it.
        where: of the job. What endpoints may have decoded is not mixed with what this machine
            decodes; nobody here knows which model a server had on the day.
    """

    def __init__(self, model: ModelSpec, options: DecodeOptions, where: str = LOCAL) -> None:
        weights = Path(model.path) / "model.bin"
        parts = (
            KEY_VERSION,
            DECODING_VERSION,
            # The folder may move and be installed again; the weights' size tells models apart.
            (model.name, model.compute_type, model.device),
            weights.stat().st_size if weights.is_file() else 0,
            # A segment's text does not depend on what shares its batch (tests/decoding).
            dump(replace(options, batch_size=1)),
            *(() if where == LOCAL else (where,)),
        )
        self._base = repr(parts).encode()

    def of_segment(self, segment: AudioSegment, spool: PcmSpool) -> str:
        """The segment's audio must be in the spool."""
        digest = hashlib.sha256(self._base)
        digest.update(dump(segment).encode())
        for window in segment.windows:
            for piece in window.pieces:
                pcm = spool.read_int16(
                    round(piece.start_s * SAMPLE_RATE), round(piece.end_s * SAMPLE_RATE)
                )
                digest.update(pcm.tobytes())
        return digest.hexdigest()

    def of_recording(
        self, path: Path, plan: PlanOptions, audio_track: int | None, check: Callable[[], None]
    ) -> str:
        """For what is decided once for a file, before any of it is decoded.

        ``check`` is called now and then while the file is read, and may raise. Raises OSError.
        """
        digest = hashlib.sha256(self._base)
        digest.update(repr((dump(plan), audio_track)).encode())
        with path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                check()
                digest.update(block)
        return digest.hexdigest()
