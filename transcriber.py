"""One Whisper model on one device, in this process: from a recording to its text in one call.

``WhisperEngine``, which decodes the segments here and in workers, is documented under this name.
"""

from __future__ import annotations

import gc
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Literal

import ctranslate2

from core.defaults import decode_options, for_model
from core.errors import (
    Cancelled,
    DeviceUnavailable,
    InvalidOption,
    SubtitleError,
    WorkerError,
)
from core.events import LanguageDecided, SegmentFinished, SegmentStarted
from core.languages import LANGUAGE_PATIENCE_S, LANGUAGE_SEGMENTS, voting_windows
from core.models import AUTO
from core.pcm import PcmSpool
from core.pool_job import DecodeRequest, JobEnded, OnEvent, PoolJob
from core.process_memory import resident_mib, return_to_system
from core.settings import Settings
from core.types import (
    AudioSegment,
    DecodeOptions,
    ModelSpec,
    PlanOptions,
    Task,
    TranscriptSegment,
)
from decoding.engine import WhisperEngine
from gpu.choice import CPU_BATCH, Card, best_batch
from gpu.manager import Released, card_of, gpu_manager
from gpu.nvml import find_device, read_gpus
from gpu.physical import setup_of
from gpu.support import check_compute_type, preferred
from ingest import IngestRequest
from media.container import DecodeLimits
from model_store.store import model_spec, resolve_model
from transcription_run import ProgressCallback, TranscriptionRun

__all__ = ["WhisperEngine", "WhisperTranscriber"]

log = logging.getLogger("transcriber")


class _DecodingHere:
    """``core.pool_job.JobSink`` of one job that an engine decodes in this process, on a thread.

    The first error ends it: there is no other worker to try.
    """

    def __init__(self, engine: WhisperEngine, thread: Executor) -> None:
        self._engine = engine
        self._thread = thread
        self._label = device_label(engine.spec)
        self._came: queue.SimpleQueue[tuple[AudioSegment, ...]] = queue.SimpleQueue()
        self._input_finished = False
        self._stopped: SubtitleError | None = None

    def submit(self, request: DecodeRequest, spool: PcmSpool, on_event: OnEvent) -> PoolJob:
        job = PoolJob(request, spool, on_event, self)
        self._thread.submit(self._run, job)
        return job

    def post(self, call: Callable[[], None]) -> None:
        call()

    def add(self, job: PoolJob, segments: tuple[AudioSegment, ...]) -> None:
        self._came.put(segments)

    def finish_input(self, job: PoolJob) -> None:
        self._came.put(())

    def cancel(self, job: PoolJob, error: SubtitleError | None) -> None:
        self._stopped = self._stopped or error or Cancelled()
        self._came.put(())

    def _run(self, job: PoolJob) -> None:
        error: SubtitleError | None = None
        try:
            self._decode_all(job)
        except SubtitleError as caught:
            error = caught
        except Exception as caught:
            error = WorkerError(f"{type(caught).__name__}: {caught}")
            error.__cause__ = caught
        job.emit(JobEnded(self._stopped or error))

    def _decode_all(self, job: PoolJob) -> None:
        options = job.request.options
        while segments := self._next(LANGUAGE_SEGMENTS if options.language is None else 1):
            begun_s = time.monotonic()
            if options.language is None:
                windows = voting_windows(segments)
                language, probability = self._engine.detect_language(job.spool, windows)
                log.info("[%s] Language: %s (%.0f%%)", self._label, language, 100 * probability)
                job.emit(LanguageDecided(language, probability))
                options = replace(options, language=language)
            self._decode(job, segments, options)
            job.transcribe_s += time.monotonic() - begun_s

    def _next(self, count: int) -> list[AudioSegment]:
        """All segments that are there. Waits for so many, or, if there are some at least, for as
        long as the vote on the language may wait; empty when no more will come."""
        segments: list[AudioSegment] = []
        until_s: float | None = None
        while True:
            wait = len(segments) < count and not self._input_finished
            try:
                timeout_s = None if until_s is None else max(0.0, until_s - time.monotonic())
                came = self._came.get(wait, timeout_s)
            except queue.Empty:
                return segments
            self._input_finished = self._input_finished or not came
            if came and until_s is None:
                until_s = time.monotonic() + LANGUAGE_PATIENCE_S
            segments.extend(came)

    def _decode(
        self, job: PoolJob, segments: Sequence[AudioSegment], options: DecodeOptions
    ) -> None:
        known = {segment.index: segment for segment in segments}

        def started(index: int) -> None:
            log.info(
                "[%s] Processing segment %d (%.1fs)",
                *(self._label, index, known[index].duration_s),
            )
            job.emit(SegmentStarted(index, self._label))

        def done(result: SegmentFinished) -> None:
            log.info("[%s] ✓ Segment %d: %d texts", self._label, result.index, len(result.segments))
            compute_type = self._engine.spec.compute_type
            report = replace(result.report, device=self._label, compute_type=compute_type)
            job.emit(replace(result, report=report))

        def failed(index: int, error: Exception) -> None:
            raise error

        self._engine.decode(
            job.spool,
            segments,
            options,
            on_started=started,
            on_result=done,
            on_error=failed,
            should_stop=lambda: self._stopped is not None,
        )


class WhisperTranscriber:
    """A Whisper model on one device, used alone: from a recording to its text. One call at a time.

    Args:
        model_size: ``auto``, a model's name, or a CTranslate2 directory.
        device: ``cuda``, ``cpu`` or ``auto``. ``cuda`` without a GPU is an error.
        compute_type: CTranslate2's, or ``auto``: float16 on a GPU, int8 on a CPU.
        use_vad: False: decode every second, silence too; nothing is audited then.
        settings: everything else; None: read from the environment.

    Raises:
        ModelError: the model cannot be had, is damaged, or does not run with this compute type.
        DeviceUnavailable: there is no such device.
        InvalidOption: a compute type that the device does not have.
    """

    def __init__(
        self,
        model_size: str = "auto",
        device: str = "auto",
        compute_type: str = "auto",
        use_vad: bool = True,
        *,
        settings: Settings | None = None,
    ) -> None:
        self._settings = settings or Settings()
        self._use_vad = use_vad
        kind = _device(device)
        check_compute_type(compute_type, only_cpus=kind == "cpu")
        self.model = resolve_model(self._settings, model_size, kind)
        spec = model_spec(self.model, kind, compute_type, self._settings.threads)
        card = _first_card(self._settings) if kind == "cuda" else None
        if spec.compute_type == AUTO:
            spec = replace(spec, compute_type=preferred(card.capability if card else None)[0])
        self._batch_size = CPU_BATCH
        if card is not None:
            # One window, at least, is tried.
            setup = setup_of(spec, card.capability)
            self._batch_size = best_batch(setup, card, gpu_manager.peaks) or 1
        self._spec = spec
        self._busy = threading.Lock()
        self._engine: WhisperEngine | None = self._load()
        gpu_manager.holds_memory(self)

    @property
    def engine(self) -> WhisperEngine:
        """The loaded model; loaded again after :meth:`release`."""
        if self._engine is None:
            self._engine = self._load()
        return self._engine

    def release(self) -> tuple[Released]:
        """Unload the model, unless a recording is being transcribed; the next call of
        :meth:`transcribe` loads it again. A CUDA context stays on the card until the process ends.
        """
        name, device = self._spec.name, device_label(self._spec)
        if not self._busy.acquire(blocking=False):
            return (Released(device, "busy", name),)
        try:
            if self._engine is None:
                return (Released(device, "empty"),)
            log.info("[%s] Unloading Whisper model: %s (its memory is wanted back)", device, name)
            before_mib = self._held_mib()
            # CTranslate2 frees the device memory when the object goes.
            self._engine = None
            # An error of its last job may hold it in a circle of tracebacks.
            gc.collect()
            return_to_system()
            after_mib = self._held_mib()
        finally:
            self._busy.release()
        known = before_mib is not None and after_mib is not None
        freed_mib = max(0.0, (before_mib or 0.0) - (after_mib or 0.0)) if known else None
        return (Released(device, "unloaded", name, freed_mib),)

    def _load(self) -> WhisperEngine:
        log.info("Loading Whisper model: %s on %s", self._spec.name, self._spec.device)
        engine = WhisperEngine(self._spec)
        engine.warm_up()
        return engine

    def _held_mib(self) -> float | None:
        """Memory in use now: of the whole card, or by this process on a CPU."""
        if self._spec.device == "cpu":
            return resident_mib(os.getpid())
        card = _first_card(self._settings)
        return None if card is None else card.total_mib - card.free_mib

    def transcribe(
        self,
        audio_path: str | Path,
        language: str | None = None,
        task: Task = "transcribe",
        progress_callback: ProgressCallback | None = None,
        *,
        options: DecodeOptions | None = None,
    ) -> list[TranscriptSegment]:
        """Transcribe a recording; its text in order, on the recording's clock (seconds).

        Args:
            progress_callback: called with the share done (0–1) and a line for people.
            options: beam size, prompt and the rest; ``language`` and ``task`` go before it.

        Raises:
            InputError: the recording or the options cannot be used.
            WorkerError: the device failed.
        """
        options = options or decode_options(self._settings)
        options = replace(
            options,
            language=language,
            task=task,
            batch_size=options.batch_size or self._batch_size,
        )
        options = for_model(options, self.model.info, audit=self._use_vad)
        ingest = IngestRequest(
            path=Path(audio_path),
            plan=PlanOptions(use_vad=self._use_vad),
            limits=DecodeLimits.of(self._settings),
        )
        decode = DecodeRequest(model=self._spec, options=options)
        with self._busy, ThreadPoolExecutor(1, "engine") as thread:
            run = TranscriptionRun(ingest, decode, _DecodingHere(self.engine, thread).submit)
            return list(run.result(progress_callback).transcript.segments)


def device_label(spec: ModelSpec) -> str:
    """What people call the device of a model that is used alone."""
    return "GPU" if spec.device == "cuda" else "CPU"


def _first_card(settings: Settings) -> Card | None:
    """The GPU that CTranslate2 takes; None where it cannot be seen."""
    first = (settings.cuda_visible_devices or "0").split(",")[0].strip()
    device = find_device(first, read_gpus())
    return card_of(device, "GPU") if device is not None and device.total_mib else None


def _device(name: str) -> Literal["cpu", "cuda"]:
    if name == "cpu":
        return "cpu"
    if name not in ("auto", "cuda"):
        raise InvalidOption(f"There is no device {name!r}.", hint="Use cpu, cuda or auto.")
    if ctranslate2.get_cuda_device_count():
        return "cuda"
    if name == "cuda":
        raise DeviceUnavailable("A GPU was asked for, and this machine shows none.")
    return "cpu"
