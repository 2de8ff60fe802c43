"""One job's line to the database and to its observers: its changes in order, written without
holding the job up."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from core.events import Event, Incident, LanguageDecided, SegmentFailed, SegmentFinished
from core.progress import Progress
from jobs.outbox import Outbox
from jobs.records import HistoryEntry
from jobs.store import JobStore
from telemetry.watch import JobWatch

log = logging.getLogger(__name__)

PROGRESS_EVERY_S = 1.0
"""Other services and a restarted one see the progress no finer than this."""


class Recorder:
    """Thread-safe. Nothing here waits or raises: what cannot be written now is written later."""

    def __init__(
        self, store: JobStore, outbox: Outbox, job_id: str, watches: Sequence[JobWatch] = ()
    ) -> None:
        self._store = store
        self._outbox = outbox
        self._job_id = job_id
        self._watches = watches
        self._progress_s = 0.0
        self.lines: list[HistoryEntry] = []
        """What was noted here, whether or not it is in the database yet; only ever appended to."""

    def set(self, **fields: Any) -> None:
        """Fields of ``JobRecord``."""
        self._outbox.put(partial(self._update, fields))
        for watch in self._watches:
            watch.changed(fields)

    def note(self, kind: str, text: str) -> None:
        """One line of the job's history."""
        entry = HistoryEntry(time.time(), kind, text)
        self.lines.append(entry)
        self._outbox.put(partial(self._store.add_history, self._job_id, entry))

    def done(self) -> None:
        """The job has ended; its journal is not needed again."""
        self._outbox.put(partial(self._store.forget_segments, self._job_id))

    def feed(self, event: Event, progress: Progress) -> None:
        """Write down what an event of the run means for a later start."""
        for watch in self._watches:
            watch.saw(event)
        if isinstance(event, LanguageDecided):
            self.set(language=event.language, language_probability=event.probability)
        elif isinstance(event, Incident):
            self.note(event.kind, event.text)
        elif isinstance(event, SegmentFinished | SegmentFailed):
            now = time.monotonic()
            if now - self._progress_s >= PROGRESS_EVERY_S:
                self._progress_s = now
                self.set(
                    fraction=progress.fraction, done_s=progress.done_s, total_s=progress.total_s
                )

    def _update(self, fields: dict[str, Any]) -> None:
        if not self._store.update(self._job_id, **fields):
            log.debug("Job %s was deleted before %s", self._job_id, ", ".join(fields))
