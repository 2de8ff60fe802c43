"""A job that does not run here: one that has ended, or one in the hands of another service."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from core.types import JobReport, Transcript
from jobs.folders import JobFolders
from jobs.records import JobRecord, JobView, load
from jobs.request import JobRequest
from jobs.states import JobState
from subtitles.layout import layout

LOOK_EVERY_S = 1.0
"""Between two looks at a job that runs elsewhere."""

_LAST_VERSION = 1 << 62


@dataclass(frozen=True, slots=True)
class KeptResult:
    """What stays of a finished job beside its files."""

    transcript: Transcript
    report: JobReport


class StoredJob:
    """``jobs.job.JobHandle`` over a row of the database. Thread-safe.

    Args:
        refresh: the row as it is now; None once the job is deleted.
        on_cancel: asks whoever runs the job.
    """

    def __init__(
        self,
        record: JobRecord,
        folders: JobFolders,
        refresh: Callable[[], JobRecord | None],
        on_cancel: Callable[[], None],
    ) -> None:
        self._record = record
        self._folders = folders
        self._refresh = refresh
        self._on_cancel = on_cancel
        self._lock = threading.Lock()
        self._text: JobView | None = None

    @property
    def id(self) -> str:
        return self._record.id

    @property
    def request(self) -> JobRequest:
        return self._record.request

    @property
    def record(self) -> JobRecord:
        return self._record

    @property
    def state(self) -> JobState:
        return self._look().state

    def cancel(self) -> None:
        if not self._look().state.ended:
            self._on_cancel()

    def view(self, *, text: bool = True) -> JobView:
        record = self._look()
        view = _view(record)
        if not text or not record.state.ended:
            return view
        with self._lock:
            if self._text is None:
                self._text = self._with_text(view)
            return self._text

    def watch(self, after_version: int, timeout_s: float, *, text: bool = True) -> JobView:
        until = time.monotonic() + timeout_s
        while True:
            view = self.view(text=text)
            left_s = until - time.monotonic()
            if view.version != after_version or view.state.ended or left_s <= 0.0:
                return view
            _pause(min(left_s, LOOK_EVERY_S))

    def wait(self, timeout_s: float | None = None) -> bool:
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._look().state.ended:
            left_s = LOOK_EVERY_S if until is None else until - time.monotonic()
            if left_s <= 0.0:
                return False
            _pause(min(left_s, LOOK_EVERY_S))
        return True

    def listen(self, changed: Callable[[], None]) -> None:
        """Nobody tells: see ``LOOK_EVERY_S``."""

    def _look(self) -> JobRecord:
        """The row; a job that has ended does not change any more."""
        if not self._record.state.ended:
            newer = self._refresh()
            self._record = newer or replace(self._record, state=JobState.CANCELLED)
        return self._record

    def _with_text(self, view: JobView) -> JobView:
        kept = kept_of(self._folders, self.id)
        if kept is None:
            return view
        transcript = kept.transcript
        return replace(
            view,
            segments=transcript.segments,
            cues=layout(transcript),
            gaps=transcript.gaps,
            report=kept.report,
        )


def kept_of(folders: JobFolders, job_id: str) -> KeptResult | None:
    """What is kept of a finished job; None where nothing is."""
    text = folders.transcript(job_id)
    return None if text is None else load(KeptResult, text)


def _pause(seconds: float) -> None:
    """Nothing here can wake the watcher: the job runs in another process."""
    time.sleep(seconds)


def _view(record: JobRecord) -> JobView:
    if record.state.ended:
        return JobView.of(record, version=_LAST_VERSION, remaining_s=0.0)
    return JobView.of(record, version=2 + int(record.done_s * 10) + len(record.message))
