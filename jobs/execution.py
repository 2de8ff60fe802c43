"""How one job runs: download, model, journal, run, files. The queue is elsewhere."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from core.endpoints import LOCAL
from core.errors import Cancelled, DatabaseUnavailable, FileMissing
from core.events import Finished, LanguageDecided
from core.logs import without_secrets
from core.models import AUTO
from core.settings import Settings
from jobs import gaps
from jobs.folders import JobFolders
from jobs.job import Job
from jobs.journal import SegmentJournal
from jobs.links import fetch_link, why_no_links
from jobs.options import JobOptions
from jobs.outbox import Outbox
from jobs.pipeline import PipelineResult, run_pipeline
from jobs.records import dump
from jobs.request import JobRequest, kept_name, with_defaults
from jobs.store import JobStore
from jobs.stored import KeptResult, kept_of
from parallel_transcriber import ParallelWhisperTranscriber
from subtitles.layout import layout

log = logging.getLogger(__name__)

T = TypeVar("T")

DATABASE_RETRY_S = 1.0
"""Between two attempts to read a job's journal while the database does not answer."""


@dataclass(frozen=True, slots=True)
class Executor:
    """Runs jobs on the calling thread."""

    settings: Settings
    folders: JobFolders
    store: JobStore
    outbox: Outbox
    transcriber: Callable[[str, str, str], AbstractContextManager[ParallelWhisperTranscriber]]
    """The one for a model, compute type and device (``Engines.lent``)."""
    closed: threading.Event

    def run(self, job: Job, folder: Path) -> PipelineResult:
        """Transcribe, write, keep. Raises whatever ends the job early."""
        request = job.request
        if job.record.resumes and job.record.model and request.options.model.lower() == AUTO:
            # The same as before, whatever could be had meanwhile.
            request = request.choosing(model=job.record.model)
        request = replace(request, options=with_defaults(request.options, self.settings))
        if request.only_gaps:
            return self._fill_gaps(job, request, folder)
        options, decode = request.options, request.options.decode(self.settings)
        with self._transcriber(options) as transcriber:
            task, language = decode.task, decode.language
            job.uses(transcriber.resolve(job.progress_text, task=task, language=language).name)
            model = transcriber.model_spec(task=task, language=language)
            where = options.where or LOCAL
            journal = self._patiently(
                job, lambda: SegmentJournal(self.store, self.outbox, job.id, model, decode, where)
            )
            if journal.size:
                text = f"Resumed with {journal.size} finished segments."
                log.info("%s: %s", request.title, text)
                job.recorder.note("resumed", text)
            run = transcriber.start(
                request.path,
                decode,
                options.plan,
                audio_track=options.audio_track,
                work_dir=folder,
                max_workers=None if options.multi_gpu else 1,
                decided=_decided(job) if language is None else None,
                journal=journal,
                where=where,
                job_id=job.id,
            )
            job.stoppable(run.cancel)
            result = run_pipeline(
                run, options.formats, request.output_dir or folder, request.stem, job.feed
            )
        self._keep(job, result)
        return result

    def _fill_gaps(self, job: Job, request: JobRequest, folder: Path) -> PipelineResult:
        kept = kept_of(self.folders, job.id)
        if kept is None:
            raise FileMissing(f"The transcript of {request.title} is gone.")
        tried = gaps.worth_trying(kept.transcript.gaps, kept.transcript.duration_s)
        options, decode = request.options, request.options.decode(self.settings)
        decode = replace(decode, language=decode.language or kept.transcript.language)
        with self._transcriber(options) as transcriber:
            transcriber.resolve(job.progress_text, task=decode.task, language=decode.language)
            run = transcriber.start(
                request.path,
                decode,
                options.plan,
                audio_track=options.audio_track,
                work_dir=folder,
                only=gaps.ranges(tried),
                job_id=job.id,
            )
            job.stoppable(run.cancel)

            def amend(found: Finished) -> Finished:
                return gaps.fill(kept.transcript, kept.report, tried, found)

            result = run_pipeline(run, options.formats, folder, request.stem, job.feed, amend)
        self._keep(job, result)
        return result

    def fetch(self, job: Job) -> tuple[Path, str]:
        """Fetch the recording of a job's link into its folder: where it lies, and its name.
        Raises whatever ends the job early."""
        request = job.request
        assert request.url is not None, "only jobs with a link are fetched"
        if (refused := why_no_links(self.settings)) is not None:
            raise refused  # switched off since the job was taken
        log.info("Downloading %s", without_secrets(request.url))
        with self.folders.locked(job.id) as folder:
            try:
                found = fetch_link(
                    request.url,
                    folder,
                    self.settings,
                    progress=job.fetching,
                    should_stop=lambda: job.stopped is not None,
                )
            except Cancelled as error:
                raise job.stopped or error from None
            name = kept_name(found.name if request.name is None else request.name)
            return self.folders.adopt(job.id, found.path, found.name, "move"), name

    def _transcriber(
        self, options: JobOptions
    ) -> AbstractContextManager[ParallelWhisperTranscriber]:
        return self.transcriber(options.model, options.compute_type, options.device)

    def _keep(self, job: Job, result: PipelineResult) -> None:
        if job.request.output_dir is None:
            self.folders.keep_transcript(job.id, dump(KeptResult(result.transcript, result.report)))

    def _patiently(self, job: Job, call: Callable[[], T]) -> T:
        """The call's result, however long the database does not answer."""
        while True:
            try:
                return call()
            except DatabaseUnavailable as error:
                # Raises once the job is stopped.
                job.progress_text(f"Waiting for the job database: {error.message}")
                self.closed.wait(DATABASE_RETRY_S)


def before_gaps_run(job: Job, folders: JobFolders) -> PipelineResult | None:
    """What a job had before its gaps were tried again without success."""
    kept = kept_of(folders, job.id)
    if kept is None:
        return None
    outputs = dict(job.record.outputs)
    return PipelineResult(kept.transcript, layout(kept.transcript), outputs, kept.report)


def _decided(job: Job) -> LanguageDecided | None:
    """The language an earlier run of the job heard."""
    record = job.record
    if record.language is None:
        return None
    return LanguageDecided(record.language, record.language_probability or 0.0)
