"""The recordings of one command on their way: a few at a time, on workers that stay loaded."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from core.endpoints import LOCAL, Endpoint
from core.errors import Cancelled, SubtitleError
from core.events import Event, LanguageDecided
from core.logs import set_job
from core.progress import Progress
from core.settings import Settings
from jobs.engines import CLOSE_GRACE_S
from jobs.options import JobOptions
from jobs.pipeline import PipelineResult, explained, run_pipeline
from jobs.request import JobRequest
from jobs.segment_cache import CachedSegments, SegmentCache
from jobs.segment_keys import SegmentKeys
from parallel_transcriber import ParallelWhisperTranscriber
from transcription_run import TranscriptionRun

log = logging.getLogger(__name__)


class Recording:
    """One recording. :meth:`run` has its own thread; the rest is called by the command."""

    def __init__(
        self,
        request: JobRequest,
        settings: Settings,
        transcriber: ParallelWhisperTranscriber,
        folder: Path,
        cache: SegmentCache | None,
    ) -> None:
        self.name = request.title
        self.result: PipelineResult | None = None
        self.error: SubtitleError | None = None
        self._request = request
        self._decode = request.options.decode(settings)
        self._transcriber = transcriber
        self._folder = folder
        self._cache = cache
        self._changed = threading.Condition()
        self._news = True
        self._progress = Progress()
        self._run: TranscriptionRun | None = None
        self._cancelled = False

    @property
    def ended(self) -> bool:
        return self.result is not None or self.error is not None

    def watch(self, timeout_s: float) -> Progress:
        """How far it is: after the next news, when it has ended, or when the time is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._news or self.ended, timeout_s)
            self._news = False
            return replace(self._progress, devices=dict(self._progress.devices))

    def cancel(self) -> None:
        """Stop; it ends within two seconds. Does nothing to one that has ended."""
        with self._changed:
            self._cancelled = True
            if self._run is not None:
                self._run.cancel()

    def run(self) -> None:
        set_job(self.name)
        log.info("Started: %s", self.name)
        result: PipelineResult | None = None
        error: SubtitleError | None = None
        try:
            result = self._transcribe()
            log.info("Wrote %s", ", ".join(result.report.outputs))
        except SubtitleError as caught:
            error = caught
        except Exception as caught:
            log.exception("%s failed", self.name)
            error = explained(caught)
        if self._request.adopt == "move":
            self._request.path.unlink(missing_ok=True)
        with self._changed:
            self.result, self.error = result, error
            self._changed.notify_all()

    def _transcribe(self) -> PipelineResult:
        request, options = self._request, self._request.options
        kept = self._kept()
        run = self._transcriber.start(
            request.path,
            self._decode,
            options.plan,
            audio_track=options.audio_track,
            work_dir=self._folder,
            decided=kept.decided if kept else None,
            journal=kept,
            where=options.where or LOCAL,
            job_id=self.name,
        )
        with self._changed:
            self._run = run
        self._check_cancelled()

        def feed(event: Event) -> None:
            if kept is not None and isinstance(event, LanguageDecided):
                kept.decide(event)
            with self._changed:
                self._progress.feed(event)
                self._news = True
                self._changed.notify_all()

        return run_pipeline(run, options.formats, request.output_dir or Path(), request.stem, feed)

    def _kept(self) -> CachedSegments | None:
        """What earlier commands have finished of it."""
        request, decode = self._request, self._decode
        # What an endpoint says today it may not say tomorrow: its model is not known here.
        remote = request.options.where not in (None, LOCAL)
        # A pipe can be read only once, so a later command cannot resume it.
        if self._cache is None or remote or not request.path.is_file():
            return None
        task, language = decode.task, decode.language
        model = self._transcriber.model_spec(task=task, language=language)
        info = self._transcriber.resolve(task=task, language=language).info
        keys = SegmentKeys(model, decode)
        language_key = None
        if decode.language is None and info.only_language is None:
            language_key = keys.of_recording(
                request.path,
                request.options.plan,
                request.options.audio_track,
                self._check_cancelled,
            )
        return CachedSegments(self._cache, keys, language_key)

    def _check_cancelled(self) -> None:
        if self._cancelled:
            raise Cancelled()


class Recordings:
    """Starts recordings, first come, first served. Leaving it ends those that still run, and the
    workers; it takes two seconds at most.

    Args:
        gpus: GPUs to use, indices or UUIDs; None: as the settings say.
        folder: where audio lies while a recording runs.
        cache: what earlier commands have finished; None: nothing is kept.
        endpoints: remote servers that may be used.

    Raises:
        DeviceUnavailable: a GPU was asked for and is not there.
        InvalidOption: the settings' compute type is none that the devices can do.
    """

    def __init__(
        self,
        settings: Settings,
        gpus: Sequence[int | str] | None,
        folder: Path,
        cache: SegmentCache | None,
        endpoints: tuple[Endpoint, ...] = (),
    ) -> None:
        self._transcriber = ParallelWhisperTranscriber(
            settings.model, settings.compute_type, gpus, settings=settings
        )
        if endpoints:
            self._transcriber.pool.set_endpoints(endpoints)
        self._settings = settings
        self._folder = folder
        self._cache = cache
        self._threads = ThreadPoolExecutor(settings.max_running_jobs, "recording")
        self._recordings: list[Recording] = []

    def load(self, options: JobOptions, progress: Callable[[str], None]) -> float:
        """Load the model in all workers; the seconds it took. ``progress`` gets a line for people
        now and then while the model is downloaded.

        Raises:
            ModelError, WorkerError, DiskFull: it cannot be had or loaded.
        """
        task, language = options.task, options.language
        self._transcriber.resolve(progress, task=task, language=language)
        return self._transcriber.preload(task=task, language=language)

    def start(self, request: JobRequest) -> Recording:
        recording = Recording(request, self._settings, self._transcriber, self._folder, self._cache)
        self._recordings.append(recording)
        self._threads.submit(recording.run)
        return recording

    def __enter__(self) -> Recordings:
        return self

    def __exit__(self, *exc: object) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        for recording in self._recordings:
            recording.cancel()
        self._transcriber.pool.close(CLOSE_GRACE_S)
        self._threads.shutdown()
