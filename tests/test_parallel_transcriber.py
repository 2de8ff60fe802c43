"""The public Python API on real workers: a recording to its text, whatever happens to them."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import ctranslate2
import numpy as np
import pytest

from core.errors import (
    Cancelled,
    DeviceUnavailable,
    InvalidOption,
    ModelError,
    NoAudioTrack,
    UnreadableMedia,
)
from core.events import Event, Finished, Planned, SegmentFinished, SegmentStarted
from core.settings import Settings
from core.types import DecodeOptions, ModelSpec, PlanOptions, TranscriptSegment
from gpu.choice import Card
from parallel_transcriber import ParallelWhisperTranscriber
from tests.media.containers import Recipe, write_media
from tests.spoken import MAX_WER, Recording, joined, quiet, word_errors
from tests.waiting import eventually
from tests.workers.conftest import ended
from transcription_run import TranscriptionRun
from workers.devices import Device
from workers.pool import WorkerPool

SHORT = PlanOptions(min_segment_duration=2.0, max_segment_duration=12.0)
"""Many segments from little audio."""


@pytest.fixture(scope="module")
def settings(tiny_en: Path) -> Settings:
    return Settings(models_dir=tiny_en.parent, offline=True, device="cpu", workers=2, beam_size=1)


@pytest.fixture(scope="module")
def transcriber(settings: Settings) -> Iterator[ParallelWhisperTranscriber]:
    with ParallelWhisperTranscriber("tiny.en", "int8", settings=settings) as transcriber:
        yield transcriber


@pytest.fixture(scope="module")
def recording() -> Recording:
    return joined([0, 1, 3, 4, 5], gaps_s=(1.5, 2.0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("parallel")


@pytest.fixture(scope="module")
def path(recording: Recording, folder: Path) -> Path:
    return recording.write(folder / "speech.flac")


@pytest.fixture(scope="module")
def four_minutes(recording: Recording, folder: Path) -> Path:
    pcm = np.tile(recording.pcm, round(240 / recording.duration_s))
    return replace(recording, pcm=pcm).write(folder / "long.wav")


def said(segments: list[TranscriptSegment] | tuple[TranscriptSegment, ...]) -> str:
    return " ".join(segment.text for segment in segments)


def watch(events: Iterator[Event], on_event: Callable[[Event], None]) -> None:
    for event in events:
        on_event(event)


def worker_pids(transcriber: ParallelWhisperTranscriber) -> dict[str, int]:
    return {s.label: s.pid for s in transcriber.pool.status() if s.pid is not None}


def test_the_quoted_calls_work_as_written(
    tiny_en: Path, path: Path, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHISPER_MODELS_DIR", str(tiny_en.parent))
    monkeypatch.setenv("WHISPER_DEVICE", "cpu")
    monkeypatch.setenv("WHISPER_BEAM_SIZE", "1")
    p = ParallelWhisperTranscriber(
        model_size="tiny.en", compute_type="int8", gpu_ids=None, vad_threshold=0.5
    )
    try:
        segments = p.transcribe_parallel(
            path,
            language=None,
            task="transcribe",
            min_segment_duration=10.0,
            max_segment_duration=60.0,
        )
    finally:
        p.close()
    assert word_errors(recording.text, segments).wer <= MAX_WER
    for segment in segments:
        assert (segment["start"], segment["end"]) == (segment.start_s, segment.end_s)
        assert dict(segment) == {
            "start": segment.start_s,
            "end": segment.end_s,
            "text": segment.text,
        }
    assert [s["start"] for s in segments] == sorted(s["start"] for s in segments)


def test_a_type_that_needs_a_gpu_is_refused_where_only_cpus_work(settings: Settings) -> None:
    with pytest.raises(InvalidOption, match="float16 needs a GPU"):
        ParallelWhisperTranscriber("tiny.en", "float16", settings=settings)
    gpu, cpu = Device("GPU 0", "cuda", "0"), Device("CPU 0", "cpu")
    with WorkerPool((gpu,), cpu_fallback=(cpu,)) as pool:
        ParallelWhisperTranscriber("tiny.en", "float16", settings=settings, pool=pool)


def test_gpus_that_are_not_there_are_an_error(settings: Settings) -> None:
    if ctranslate2.get_cuda_device_count():
        pytest.skip("there is a GPU here")
    with pytest.raises(DeviceUnavailable):
        ParallelWhisperTranscriber(
            "tiny.en", "int8", [0, 1, 2, 3], settings=settings.model_copy(update={"device": "auto"})
        )


def test_one_worker_where_several_are_not_wanted(settings: Settings) -> None:
    single = ParallelWhisperTranscriber("tiny.en", "int8", multi_gpu=False, settings=settings)
    assert len(single.pool.devices) == 1
    single.close()


def test_requests_the_model_cannot_serve_are_refused_at_once(
    transcriber: ParallelWhisperTranscriber, path: Path
) -> None:
    with pytest.raises(ModelError, match="cannot translate"):
        transcriber.start(path, DecodeOptions(task="translate"))
    with pytest.raises(ModelError, match="English only"):
        transcriber.transcribe_parallel(path, language="zh")
    with pytest.raises(InvalidOption):
        transcriber.transcribe_parallel(path, min_segment_duration=60, max_segment_duration=10)


def test_settings_are_the_defaults_of_every_run(
    settings: Settings, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = settings.model_copy(update={"beam_size": 2, "batch_size": 3})
    with ParallelWhisperTranscriber("tiny.en", "int8", settings=chosen) as transcriber:
        run = transcriber.start(path)
        assert (run._decode.options.beam_size, run._decode.options.batch_size) == (2, 3)
        seen: list[DecodeOptions] = []
        real = transcriber.start

        def start(audio_path: Path, options: DecodeOptions, plan: PlanOptions) -> TranscriptionRun:
            run = real(audio_path, options, plan)
            seen.append(run._decode.options)
            run.cancel()
            return run

        monkeypatch.setattr(transcriber, "start", start)
        with pytest.raises(Cancelled):
            transcriber.transcribe_parallel(path)
    assert [(options.beam_size, options.batch_size) for options in seen] == [(2, 3)]


def test_a_killed_worker_costs_no_word(
    transcriber: ParallelWhisperTranscriber, path: Path, recording: Recording
) -> None:
    whole = transcriber.start(path, plan=SHORT).result().transcript
    events: list[Event] = []
    killed: list[int] = []
    for event in transcriber.start(path, plan=SHORT).events():
        events.append(event)
        if isinstance(event, SegmentStarted) and event.index == 1 and not killed:
            killed.append(worker_pids(transcriber)[event.device])
            os.kill(killed[0], signal.SIGKILL)
    assert killed
    end = events[-1]
    assert isinstance(end, Finished)
    assert end.transcript.complete
    assert said(end.transcript.segments) == said(whole.segments)
    assert word_errors(recording.text, end.transcript.segments).wer <= MAX_WER
    assert max(report.attempts for report in end.report.segments) == 2
    eventually(lambda: len(worker_pids(transcriber)) == 2, "the worker is replaced")
    assert killed[0] not in worker_pids(transcriber).values()


def test_cancelling_leaves_no_spool_and_no_process(
    transcriber: ParallelWhisperTranscriber, four_minutes: Path, tmp_path: Path
) -> None:
    run = transcriber.start(four_minutes, work_dir=tmp_path)
    cancel = threading.Thread(target=run.cancel)

    def cancel_once(event: Event) -> None:
        if isinstance(event, SegmentStarted) and cancel.ident is None:
            cancel.start()

    with pytest.raises(Cancelled):
        watch(run.events(), cancel_once)
    cancel.join()
    assert list(tmp_path.iterdir()) == []
    assert children_named("whisper-ingest") == []


def children_named(name: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and not ended(int(entry.name)):
            stat = (entry / "stat").read_text()
            parent = int(stat.rpartition(")")[2].split()[1])
            if parent == os.getpid() and f"({name[:15]})" in stat:
                found.append(int(entry.name))
    return found


def test_first_text_comes_early_and_a_second_run_is_not_behind_the_first(
    transcriber: ParallelWhisperTranscriber,
    four_minutes: Path,
    path: Path,
    recording: Recording,
) -> None:
    pids = worker_pids(transcriber)
    order: list[str] = []
    short: list[Finished] = []

    def work() -> None:
        short.append(transcriber.start(path).result())
        order.append("short")

    second = threading.Thread(target=work)
    events: list[Event] = []
    for event in transcriber.start(four_minutes).events():
        events.append(event)
        if isinstance(event, SegmentStarted) and second.ident is None:
            second.start()
    order.append("long")
    second.join()
    assert order == ["short", "long"]
    assert word_errors(recording.text, short[0].transcript.segments).wer <= MAX_WER
    long = events[-1]
    assert isinstance(long, Finished)
    assert long.transcript.complete
    kinds = [type(event) for event in events]
    assert kinds.index(SegmentFinished) < len(kinds) - 1 - kinds[::-1].index(SegmentStarted)
    assert len([kind for kind in kinds if kind is Planned]) >= 4
    assert worker_pids(transcriber) == pids


def test_a_file_that_was_cut_off_keeps_its_text_and_names_the_end(
    transcriber: ParallelWhisperTranscriber, path: Path, recording: Recording, tmp_path: Path
) -> None:
    cut = tmp_path / "cut.flac"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    transcript = transcriber.start(cut).result().transcript
    hits = word_errors(recording.text, transcript.segments).hits
    assert hits > len(recording.text.split()) / 4, "half of the words are there, most of them right"
    gap = transcript.gaps[-1]
    assert gap.reason == "the file ends before the length it declares"
    assert gap.end_s == pytest.approx(recording.duration_s, abs=0.1)
    assert gap.start_s == pytest.approx(transcript.duration_s)


def test_bad_files_are_typed_errors_and_the_next_job_runs(
    transcriber: ParallelWhisperTranscriber, path: Path, tmp_path: Path
) -> None:
    mute = tmp_path / "mute.mp4"
    write_media(mute, [], Recipe("aac", video="libx264"), video_s=1.0)
    with pytest.raises(NoAudioTrack):
        transcriber.transcribe_parallel(mute)
    letter = tmp_path / "letter.mp3"
    letter.write_text("no sound in here")
    with pytest.raises(UnreadableMedia):
        transcriber.transcribe_parallel(letter)
    assert transcriber.transcribe_parallel(path)


def test_a_recording_without_speech_has_no_segments_and_no_gaps(
    transcriber: ParallelWhisperTranscriber, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    silent = Recording(quiet(15), (), "").write(tmp_path / "quiet.wav")
    with caplog.at_level(logging.INFO):
        transcript = transcriber.start(silent).result().transcript
    assert (transcript.segments, transcript.gaps) == ((), ())
    assert "No speech was found in quiet.wav" in caplog.messages


TWO_JOBS = """
import sys
from core.logs import setup_logging
from core.settings import Settings
from parallel_transcriber import ParallelWhisperTranscriber
setup_logging()
settings = Settings(models_dir=sys.argv[1], offline=True, device="cpu", workers=2, beam_size=1)
with ParallelWhisperTranscriber("tiny.en", "int8", settings=settings) as transcriber:
    transcriber.preload()
    for _ in range(2):
        transcriber.transcribe_parallel(
            sys.argv[2], min_segment_duration=2.0, max_segment_duration=12.0)
"""

LINE = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO "


def test_operators_find_the_lines_they_look_for(tiny_en: Path, path: Path, root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TWO_JOBS, str(tiny_en.parent), str(path)],
        capture_output=True,
        check=True,
        cwd=root,
        text=True,
    )

    def lines(pattern: str) -> list[str]:
        return re.findall(f"{LINE}{pattern}$", done.stderr, re.MULTILINE)

    initialized = r"Initialized ParallelWhisperTranscriber with 2 CPU workers: \[0, 1\]"
    assert len(lines(initialized)) == 1
    assert len(lines(r"\[CPU [01]\] Loading Whisper model: tiny.en on cpu")) == 2
    processing = lines(r"\[CPU [01]\] Processing segment \d+ \(\d+\.\ds\)")
    succeeded = lines(r"\[CPU [01]\] ✓ Segment \d+: [1-9]\d* texts")
    complete = lines(r"Complete! (\d+) segments \| Speed: \d+\.\dx realtime")
    assert len(complete) == 2
    assert len(processing) == len(succeeded) == sum(map(int, complete)) >= 6
    assert done.stdout == ""
    assert " Warning: " not in done.stderr
    assert " ERROR " not in done.stderr


def with_models(folder: Path, *names: str) -> Settings:
    """Settings with files that look like these models."""
    for name in names:
        (folder / name).mkdir()
        for file in ("model.bin", "config.json", "tokenizer.json", "vocabulary.txt"):
            (folder / name / file).write_bytes(b"x")
    return Settings(models_dir=folder, offline=True)


def gpu_pool(*free_mib: float) -> WorkerPool:
    """A pool of GPUs that never starts."""
    devices = [
        Device(f"GPU {i}", "cuda", str(i), "NVIDIA L4", (8, 9)) for i in range(len(free_mib))
    ]
    cards = [
        Card(
            label=device.label, free_mib=free, total_mib=24_576, name=device.name, capability=(8, 9)
        )
        for device, free in zip(devices, free_mib, strict=True)
    ]
    return WorkerPool(devices, cards=cards)


@pytest.mark.parametrize(
    ("free_mib", "task", "model"),
    [
        ((20_000,), "transcribe", "large-v3-turbo"),
        ((20_000,), "translate", "medium"),
        # The one with the most room decides; the others take what they can, or sit out.
        ((700, 20_000), "transcribe", "large-v3-turbo"),
        ((1_300,), "transcribe", "small"),
        ((1_300,), "translate", "small"),
    ],
)
def test_automatic_model_fits_the_task_and_a_card(
    tmp_path: Path, free_mib: tuple[float, ...], task: str, model: str
) -> None:
    settings = with_models(tmp_path, "large-v3-turbo", "medium", "small")
    transcriber = ParallelWhisperTranscriber("auto", settings=settings, pool=gpu_pool(*free_mib))
    assert transcriber.resolve(task=task).name == model
    assert transcriber.model_spec(task=task).compute_type == "auto"


def test_model_is_loaded_ahead_for_the_task_that_will_come(tmp_path: Path) -> None:
    """Otherwise a command that translates would load one model and work with another."""
    settings = with_models(tmp_path, "large-v3-turbo", "medium")
    pool = gpu_pool(20_000)
    asked: list[str] = []

    def preload(model: ModelSpec) -> Future[float]:
        asked.append(model.name)
        done: Future[float] = Future()
        done.set_result(1.0)
        return done

    pool.preload = preload  # type: ignore[method-assign]
    transcriber = ParallelWhisperTranscriber("auto", settings=settings, pool=pool)
    transcriber.preload(task="translate")
    transcriber.preload()
    assert asked == ["medium", "large-v3-turbo"]
