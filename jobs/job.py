"""One job as fronts see it: a state, a snapshot to show, a way to wait and to cancel."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from core.errors import Cancelled, Paused, SubtitleError
from core.events import Event, TranscriptSoFar
from core.logs import without_secrets
from core.progress import Progress
from core.types import Cue, Transcript, TranscriptSegment
from jobs.pipeline import PipelineResult, verdict
from jobs.recorder import Recorder
from jobs.records import JobRecord, JobView
from jobs.request import JobRequest
from jobs.states import JobState
from subtitles.layout import layout


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

    def listen(self, changed: Callable[[], None]) -> Callable[[], None] | None:
        """Have each change told from now on; how to end that, or None where nobody can tell."""
        ...

    def cancel(self) -> None: ...


class Job:
    """A job this service runs. Every method may be called from any thread."""

    def __init__(
        self,
        record: JobRecord,
        recorder: Recorder,
        on_stop: Callable[[Job, SubtitleError], None],
    ) -> None:
        self.recorder = recorder
        self._record = replace(record, state=JobState.QUEUED, message="")
        self._on_stop = on_stop
        self._changed = threading.Condition()
        self._listeners: list[Callable[[], None]] = []
        self._version = 1
        self._message = ""
        self._result: PipelineResult | None = None
        self._stopped: SubtitleError | None = None
        self._stop: Callable[[SubtitleError], None] | None = None
        self._fetched = 0.0
        """Share of the download."""
        self._progress = Progress()
        self._so_far = TranscriptSoFar((), ())
        self._cues = _Cues()

    @property
    def id(self) -> str:
        return self._record.id

    @property
    def request(self) -> JobRequest:
        return self._record.request

    @property
    def state(self) -> JobState:
        return self._record.state

    @property
    def record(self) -> JobRecord:
        """As its row is or will be; only progress is written to the row alone."""
        return self._record

    @property
    def stopped(self) -> SubtitleError | None:
        """Why it was asked to stop, whether or not it has stopped."""
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
            return self._changed.wait_for(lambda: not self.state.active, timeout_s)

    def watch(self, after_version: int, timeout_s: float, *, text: bool = True) -> JobView:
        """The first snapshot newer than that version, or the present one after the time.

        Returns at once when the job has ended: nothing newer will come.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._version > after_version or not self.state.active, timeout_s
            )
        return self.view(text=text)

    def listen(self, changed: Callable[[], None]) -> Callable[[], None]:
        """As :meth:`watch`, without a thread that waits: ``changed`` is called after each change,
        on any thread and with the lock held, so it must not wait."""

        def leave() -> None:
            with self._changed:
                self._listeners.remove(changed)

        with self._changed:
            self._listeners.append(changed)
        return leave

    def view(self, *, text: bool = True) -> JobView:
        """A snapshot. ``text=False`` leaves segments and cues out, which makes it cheap."""
        with self._changed:
            record, progress, result = self._record, self._progress, self._result
            if record.state.ended:
                view = JobView.of(record, version=self._version, remaining_s=0.0)
            else:
                view = JobView.of(
                    record,
                    version=self._version,
                    **self._done(),
                    remaining_s=progress.remaining_s,
                    message=record.message or self._message or progress.message,
                    language=progress.language or self._so_far.language,
                    language_probability=progress.language_probability,
                    devices=dict(progress.devices),
                    parts=progress.parts,
                    gaps=self._so_far.gaps,
                    # Of an earlier run, whose gaps are tried again.
                    report=None,
                    outputs={},
                )
            segments = self._so_far.segments
        if not text:
            return view
        if result is not None:
            return replace(
                view, report=result.report, segments=result.transcript.segments, cues=result.cues
            )
        return replace(view, segments=segments, cues=self._cues.of(segments, view.language))

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
            if self.state is not JobState.QUEUED:
                return False
            self._message = ""
            self._change(state=state, started_at=time.time())
        self.recorder.note(state.value, note)
        return True

    def fetching(self, fraction: float | None, text: str) -> None:
        """How far the download is. Raises once the job is stopped."""
        with self._changed:
            self._fetched = fraction or 0.0
        self.progress_text(text)

    def fetched(self, path: Path, name: str) -> None:
        """The recording is there: from now on it is a job like any other, and waits again."""
        request = replace(self.request, path=path, name=name, url=None)
        with self._changed:
            self._change(request=request, name=name, state=JobState.QUEUED)
        self.recorder.note("downloaded", f"Downloaded: {name}")

    def progress_text(self, text: str) -> None:
        """What happens before the run: finding or downloading the model. Raises once stopped, which
        ends a download."""
        if self._stopped is not None:
            raise self._stopped
        self._set_message(text)

    def stoppable(self, stop: Callable[[SubtitleError], None]) -> None:
        """How to stop what runs now; stops it at once if the job was cancelled before."""
        with self._changed:
            self._stop = stop
            self._message = ""
            stopped = self._stopped
        if stopped is not None:
            stop(stopped)

    def uses(self, model: str) -> None:
        with self._changed:
            self._change(model=model)

    def feed(self, event: Event) -> None:
        self.recorder.feed(event, self._progress)
        with self._changed:
            self._progress.feed(event)
            if isinstance(event, TranscriptSoFar):
                self._so_far = event
            self._bump()

    def finish(self, result: PipelineResult) -> None:
        transcript, report = result.transcript, result.report
        self._end(
            JobState.COMPLETE if transcript.complete else JobState.COMPLETE_WITH_GAPS,
            verdict(transcript),
            result,
            fraction=1.0,
            done_s=report.audio_s,
            total_s=report.audio_s,
            language=report.language,
            language_probability=transcript.language_probability,
            gaps=transcript.gaps,
            error=None,
            # One line per segment would be most of the row; the transcript's file has them.
            report=replace(report, segments=()),
            outputs=result.outputs,
        )

    def fail(self, error: SubtitleError) -> None:
        if isinstance(error, Paused):
            self._end(JobState.PAUSED, error.explain())
            return
        state = JobState.CANCELLED if isinstance(error, Cancelled) else JobState.FAILED
        self._end(state, error.explain(), error=error, **self._done())

    def _end(
        self, state: JobState, message: str, result: PipelineResult | None = None, **fields: Any
    ) -> None:
        with self._changed:
            if not self.state.active:
                return
            if state.ended:
                fields["ended_at"] = time.time()
            self._result, self._stop = result, None
            if result is not None:
                # The result holds the text; what was shown before is not needed any more.
                self._so_far, self._cues = TranscriptSoFar((), ()), _Cues()
            self.recorder.note(state.value, message or "Complete.")
            self._change(state=state, message=message, runner=None, **fields)
            if state.ended:
                self.recorder.done()

    def _done(self) -> dict[str, Any]:
        """How far it is."""
        progress, downloads = self._progress, self.state is JobState.DOWNLOADING
        return {
            "fraction": self._fetched if downloads else progress.fraction,
            "done_s": progress.done_s,
            "total_s": progress.total_s,
        }

    def _set_message(self, message: str) -> None:
        with self._changed:
            if message != self._message and self.state.active:
                self._message = message
                self._bump()

    def _change(self, **fields: Any) -> None:
        """Change the record, here and in the database. The lock must be held: whoever then hears of
        the change finds the same in the database, whose writes keep their order."""
        self.recorder.set(**fields)
        self._record = replace(self._record, **fields)
        self._bump()

    def _bump(self) -> None:
        self._version += 1
        self._changed.notify_all()
        for tell in self._listeners:
            tell()


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
