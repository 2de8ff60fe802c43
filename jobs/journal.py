"""The segment journal: what a job has finished survives the death of the service.

A segment is known again by its key, a hash of everything that decides its text: its audio, its
windows, the model, the options and the version of the decoding. A segment whose key differs is
decoded anew, so a journal can be old or foreign but never wrong.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from functools import partial
from pathlib import Path

from core.journal import Recorded
from core.pcm import PcmSpool
from core.types import SAMPLE_RATE, AudioSegment, DecodeOptions, ModelSpec
from decoding.version import DECODING_VERSION
from jobs.outbox import Outbox
from jobs.records import dump, load
from jobs.store import JobStore

log = logging.getLogger(__name__)

KEY_VERSION = 1
"""Raise it when what the key is made of changes."""


class SegmentJournal:
    """One run's view of its job's journal; ``core.journal.Journal`` describes the calls.

    Args:
        options: as the job was submitted. The language that was then detected is not among them:
            it follows from the audio, and a resumed job is given it.
    """

    def __init__(
        self,
        store: JobStore,
        outbox: Outbox,
        job_id: str,
        model: ModelSpec,
        options: DecodeOptions,
    ) -> None:
        self._store = store
        self._outbox = outbox
        self._job_id = job_id
        self._base = _identity(model, options)
        self._known = store.segments(job_id)
        self._keys: dict[int, str] = {}

    @property
    def size(self) -> int:
        """Segments an earlier run left."""
        return len(self._known)

    def recall(self, segment: AudioSegment, spool: PcmSpool) -> Recorded | None:
        key = self._key(segment, spool)
        self._keys[segment.index] = key
        known_key, payload = self._known.pop(segment.index, ("", ""))
        if known_key != key:
            return None
        try:
            return load(Recorded, payload)
        except ValueError as error:
            log.warning(
                "The journal's %s cannot be read and is decoded again: %s", segment.name, error
            )
            return None

    def keep(self, index: int, recorded: Recorded) -> None:
        self._outbox.put(
            partial(
                self._store.record_segment,
                self._job_id,
                index,
                self._keys.pop(index),
                dump(recorded),
            )
        )

    def _key(self, segment: AudioSegment, spool: PcmSpool) -> str:
        digest = hashlib.sha256(self._base)
        digest.update(dump(segment).encode())
        for window in segment.windows:
            for piece in window.pieces:
                pcm = spool.read_int16(
                    round(piece.start_s * SAMPLE_RATE), round(piece.end_s * SAMPLE_RATE)
                )
                digest.update(pcm.tobytes())
        return digest.hexdigest()


def _identity(model: ModelSpec, options: DecodeOptions) -> bytes:
    """What is the same for all segments of a job."""
    weights = Path(model.path) / "model.bin"
    parts = (
        KEY_VERSION,
        DECODING_VERSION,
        # The folder may move and be installed anew; the weights' size tells models apart.
        (model.name, model.compute_type, model.device),
        weights.stat().st_size if weights.is_file() else 0,
        # A segment's text does not depend on what shares its batch (tests/decoding).
        dump(replace(options, batch_size=1)),
    )
    return repr(parts).encode()
