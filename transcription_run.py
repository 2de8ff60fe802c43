"""One recording's run: the ingest process and the decoding, as one stream of events."""

from __future__ import annotations

import logging
import queue
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from core.errors import Cancelled, DiskFull, SubtitleError, UnreadableMedia, WorkerError
from core.events import (
    Decoded,
    Event,
    Finished,
    Incident,
    LanguageDecided,
    Planned,
    SegmentEnd,
    SegmentFailed,
    SegmentFinished,
    TranscriptSoFar,
)
from core.logs import set_job
from core.merge import TranscriptBuilder
from core.pcm import PcmSpool
from core.pool_job import DecodeRequest, JobEnded, PoolEvent, PoolJob, Submit
from core.progress import Progress
from core.types import AudioSegment, Gap, JobReport, SegmentReport, Transcript
from ingest import IngestRequest, IngestSummary, start_ingest
from media.process import IsolatedProcess

log = logging.getLogger("parallel_transcriber")

ProgressCallback = Callable[[float, str], None]
"""Called with the share done (0–1) and a line for people."""


class Journal(Protocol):
    """Remembers how segments ended, so that a run that was killed does not decode them again."""

    def recall(self, segment: AudioSegment, spool: PcmSpool) -> SegmentEnd | None:
        """What the same audio gave before with the same model and options. The segment's audio is
        in the spool. Called on the run's ingest thread, in the recording's order."""

    def keep(self, end: SegmentEnd) -> None:
        """Remember a segment that :meth:`recall` did not know. Called on the thread that iterates
        the events, before the event is seen."""


@dataclass(frozen=True, slots=True)
class _IngestEnded:
    summary: IngestSummary | None
    error: SubtitleError | None


@dataclass(frozen=True, slots=True)
class _Replayed:
    end: SegmentEnd


_Inbox = queue.SimpleQueue[PoolEvent | Planned | Decoded | _Replayed | _IngestEnded]


class TranscriptionRun:
    """One recording on its way. Iterate :meth:`events` once, in one thread; cancel from any.

    Args:
        submit: where the segments are decoded.
        work_dir: where the spool lies while the run lasts; None: the system's temporary folder.
        decided: the language an earlier run of the same job detected; it is not detected again.
        journal: what an earlier run of the same job finished; None: nothing is kept.
    """

    def __init__(
        self,
        ingest: IngestRequest,
        decode: DecodeRequest,
        submit: Submit,
        *,
        work_dir: Path | None = None,
        decided: LanguageDecided | None = None,
        journal: Journal | None = None,
    ) -> None:
        if decided is not None:
            options = replace(decode.options, language=decided.language)
            decode = replace(decode, options=options)
        self._ingest = ingest
        self._decode = decode
        self._submit = submit
        self._work_dir = work_dir
        self._decided = decided
        self._journal = journal
        self._stopped: SubtitleError | None = None
        self._job: PoolJob | None = None

    def cancel(self, error: SubtitleError | None = None) -> None:
        """Stop; ``events()`` raises the error, ``Cancelled`` if none is given, within two seconds.
        From any thread."""
        self._stopped = error or Cancelled()
        if self._job is not None:
            self._job.cancel(self._stopped)

    def result(self, progress_callback: ProgressCallback | None = None) -> Finished:
        """Run to the end without looking at the events. Raises as :meth:`events`."""
        progress = Progress()
        for event in self.events():
            progress.feed(event)
            if progress_callback is not None:
                progress_callback(progress.fraction, progress.message)
            if isinstance(event, Finished):
                return event
        raise WorkerError("The run ended without a result.")

    def events(self) -> Iterator[Event]:
        """What happens, ending with one ``Finished``.

        Raises:
            InputError: the recording cannot be used.
            ModelError, WorkerError: nothing can decode it.
            CapacityError: no space for its audio.
            Cancelled: :meth:`cancel` was called.
        """
        try:
            folder = Path(tempfile.mkdtemp(prefix="spool-", dir=self._work_dir))
        except OSError as error:
            raise DiskFull(f"No room for the recording's audio: {error.strerror}.") from error
        try:
            yield from self._run(PcmSpool(folder / "audio.pcm"))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _run(self, spool: PcmSpool) -> Iterator[Event]:
        inbox: _Inbox = queue.SimpleQueue()
        if self._decided is not None:
            inbox.put(self._decided)
        opened = time.monotonic()
        spool.path.touch()
        process = start_ingest(self._ingest, spool)
        self._job = job = self._submit(self._decode, spool, inbox.put)
        if self._stopped is not None:
            job.cancel(self._stopped)
        feeder = threading.Thread(
            target=_feed, args=(process, job, inbox, self._journal), name="ingest"
        )
        feeder.start()
        try:
            yield from _RunState(self._ingest.path.name, job, opened, self._journal).follow(inbox)
        finally:
            job.cancel()  # does nothing to a job that has ended
            process.cancel()
            feeder.join()
            process.close()
            job.wait()


def _feed(
    process: IsolatedProcess[IngestSummary],
    job: PoolJob,
    inbox: _Inbox,
    journal: Journal | None,
) -> None:
    """Thread: hand on what the ingest process sends, and in the end its summary or error."""
    set_job(job.request.job_id)
    summary: IngestSummary | None = None
    error: SubtitleError | None = None
    try:
        for message in process.messages():
            if isinstance(message, Planned):
                inbox.put(message)
                segment = message.segment
                log.debug(
                    "%s is planned: %d windows, %.1fs of speech",
                    *(segment.name, len(segment.windows), segment.speech_s),
                )
                known = journal.recall(segment, job.spool) if journal else None
                if known is None:
                    job.add([segment])
                else:
                    log.debug("%s is in the journal already", segment.name)
                    inbox.put(_Replayed(known))
            elif isinstance(message, Decoded):
                inbox.put(message)
        summary = process.result
    except SubtitleError as caught:
        error = caught
    except Exception as caught:
        log.exception("The ingest thread failed")
        error = WorkerError(f"Reading the recording failed: {caught!r}.")
    inbox.put(_IngestEnded(summary, error))
    job.finish_input()


@dataclass(slots=True, eq=False)
class _RunState:
    """Follows one run's inbox to its end and keeps what the transcript and report need."""

    _name: str
    _job: PoolJob
    _opened: float
    _journal: Journal | None
    _builder: TranscriptBuilder = field(default_factory=TranscriptBuilder)
    _summary: IngestSummary | None = None
    _broken: UnreadableMedia | None = None
    """Why reading stopped before the end."""
    _reports: dict[int, SegmentReport] = field(default_factory=dict)
    _planned: int = 0
    _failed: int = 0
    _planned_until_s: float = 0.0
    _decoded_s: float = 0.0
    _declared_s: float | None = None
    _language_probability: float | None = None
    _first_text_s: float | None = None
    _replays: int = 0

    def follow(self, inbox: _Inbox) -> Iterator[Event]:
        while not isinstance(item := inbox.get(), JobEnded):
            if isinstance(item, _IngestEnded):
                yield from self._ingest_ended(item)
                continue
            if isinstance(item, _Replayed):
                self._replays += 1
                event: Event = item.end
            else:
                event = item
                if self._journal is not None and isinstance(event, SegmentEnd):
                    self._journal.keep(event)
            self._note(event)
            yield event
            if isinstance(event, SegmentEnd):
                yield TranscriptSoFar(
                    self._builder.ordered_prefix(), self._builder.gaps, self._job.language
                )
        if item.error is not None:
            raise item.error
        yield self._finished()

    def _note(self, event: Event) -> None:
        match event:
            case Decoded(audio_s=audio_s, total_s=total_s):
                self._decoded_s, self._declared_s = audio_s, total_s
            case Planned(segment=segment):
                self._planned += 1
                self._planned_until_s = segment.end_s
            case SegmentFinished(index=index, segments=segments, gaps=gaps, report=report):
                self._builder.add(index, segments, gaps)
                self._reports[index] = report
                log.debug("segment %d is merged: %d texts", index, len(segments))
                if segments and self._first_text_s is None:
                    self._first_text_s = self._elapsed_s()
            case SegmentFailed(index=index, gap=gap):
                self._builder.add(index, (), [gap])
                log.debug("segment %d is merged as a gap", index)
                self._failed += 1
            case LanguageDecided(probability=probability):
                self._language_probability = probability

    def _ingest_ended(self, ended: _IngestEnded) -> Iterator[Event]:
        """A recording that breaks in the middle keeps what was read of it."""
        self._summary = ended.summary
        if ended.error is None:
            return
        if not (isinstance(ended.error, UnreadableMedia) and self._planned):
            raise ended.error
        self._broken = ended.error
        text = f"Reading stopped at {self._decoded_s:.1f}s: {ended.error}"
        log.error("%s", text)
        yield Incident("reading_stopped", text)

    def _elapsed_s(self) -> float:
        return max(1e-6, time.monotonic() - self._opened - self._job.load_s)

    def _finished(self) -> Finished:
        transcript = self._transcript()
        report = self._report(transcript)
        for gap in transcript.gaps:
            log.warning("No text from %.1fs to %.1fs: %s", gap.start_s, gap.end_s, gap.reason)
        if self._failed:
            log.warning("%d segments failed to transcribe", self._failed)
        if not transcript.segments and not transcript.gaps:
            log.info("No speech was found in %s", self._name)
        verdict = (
            "Complete!" if transcript.complete else f"Finished with {len(transcript.gaps)} gaps:"
        )
        log.log(
            logging.INFO if transcript.complete else logging.WARNING,
            "%s %d segments | Speed: %.1fx realtime",
            *(verdict, self._planned, report.speed),
        )
        return Finished(transcript, report)

    def _transcript(self) -> Transcript:
        summary = self._summary
        lost = self._lost_end()
        if lost is not None:
            self._builder.add(self._planned, (), [lost])
        return replace(
            self._builder.build(),
            language=self._job.language,
            language_probability=self._language_probability,
            duration_s=summary.audio_s if summary else self._decoded_s,
            speech_s=summary.speech_s if summary else 0.0,
        )

    def _lost_end(self) -> Gap | None:
        """The end of a recording that is cut off or cannot be read."""
        summary = self._summary
        if summary is not None and not summary.truncated:
            return None
        # Without a summary, what was decoded last was never planned: it is lost as well.
        reached_s = summary.audio_s if summary else self._planned_until_s
        end_s = max(self._declared_s or 0.0, self._decoded_s, reached_s)
        reason = (
            f"the recording cannot be read any further: {self._broken}"
            if self._broken is not None
            else "the file ends before the length it declares"
        )
        return Gap(reached_s, end_s, reason)

    def _report(self, transcript: Transcript) -> JobReport:
        summary = self._summary
        elapsed_s = self._elapsed_s()
        reports = tuple(report for _, report in sorted(self._reports.items()))
        return JobReport(
            audio_s=transcript.duration_s,
            speech_s=transcript.speech_s,
            load_s=self._job.load_s,
            elapsed_s=elapsed_s,
            decode_s=summary.decode_s if summary else 0.0,
            vad_s=summary.vad_s if summary else 0.0,
            transcribe_s=self._job.transcribe_s,
            speed=transcript.duration_s / elapsed_s,
            model=self._job.request.model.name,
            language=transcript.language,
            devices=tuple(sorted({report.device for report in reports})),
            segments=reports,
            windows=sum(report.windows for report in reports),
            dropped_spans=summary.dropped_spans if summary else 0,
            gaps=transcript.gaps,
            redecoded_windows=sum(report.redecoded_windows for report in reports),
            replayed_segments=self._replays,
            first_text_s=self._first_text_s,
        )
