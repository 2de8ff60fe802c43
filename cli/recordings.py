"""The recordings of one command on their way, on workers that stay loaded.

The next one is begun when the workers are about to run out of segments: then it is decoded and
searched for speech while they do the last ones of those before it. What has ended is forgotten, so
that memory does not depend on how many recordings there are.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
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
        news: threading.Event,
    ) -> None:
        self.name = request.title
        self.result: PipelineResult | None = None
        self.error: SubtitleError | None = None
        self._request = request
        self._decode = request.options.decode(settings)
        self._transcriber = transcriber
        self._folder = folder
        self._cache = cache
        self._lock = threading.Lock()
        self._news = news
        """Set after every change."""
        self._progress = Progress()
        self._run: TranscriptionRun | None = None
        self._cancelled = False

    @property
    def ended(self) -> bool:
        return self.result is not None or self.error is not None

    @property
    def being_read(self) -> bool:
        """More segments of it may come."""
        return not (self._progress.decode_finished or self.ended)

    @property
    def waiting(self) -> int:
        """Segments of it that no worker has yet."""
        with self._lock:
            return self._progress.waiting

    def progress(self) -> Progress:
        """How far it is now."""
        with self._lock:
            return replace(self._progress, devices=dict(self._progress.devices))

    def cancel(self) -> None:
        """Stop; it ends within two seconds. Does nothing to one that has ended."""
        with self._lock:
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
        with self._lock:
            self.result, self.error = result, error
        self._news.set()

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
        with self._lock:
            self._run = run
        self._check_cancelled()

        def feed(event: Event) -> None:
            if kept is not None and isinstance(event, LanguageDecided):
                kept.decide(event)
            with self._lock:
                self._progress.feed(event)
            self._news.set()

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
    """Starts recordings and forgets them when they have ended. Leaving it ends those that still
    run, and the workers; it takes two seconds at most. For one thread.

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
        self._news = threading.Event()
        self._running: list[tuple[Recording, threading.Thread]] = []

    def load(self, options: JobOptions, progress: Callable[[str], None]) -> float:
        """Load the model in all workers; the seconds it took. ``progress`` gets a line for people
        now and then while the model is downloaded.

        Raises:
            ModelError, WorkerError, DiskFull: it cannot be had or loaded.
        """
        task, language = options.task, options.language
        self._transcriber.resolve(progress, task=task, language=language)
        return self._transcriber.preload(task=task, language=language)

    @property
    def running(self) -> list[Recording]:
        """In the order in which they were started."""
        return [recording for recording, _ in self._running]

    @property
    def hungry(self) -> bool:
        """The next recording should be started: fewer segments wait than there are workers, and not
        so many recordings are being read already as may be."""
        running = self.running
        reading = sum(recording.being_read for recording in running)
        waiting = sum(recording.waiting for recording in running)
        return waiting < self._transcriber.slots and reading < self._transcriber.readers

    def start(self, request: JobRequest) -> Recording:
        recording = Recording(
            request, self._settings, self._transcriber, self._folder, self._cache, self._news
        )
        thread = threading.Thread(target=recording.run, name="recording")
        self._running.append((recording, thread))
        thread.start()
        return recording

    def wait(self, timeout_s: float) -> list[Recording]:
        """Those that have ended, and are forgotten here: after the next news of any, or at
        once if there are such, or when the time is over."""
        self._news.wait(timeout_s)
        # First: what happens from here on is news for the next call.
        self._news.clear()
        ended = [(recording, thread) for recording, thread in self._running if recording.ended]
        for recording, thread in ended:
            thread.join()
            self._running.remove((recording, thread))
        return [recording for recording, _ in ended]

    def __enter__(self) -> Recordings:
        return self

    def __exit__(self, *exc: object) -> None:
        for recording in self.running:
            recording.cancel()
        self._transcriber.pool.close(CLOSE_GRACE_S)
        for _, thread in self._running:
            thread.join()
