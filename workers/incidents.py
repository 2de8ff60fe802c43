"""What went wrong and was dealt with: one log line, one count, and one event to each job concerned.

Everything the pool says about faults goes through here, so that log, history and counters tell
the same story.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from core.events import Incident
from workers.pending import PendingSegment, PoolJobState

log = logging.getLogger(__name__)


class Incidents:
    """The supervisor's thread tells; any thread may read ``counters``."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self.counters: Mapping[str, int] = MappingProxyType({})
        """By kind of incident, since the pool began; replaced as a whole."""

    def tell(
        self,
        kind: str,
        text: str,
        jobs: Iterable[PoolJobState],
        *,
        device: str | None = None,
        index: int | None = None,
        level: int | None = logging.WARNING,
        count: bool = True,
    ) -> None:
        """``level`` None: the line is in the log already. ``count`` False: so is the number."""
        concerned = list(jobs)
        if level is not None:
            ids = ", ".join(filter(None, (state.job.spec.job_id for state in concerned)))
            log.log(level, "%s", f"[{device}] {text}" if device else text, extra={"job": ids})
        self._counts[kind] += count
        self.counters = MappingProxyType(dict(self._counts))
        incident = Incident(kind, text, device, index)
        for state in concerned:
            if state.ending is None:
                state.job.emit(incident)


def list_of(entries: Sequence[PendingSegment]) -> str:
    """``segment 3`` or ``segments 3, 4, 5``."""
    indices = sorted({entry.index for entry in entries})
    word = "segment" if len(indices) == 1 else "segments"
    return f"{word} {', '.join(map(str, indices))}"
