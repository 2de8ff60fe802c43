"""A recording to a Transcript on every device, as a stream of events.

    TranscriptionRun (parent)             one ingest process          one process per device
      start ───────────────────────────►  decode, VAD, plan
      events ◄── Decoded, Planned ──────        │ writes
        │                                       ▼
        └─ Planned.segment ─► WorkerPool ─► tasks ─► worker: reads the spool, decodes windows
      events ◄── SegmentStarted, SegmentFinished, SegmentFailed ──┘
      Finished(transcript, report): merged, on the recording's clock, gaps named

The pool and its loaded models outlive the run; several runs share them.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from cluster.link import ClusterLink
from core.defaults import decode_options, for_model
from core.endpoints import LOCAL
from core.events import LanguageDecided
from core.languages import language_code
from core.models import AUTO
from core.pool_job import DecodeRequest
from core.settings import Settings
from core.types import (
    DecodeOptions,
    ModelSpec,
    PlanOptions,
    SpeechSpan,
    Task,
    TranscriptSegment,
)
from gpu.choice import choose
from gpu.manager import gpu_manager
from gpu.support import check_compute_type
from ingest import IngestRequest
from media.container import DecodeLimits
from model_store.store import ResolvedModel, Wanted, model_spec, resolve_model
from transcription_run import Journal, ProgressCallback, TranscriptionRun
from workers.devices import find_devices
from workers.limits import PoolLimits
from workers.memory import MemoryFit, see_cards, tell_cards
from workers.pool import WorkerPool
from workers.resources import usable_cores

log = logging.getLogger("parallel_transcriber")

CPU_WORKER_MIB = 800
"""Memory a CPU worker takes with the installed base model in batches of 8 (docs/gpu-memory.md);
bounds their number. Larger models are asked about when they are loaded."""


class ParallelWhisperTranscriber:
    """Transcribes recordings on all chosen devices; thread-safe, keeps workers and models.

    Args:
        model_size: ``auto``, a model's name, an allowed hub id or a CTranslate2 directory.
        compute_type: CTranslate2's, or ``auto``: int8 on a CPU, on each GPU the best that it can
            do and that fits, float16 mostly.
        gpu_ids: GPUs to use, indices or UUIDs; None: those of ``CUDA_VISIBLE_DEVICES``, or all.
        vad_threshold: speech probability (0–1) that counts as speech.
        multi_gpu: False: one worker only.
        settings: everything else; None: read from the environment.
        pool: workers to share with others; None: own workers, ended by :meth:`close`.

    Raises:
        DeviceUnavailable: a GPU was asked for and is not there.
        InvalidOption: a compute type that the devices do not have.
    """

    def __init__(
        self,
        model_size: str = "auto",
        compute_type: str = "auto",
        gpu_ids: Sequence[int | str] | None = None,
        vad_threshold: float = 0.5,
        *,
        multi_gpu: bool = True,
        settings: Settings | None = None,
        pool: WorkerPool | None = None,
    ) -> None:
        self._settings = settings or Settings()
        self._model_size = model_size
        self._compute_type = compute_type
        self._vad_threshold = vad_threshold
        self._own_pool = pool is None
        self.pool = pool or make_pool(self._settings, gpu_ids=gpu_ids, multi_gpu=multi_gpu)
        # No process has started yet: there is nothing to close.
        check_compute_type(compute_type, only_cpus=self.device == "cpu")
        self._resolved: dict[tuple[str, str | None], ResolvedModel] = {}
        self._lock = threading.Lock()

    @property
    def device(self) -> str:
        """``cuda`` or ``cpu``."""
        return self.pool.devices[0].runs_on

    @property
    def slots(self) -> int:
        """Places for workers there are now, remote ones included."""
        return len(self.pool.status()) + len(self.pool.endpoint_status())

    @property
    def readers(self) -> int:
        """Recordings worth reading at a time so that no worker waits for segments: one for each
        worker as far as half the cores carry them, and at least as many as the settings let run."""
        wanted = min(self.slots, usable_cores() // 2)
        return max(self._settings.max_running_jobs, wanted)

    def resolve(
        self,
        progress: Callable[[str], None] | None = None,
        *,
        task: str = "transcribe",
        language: str | None = None,
    ) -> ResolvedModel:
        """The model's files; found, verified and if need be downloaded at the first call.

        ``auto`` is a model that can do the task in the language (None: any) and fits a device.
        """
        automatic = self._model_size.strip().lower() in ("", AUTO)
        wanted = Wanted(task=task, language=language_code(language), fits=self._fits)
        key = (wanted.task, wanted.language) if automatic else ("", None)
        with self._lock:
            if key not in self._resolved:
                self._resolved[key] = resolve_model(
                    self._settings, self._model_size, self.device, progress, wanted
                )
            return self._resolved[key]

    def _fits(self, model: str) -> bool:
        """Whether a model fits a device as it was when the pool was made, or that is unknown."""
        return not self.pool.cards or any(
            choose(
                card,
                [model],
                compute_type=self._compute_type,
                beam_size=self._settings.beam_size,
                peaks=gpu_manager.peaks,
            )
            for card in self.pool.cards
        )

    def model_spec(self, *, task: str = "transcribe", language: str | None = None) -> ModelSpec:
        """What the workers load."""
        resolved = self.resolve(task=task, language=language)
        return model_spec(
            resolved, self.pool.devices[0].runs_on, self._compute_type, self._settings.threads
        )

    def preload(self, *, task: str = "transcribe", language: str | None = None) -> float:
        """Load the model in every worker; returns the seconds it took."""
        return self.pool.preload(self.model_spec(task=task, language=language)).result()

    def start(
        self,
        audio_path: str | Path,
        options: DecodeOptions | None = None,
        plan: PlanOptions | None = None,
        *,
        audio_track: int | None = None,
        work_dir: Path | None = None,
        max_workers: int | None = None,
        decided: LanguageDecided | None = None,
        only: tuple[SpeechSpan, ...] | None = None,
        journal: Journal | None = None,
        job_id: str = "",
        where: str = LOCAL,
    ) -> TranscriptionRun:
        """Begin a recording; :meth:`TranscriptionRun.events` is its course.

        Args:
            options: None: beam and batch size of the settings, everything else by default.
            work_dir: where the spool lies while the run lasts; None: a temporary directory.
            max_workers: workers that may serve this recording; None: all.
            decided: the language an earlier run detected; None: as the options say.
            only: stretches of the recording to decode; None: all of it.
            journal: what an earlier run of the same recording finished.
            job_id: stands in the log's lines about this recording.
            where: ``local``, ``shared``, ``remote`` or the id of an endpoint; the pool's endpoints
                are those of ``WorkerPool.set_endpoints``.

        Raises:
            InvalidOption, ModelError: the request contradicts itself or the model.
        """
        options = options or decode_options(self._settings)
        plan = plan or PlanOptions(vad_threshold=self._vad_threshold)
        model = self.model_spec(task=options.task, language=options.language)
        info = self.resolve(task=options.task, language=options.language).info
        options = for_model(options, info, audit=plan.use_vad)
        ingest = IngestRequest(
            path=Path(audio_path),
            plan=plan,
            limits=DecodeLimits.of(self._settings),
            audio_track=audio_track,
            only=only,
        )
        decode = DecodeRequest(
            model=model, options=options, max_workers=max_workers, where=where, job_id=job_id
        )
        return TranscriptionRun(
            ingest, decode, self.pool.submit, work_dir=work_dir, decided=decided, journal=journal
        )

    def transcribe_parallel(
        self,
        audio_path: str | Path,
        language: str | None = None,
        task: Task = "transcribe",
        min_segment_duration: float = 10.0,
        max_segment_duration: float = 60.0,
        progress_callback: ProgressCallback | None = None,
    ) -> list[TranscriptSegment]:
        """Transcribe a file; returns its text in order, on the recording's clock (seconds).

        What could not be transcribed is named in the log; :meth:`start` gives it as gaps.
        """
        plan = PlanOptions(
            vad_threshold=self._vad_threshold,
            min_segment_duration=min_segment_duration,
            max_segment_duration=max_segment_duration,
        )
        options = decode_options(self._settings, language=language, task=task)
        run = self.start(audio_path, options, plan)
        return list(run.result(progress_callback).transcript.segments)

    def close(self) -> None:
        """End the workers, unless they are shared."""
        if self._own_pool:
            self.pool.close()

    def __enter__(self) -> ParallelWhisperTranscriber:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def link_of(settings: Settings) -> ClusterLink | None:
    """The settings' cluster; None without one. Raises InvalidOption: Ray is not installed."""
    if settings.cluster is None:
        return None
    return ClusterLink(
        settings.cluster,
        token=settings.cluster_token or "",
        threads=settings.threads,
        log_level=settings.log_level,
        log_format=settings.log_format,
    )


def make_pool(
    settings: Settings,
    *,
    gpu_ids: Sequence[int | str] | None = None,
    multi_gpu: bool = True,
    wait_for_devices: bool = False,
) -> WorkerPool:
    """Workers for the devices the settings name, and the line operators look for.

    ``wait_for_devices``: jobs wait when no device is left, instead of failing.
    """
    find = partial(
        find_devices,
        workers=settings.workers,
        threads=settings.threads,
        worker_mib=CPU_WORKER_MIB,
    )
    devices = find(
        device=settings.device,
        cuda_visible_devices=settings.cuda_visible_devices,
        gpu_ids=gpu_ids,
        multi_gpu=multi_gpu,
    )
    names = ", ".join(device.label.split()[-1] for device in devices)
    kind = "GPUs" if devices[0].kind == "cuda" else "CPU workers"
    log.info("Initialized ParallelWhisperTranscriber with %d %s: [%s]", len(devices), kind, names)
    needs_reserve = settings.cpu_fallback and devices[0].kind == "cuda"
    memory = MemoryFit(settings.batch_size, beam_size=settings.beam_size, peaks=gpu_manager.peaks)
    cards = see_cards(devices)
    tell_cards(cards)
    return WorkerPool(
        devices,
        threads=settings.threads,
        log_level=settings.log_level,
        log_format=settings.log_format,
        limits=PoolLimits(
            unload_after_s=settings.unload_after_s,
            endpoints_wait=settings.endpoints_down == "wait",
        ),
        wait_for_devices=wait_for_devices,
        cpu_fallback=find(device="cpu") if needs_reserve else (),
        fits=memory,
        plan_batch=memory.batch,
        on_peak=gpu_manager.peaks.add,
        cards=cards,
        cluster=link_of(settings) if multi_gpu else None,
    )
