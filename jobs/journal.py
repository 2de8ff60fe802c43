"""The segment journal: what a job has finished survives the death of the service."""

from __future__ import annotations

import logging
from functools import partial

from core.endpoints import LOCAL
from core.events import SegmentEnd
from core.pcm import PcmSpool
from core.types import AudioSegment, DecodeOptions, ModelSpec
from jobs.outbox import Outbox
from jobs.records import dump, load
from jobs.segment_keys import KEPT_SEGMENT, SegmentKeys
from jobs.store import JobStore

log = logging.getLogger(__name__)


class SegmentJournal:
    """One run's view of its job's journal; ``transcription_run.Journal`` describes the calls.

    ``options`` are those that were submitted (see ``jobs.segment_keys.SegmentKeys``).
    """

    def __init__(
        self,
        store: JobStore,
        outbox: Outbox,
        job_id: str,
        model: ModelSpec,
        options: DecodeOptions,
        where: str = LOCAL,
    ) -> None:
        self._store = store
        self._outbox = outbox
        self._job_id = job_id
        self._segment_keys = SegmentKeys(model, options, where)
        self._known = store.segments(job_id)
        self._keys: dict[int, str] = {}

    @property
    def size(self) -> int:
        """Segments an earlier run left."""
        return len(self._known)

    def recall(self, segment: AudioSegment, spool: PcmSpool) -> SegmentEnd | None:
        key = self._segment_keys.of_segment(segment, spool)
        self._keys[segment.index] = key
        known_key, payload = self._known.pop(segment.index, ("", ""))
        if known_key != key:
            return None
        try:
            end: SegmentEnd = load(KEPT_SEGMENT, payload)
        except ValueError as error:
            log.warning(
                "The journal's %s cannot be read and is decoded again: %s", segment.name, error
            )
            return None
        return end

    def keep(self, end: SegmentEnd) -> None:
        key = self._keys.pop(end.index)
        self._outbox.put(
            partial(self._store.record_segment, self._job_id, end.index, key, dump(end))
        )
