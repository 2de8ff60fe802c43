"""One model alone, from a recording to its text: the calls of the owner's documents."""

from __future__ import annotations

import logging
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
import pytest

from core.errors import (
    DeviceUnavailable,
    FileMissing,
    InvalidOption,
    ModelError,
    OutOfMemory,
    UnreadableMedia,
    WorkerError,
)
from core.pcm import PcmSpool
from core.process_memory import resident_mib
from core.settings import Settings
from core.types import SAMPLE_RATE, DecodeOptions, ModelSpec, SpeechSpan, Window
from decoding.model import SpeechModel
from gpu.manager import Released, gpu_manager
from parallel_transcriber import ParallelWhisperTranscriber
from tests.spoken import MAX_WER, Recording, joined, quiet, word_errors
from transcriber import WhisperEngine, WhisperTranscriber


@pytest.fixture(scope="module")
def settings(tiny_en: Path) -> Settings:
    return Settings(models_dir=tiny_en.parent, offline=True, threads=1, beam_size=1)


@pytest.fixture(scope="module")
def recording() -> Recording:
    return joined([0, 1, 4], gaps_s=(3.0, 1.5))


@pytest.fixture(scope="module")
def path(recording: Recording, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recording.write(tmp_path_factory.mktemp("transcriber") / "speech.flac")


@pytest.fixture(scope="module")
def transcriber(settings: Settings) -> WhisperTranscriber:
    return WhisperTranscriber("tiny.en", "cpu", "int8", settings=settings)


@pytest.fixture
def spools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the spool lies while a call runs; nothing may be left behind."""
    folder = tmp_path / "spools"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


def test_a_recording_becomes_its_text(
    transcriber: WhisperTranscriber, path: Path, recording: Recording, spools: Path
) -> None:
    calls: list[tuple[float, str]] = []
    segments = transcriber.transcribe(
        path,
        language=None,
        task="transcribe",
        progress_callback=lambda share, message: calls.append((share, message)),
    )
    assert word_errors(recording.text, segments).wer <= MAX_WER
    assert [s.start_s for s in segments] == sorted(s.start_s for s in segments)
    shares = [share for share, _ in calls]
    assert all(0.0 <= share <= 1.0 for share in shares)
    assert shares[-1] == 1.0
    assert len({round(share, 2) for share in shares}) > 1


def test_results_answer_as_objects_and_as_mappings(
    transcriber: WhisperTranscriber, path: Path, spools: Path
) -> None:
    segment = transcriber.transcribe(str(path))[0]
    assert segment["start"] == segment.start_s
    assert segment["end"] == segment.end_s
    assert segment["text"] == segment.text
    assert dict(segment) == {"start": segment.start_s, "end": segment.end_s, "text": segment.text}
    assert segment.words[0]["start"] == segment.words[0].start_s
    with pytest.raises(KeyError):
        segment["speaker"]


def test_without_vad_the_whole_recording_is_decoded(
    settings: Settings,
    path: Path,
    recording: Recording,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with caplog.at_level(logging.INFO):
        transcriber = WhisperTranscriber("tiny.en", "cpu", "int8", False, settings=settings)
        assert "Loading Whisper model: tiny.en on cpu" in caplog.messages
        caplog.clear()
        seen = options_seen(transcriber, monkeypatch)
        segments = transcriber.transcribe(path)
    assert {options.audit for options in seen} == {False}
    assert word_errors(recording.text, segments).wer <= 0.2
    assert not [message for message in caplog.messages if "No text" in message]


def options_seen(
    transcriber: WhisperTranscriber, monkeypatch: pytest.MonkeyPatch
) -> list[DecodeOptions]:
    """Filled with the options of every call of the engine."""
    seen: list[DecodeOptions] = []
    real = transcriber.engine.decode

    def decode(spool: object, segments: object, options: DecodeOptions, **calls: object) -> None:
        seen.append(options)
        real(spool, segments, options, **calls)  # type: ignore[arg-type]

    monkeypatch.setattr(transcriber.engine, "decode", decode)
    return seen


def test_options_reach_the_decoder(
    transcriber: WhisperTranscriber, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = options_seen(transcriber, monkeypatch)
    options = DecodeOptions(beam_size=1, word_timestamps=False, initial_prompt="Printing")
    segments = transcriber.transcribe(path, "en", options=options)
    assert {(o.beam_size, o.word_timestamps, o.initial_prompt) for o in seen} == {
        (1, False, "Printing")
    }
    assert {(o.language, o.task, o.audit) for o in seen} == {("en", "transcribe", True)}
    assert all(segment.words == () for segment in segments)


@pytest.mark.parametrize("model", ["tiny.en", "base"])
def test_both_public_classes_give_the_same(
    settings: Settings,
    base: Path,
    path: Path,
    model: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    one = settings.model_copy(update={"device": "cpu", "workers": 1})
    with ParallelWhisperTranscriber(model, "int8", settings=one) as parallel:
        there = parallel.start(path).result()
    alone = WhisperTranscriber(model, "cpu", "int8", settings=one)
    seen = options_seen(alone, monkeypatch)
    caplog.set_level(logging.INFO)
    assert alone.transcribe(path) == list(there.transcript.segments)
    assert {options.language for options in seen} == {there.transcript.language} == {"en"}
    count = len(there.report.segments)
    said = "\n".join(caplog.messages)
    assert len(re.findall(r"^\[CPU\] Processing segment \d \(\d+\.\ds\)$", said, re.M)) == count
    assert len(re.findall(r"^\[CPU\] ✓ Segment \d: \d+ texts$", said, re.M)) == count
    assert len(re.findall(rf"^Complete! {count} segments \| Speed: ", said, re.M)) == 1
    voted = re.findall(r"^\[CPU\] Language: en \(\d+%\)$", said, re.M)
    assert len(voted) == (model == "base")


def test_a_failure_of_the_model_is_an_error_and_the_next_call_works(
    transcriber: WhisperTranscriber, path: Path, spools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise RuntimeError("the card is on fire")

    with monkeypatch.context() as broken:
        broken.setattr(transcriber.engine._model, "generate", fail)
        with pytest.raises(WorkerError, match="the card is on fire"):
            transcriber.transcribe(path)
    assert transcriber.transcribe(path)


def test_a_callback_that_raises_ends_the_call(
    transcriber: WhisperTranscriber, path: Path, spools: Path
) -> None:
    def stop(share: float, _: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        transcriber.transcribe(path, progress_callback=stop)
    assert transcriber.transcribe(path)


def test_a_file_that_was_cut_off_keeps_its_text_and_names_the_end(
    transcriber: WhisperTranscriber,
    path: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    cut = tmp_path / "cut.flac"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    assert transcriber.transcribe(cut)
    assert [m for m in caplog.messages if m.endswith("ends before the length it declares")]


def test_silence_has_no_text(transcriber: WhisperTranscriber, tmp_path: Path, spools: Path) -> None:
    path = Recording(quiet(10), (), "").write(tmp_path / "quiet.wav")
    assert transcriber.transcribe(path) == []


def test_what_was_spoken_without_words_is_in_the_log(
    transcriber: WhisperTranscriber,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(transcriber.engine._model, "generate", lambda rows, *a, **k: _nothing(rows))
    assert transcriber.transcribe(path) == []
    gaps = [r for r in caplog.records if r.getMessage().startswith("No text from 3.")]
    assert [record.levelname for record in gaps] == ["WARNING"]


def _nothing(rows: list[object]) -> list[object]:
    from decoding.model import Decoding
    from decoding.quality import Scores

    return [Decoding((), "", Scores(-0.1, 0.0, 0.0)) for _ in rows]


def test_errors_are_typed_and_the_next_call_works(
    transcriber: WhisperTranscriber, tmp_path: Path, path: Path, spools: Path
) -> None:
    with pytest.raises(FileMissing):
        transcriber.transcribe(tmp_path / "gone.wav")
    text = tmp_path / "letter.wav"
    text.write_text("no sound in here")
    with pytest.raises(UnreadableMedia):
        transcriber.transcribe(text)
    with pytest.raises(ModelError, match="cannot translate"):
        transcriber.transcribe(path, task="translate")
    with pytest.raises(ModelError, match="English only"):
        transcriber.transcribe(path, "zh")
    with pytest.raises(InvalidOption):
        transcriber.transcribe(path, "klingon")
    assert transcriber.transcribe(path)


def test_devices_are_never_swapped_in_silence(settings: Settings) -> None:
    with pytest.raises(InvalidOption, match="no device 'tpu'"):
        WhisperTranscriber("tiny.en", "tpu", settings=settings)
    if ctranslate2.get_cuda_device_count():
        pytest.skip("there is a GPU here")
    with pytest.raises(DeviceUnavailable):
        WhisperTranscriber("tiny.en", "cuda", settings=settings)


def test_a_damaged_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"not a model")
    with pytest.raises(ModelError):
        WhisperEngine(ModelSpec("mine", str(tmp_path), "int8", "cpu"))
    with pytest.raises(ModelError):
        WhisperEngine(ModelSpec("mine", str(tmp_path / "gone"), "int8", "cpu"))


def test_a_compute_type_the_device_lacks_is_named(tiny_en: Path) -> None:
    with pytest.raises(ModelError) as caught:
        WhisperEngine(ModelSpec("tiny.en", str(tiny_en), "float17", "cpu"))
    assert "float17" in str(caught.value)


def test_a_type_that_needs_a_gpu_is_refused_before_anything_is_loaded(settings: Settings) -> None:
    # A model that is not there would be told first if it were looked for.
    with pytest.raises(InvalidOption, match="float16 needs a GPU"):
        WhisperTranscriber("small", "cpu", "float16", settings=settings)


def test_memory_that_runs_out_in_the_language_vote_is_called_so(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = WhisperEngine(ModelSpec("base", str(base), "int8", "cpu"))
    spool = PcmSpool(tmp_path / "audio.pcm")
    spool.path.write_bytes(bytes(2 * SAMPLE_RATE))
    span = SpeechSpan(0.0, 1.0)

    def encode(self: SpeechModel, clips: object) -> None:
        raise RuntimeError("CUDA failed with error out of memory")

    monkeypatch.setattr(SpeechModel, "encode", encode)
    with pytest.raises(OutOfMemory):
        engine.detect_language(spool, [Window((span,), (span,))])


def test_audio_arrives_as_it_was_recorded(transcriber: WhisperTranscriber, tmp_path: Path) -> None:
    """A minute of silence before the speech moves its times by a minute, and nothing else."""
    clip = joined([1], gaps_s=(0.5,))
    late = Recording(np.concatenate([quiet(60), clip.pcm]), (), clip.text)
    (early_path, late_path) = (clip.write(tmp_path / "a.wav"), late.write(tmp_path / "b.wav"))
    early, shifted = transcriber.transcribe(early_path), transcriber.transcribe(late_path)
    assert word_errors(clip.text, early).wer <= 0.5
    assert word_errors(clip.text, shifted).wer <= 0.5
    assert shifted[0].start_s == pytest.approx(early[0].start_s + 60, abs=0.3)


def test_memory_is_given_back_and_the_next_call_loads_again(
    settings: Settings, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    transcriber = WhisperTranscriber("tiny.en", "cpu", "int8", settings=settings)
    loaded_mib = resident_mib(os.getpid())
    during: list[Any] = []

    def ask(_: float, __: str) -> None:
        if not during:
            during.extend(transcriber.release())

    before = transcriber.transcribe(path, "en", progress_callback=ask)
    assert during == [Released("CPU", "busy", "tiny.en")]
    # The one of the other tests as well.
    answer = gpu_manager.release_all_memory()
    mine = [each for each in answer["devices"] if each["model"] == "tiny.en"]
    assert {each["outcome"] for each in mine} == {"unloaded"}
    assert sum(each["freed_mib"] for each in mine) > 20
    assert "[CPU] Unloading Whisper model: tiny.en (its memory is wanted back)" in caplog.messages
    after_mib = resident_mib(os.getpid())
    assert loaded_mib is not None
    assert after_mib is not None
    assert after_mib < loaded_mib
    assert transcriber.release() == (Released("CPU", "empty"),)
    assert transcriber.transcribe(path, "en") == before
