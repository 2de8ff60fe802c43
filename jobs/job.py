"""One job as fronts see it: a state, a snapshot to show, a way to wait and to cancel."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from core.errors import Cancelled, Paused, SubtitleError
from core.events import Event, TranscriptSoFar
from core.logs import without_secrets
from core.progress import Part, Progress
from core.types import Cue, Gap, JobReport, Transcript, TranscriptSegment
from jobs.pipeline import PipelineResult, verdict
from jobs.recorder import Recorder
from jobs.records import JobRecord
from jobs.request import JobRequest
from jobs.states import JobState
from subtitles.layout import layout


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """A job at one moment."""

    id: str
    name: str
    """The recording's name."""
    state: JobState
    version: int
    """Grows with every change; see :meth:`Job.watch`."""
    fraction: float = 0.0
    """Share that is done, 0–1: of the work, or of the download while it is ``DOWNLOADING``."""
    done_s: float = 0.0
    """Audio seconds done."""
    total_s: float | None = None
    """Length of the recording, as far as it is known."""
    remaining_s: float | None = None
    """Seconds left; None while nobody can tell."""
    message: str = ""
    """One line for people: what the job waits for, or how it ended. Empty while it goes well."""
    language: str | None = None
    model: str | None = None
    """The model that runs, once it is found."""
    devices: Mapping[str, str] = field(default_factory=dict)
    """What each device does for this job."""
    parts: tuple[Part, ...] = ()
    """Its segments on the timeline while it runs."""
    segments: tuple[TranscriptSegment, ...] = ()
    """Text that is final: everything before the first segment that is still missing."""
    cues: tuple[Cue, ...] = ()
    """Its subtitles; the last one or two may still change."""
    gaps: tuple[Gap, ...] = ()
    error: SubtitleError | None = None
    report: JobReport | None = None
    outputs: Mapping[str, Path] = field(default_factory=dict)
    """File of each format, once all are written."""
    created_at: float = 0.0
    ended_at: float | None = None
    """Seconds since 1970, UTC."""


class JobHandle(Protocol):
    """A job as ``JobService.get`` gives it, wherever it runs or has run."""

    @property
    def id(self) -> str: ...

    @property
    def request(self) -> JobRequest: ...

    @property
    def state(self) -> JobState: ...

    def view(self, *, text: bool = True) -> JobView: ...

    def watch(self, after_version: int, timeout_s: float, *, text: bool = True) -> JobView: ...

    def wait(self, timeout_s: float | None = None) -> bool: ...

    def cancel(self) -> None: ...


class Job:
    """A job this service runs. Every method may be called from any thread."""

    def __init__(
        self,
        record: JobRecord,
        recorder: Recorder,
        on_stop: Callable[[Job, SubtitleError], None],
    ) -> None:
        self.id = record.id
        self.request = record.request
        self.record = record
        """As it was when this service took it."""
        self.recorder = recorder
        self.ended_at: float | None = None
        self._on_stop = on_stop
        self._changed = threading.Condition()
        self._version = 1
        self._state = JobState.QUEUED
        self._message = ""
        self._model: str | None = None
        self._error: SubtitleError | None = None
        self._result: PipelineResult | None = None
        self._stopped: SubtitleError | None = None
        self._stop: Callable[[SubtitleError], None] | None = None
        self._fetched = 0.0
        """Share of the download."""
        self._progress = Progress()
        self._so_far = TranscriptSoFar((), ())
        self._cues = _Cues()

    @property
    def state(self) -> JobState:
        return self._state

    @property
    def stopped(self) -> SubtitleError | None:
        """Why somebody wants it to stop, whether or not it has."""
        return self._stopped

    def cancel(self) -> None:
        """Stop; the job ends within two seconds. Does nothing to a job that has ended."""
        self._stop_with(Cancelled())

    def pause(self) -> None:
        """Stop for now: the service ends. What is finished is in the journal."""
        self._stop_with(Paused())

    def _stop_with(self, error: SubtitleError) -> None:
        with self._changed:
            self._stopped = self._stopped or error
            stop = self._stop
        self._on_stop(self, self._stopped)
        if stop is not None:
            stop(self._stopped)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until it has ended or was paused; False when the time ran out first."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._state.active, timeout_s)

    def watch(self, after_version: int, timeout_s: float, *, text: bool = True) -> JobView:
        """The first snapshot newer than that version, or the present one after the time.

        Returns at once when the job has ended: nothing newer will come.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._version > after_version or not self._state.active, timeout_s
            )
        return self.view(text=text)

    def view(self, *, text: bool = True) -> JobView:
        """A snapshot. ``text=False`` leaves segments and cues out, which makes it cheap."""
        with self._changed:
            progress, result = self._progress, self._result
            view = JobView(
                id=self.id,
                name=self.request.title,
                state=self._state,
                version=self._version,
                fraction=1.0 if result else self._fraction(),
                done_s=result.report.audio_s if result else progress.done_s,
                total_s=result.report.audio_s if result else progress.total_s,
                remaining_s=0.0 if self._state.ended else progress.remaining_s,
                message=self._message or progress.message,
                language=result.report.language if result else progress.language,
                model=self._model,
                devices={} if self._state.ended else dict(progress.devices),
                parts=() if self._state.ended else progress.parts,
                gaps=result.transcript.gaps if result else self._so_far.gaps,
                error=self._error,
                report=result.report if result else None,
                outputs=dict(result.outputs) if result else {},
                created_at=self.record.created_at,
                ended_at=self.ended_at,
            )
            if not text:
                return view
            if result is not None:
                return _with_text(view, result.transcript.segments, result.cues)
            segments = self._so_far.segments
        return _with_text(view, segments, self._cues.of(segments, view.language))

    # The rest is for the service and the job's own thread.

    def queued(self, ahead: int) -> None:
        """It waits behind that many jobs."""
        self._set_message("Waiting for a free place" + (f" ({ahead} before it)" if ahead else ""))

    def begin(self) -> bool:
        """Its turn has come: for its download, if that is still to be done. False when it was
        cancelled before."""
        state, note = JobState.RUNNING, "Started."
        if self.request.url is not None:
            note = f"Downloading {without_secrets(self.request.url)}"
            state = JobState.DOWNLOADING
        with self._changed:
            if self._state is not JobState.QUEUED:
                return False
            self._state, self._message = state, ""
            self._bump()
        self.recorder.set(state=state, started_at=time.time(), message="")
        self.recorder.note(state.value, note)
        return True

    def fetching(self, fraction: float | None, text: str) -> None:
        """How far the download is. Raises once the job is stopped."""
        with self._changed:
            self._fetched = fraction or 0.0
        self.progress_text(text)

    def fetched(self, path: Path, name: str) -> None:
        """The recording is there: from now on it is a job like any other, and waits again."""
        with self._changed:
            self.request = replace(self.request, path=path, name=name, url=None)
            self._state = JobState.QUEUED
            self._bump()
        self.recorder.set(request=self.request, name=name, state=self._state, message="")
        self.recorder.note("downloaded", f"Downloaded: {name}")

    def progress_text(self, text: str) -> None:
        """What happens before the run: finding or downloading the model. Raises once stopped, which
        ends a download."""
        if self._stopped is not None:
            raise self._stopped
        self._set_message(text)

    def stoppable(self, stop: Callable[[SubtitleError], None]) -> None:
        """How to stop what runs now; stops it at once if somebody asked for it before."""
        with self._changed:
            self._stop = stop
            self._message = ""
            stopped = self._stopped
        if stopped is not None:
            stop(stopped)

    def uses(self, model: str) -> None:
        with self._changed:
            self._model = model
            self._bump()
        self.recorder.set(model=model)

    def feed(self, event: Event) -> None:
        self.recorder.feed(event, self._progress)
        with self._changed:
            self._progress.feed(event)
            if isinstance(event, TranscriptSoFar):
                self._so_far = event
            self._bump()

    def finish(self, result: PipelineResult) -> None:
        complete = result.transcript.complete
        state = JobState.COMPLETE if complete else JobState.COMPLETE_WITH_GAPS
        self._end(state, verdict(result.transcript), result=result)

    def fail(self, error: SubtitleError) -> None:
        state = JobState.FAILED
        if isinstance(error, Cancelled):
            state = JobState.CANCELLED
        elif isinstance(error, Paused):
            state = JobState.PAUSED
        self._end(state, error.explain(), error=error)

    def _end(
        self,
        state: JobState,
        message: str,
        result: PipelineResult | None = None,
        error: SubtitleError | None = None,
    ) -> None:
        with self._changed:
            if not self._state.active:
                return
            if state.ended:
                self.ended_at = time.time()
            # Written before anybody hears of it: who then asks the database is told the same.
            self._record_end(state, message, result, error)
            self._state, self._message = state, message
            self._result, self._error = result, error
            self._stop = None
            if result is not None:
                # The result holds the text; what was shown before is not needed any more.
                self._so_far, self._cues = TranscriptSoFar((), ()), _Cues()
            self._bump()

    def _record_end(
        self,
        state: JobState,
        message: str,
        result: PipelineResult | None,
        error: SubtitleError | None,
    ) -> None:
        self.recorder.note(state.value, message or "Complete.")
        if state is JobState.PAUSED:
            self.recorder.set(state=state, message=message, runner=None)
            return
        found: dict[str, object] = {}
        if result is not None:
            report = result.report
            found = {
                "fraction": 1.0,
                "done_s": report.audio_s,
                "total_s": report.audio_s,
                "language": report.language,
                "gaps": result.transcript.gaps,
                # One line per segment would be most of the row; the transcript's file has them.
                "report": replace(report, segments=()),
                "outputs": {name: str(path) for name, path in result.outputs.items()},
            }
        self.recorder.set(
            state=state, message=message, error=error, ended_at=self.ended_at, runner=None, **found
        )
        self.recorder.done()

    def _fraction(self) -> float:
        downloads = self._state is JobState.DOWNLOADING
        return self._fetched if downloads else self._progress.fraction

    def _set_message(self, message: str) -> None:
        with self._changed:
            if message != self._message and self._state.active:
                self._message = message
                self._bump()

    def _bump(self) -> None:
        self._version += 1
        self._changed.notify_all()


class _Cues:
    """Cues of the text so far, laid out again only when there is more of it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._done = 0
        self._language: str | None = None
        self._cues: tuple[Cue, ...] = ()

    def of(self, segments: tuple[TranscriptSegment, ...], language: str | None) -> tuple[Cue, ...]:
        with self._lock:
            if len(segments) > self._done or language != self._language:
                self._cues = layout(Transcript(segments, language=language))
                self._done, self._language = len(segments), language
            return self._cues


def _with_text(
    view: JobView, segments: tuple[TranscriptSegment, ...], cues: tuple[Cue, ...]
) -> JobView:
    return replace(view, segments=segments, cues=cues)
