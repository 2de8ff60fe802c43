"""The ways of getting an SRT that ``bench/compare.py`` measures, each one a warm callable.

Same model, int8 on the CPU, beam 5, word timestamps, language given. Each goes from a file to an
SRT on disk; the others' words go through our layout, so that all write the same kind of file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.settings import Settings
from core.types import DecodeOptions, Transcript, TranscriptSegment, Word
from parallel_transcriber import ParallelWhisperTranscriber
from subtitles.formats import write_files
from subtitles.layout import layout

BEAM = 5


@dataclass(frozen=True, slots=True)
class Way:
    family: str
    """``ours``, ``sequential`` or ``batched``."""
    name: str
    run: Callable[[Path, Path], str]
    """(recording, folder) → the text, after the SRT was written."""
    close: Callable[[], None] = lambda: None


def ours(model: str, workers: int, batch: int) -> Way:
    """This project: as many workers as cores, models loaded."""
    settings = Settings(device="cpu", workers=workers, log_level="error")
    transcriber = ParallelWhisperTranscriber(model, "int8", settings=settings)
    transcriber.preload()

    def run(recording: Path, folder: Path) -> str:
        options = DecodeOptions(language="en", beam_size=BEAM, batch_size=batch)
        finished = transcriber.start(recording, options).result()
        return _write(finished.transcript, folder, "ours")

    return Way("ours", f"whisper-for-subs, {workers} workers", run, transcriber.close)


def sequential(model_path: str, threads: int) -> Way:
    """faster-whisper as its README shows it, with its VAD filter."""
    from faster_whisper import WhisperModel

    model = WhisperModel(model_path, device="cpu", compute_type="int8", cpu_threads=threads)

    def run(recording: Path, folder: Path) -> str:
        segments, info = model.transcribe(
            str(recording), language="en", vad_filter=True, word_timestamps=True, beam_size=BEAM
        )
        return _write(_transcript(segments, info.duration), folder, "sequential")

    return Way("sequential", f"faster-whisper sequential, {_threads(threads)}", run)


def batched(model_path: str, threads: int, batch: int) -> Way:
    """faster-whisper's BatchedInferencePipeline with its own VAD."""
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    model = WhisperModel(model_path, device="cpu", compute_type="int8", cpu_threads=threads)
    pipeline = BatchedInferencePipeline(model)

    def run(recording: Path, folder: Path) -> str:
        segments, info = pipeline.transcribe(
            str(recording),
            language="en",
            word_timestamps=True,
            beam_size=BEAM,
            batch_size=batch,
        )
        return _write(_transcript(segments, info.duration), folder, "batched")

    return Way("batched", f"faster-whisper batched, {_threads(threads)}, batch {batch}", run)


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _transcript(segments: Iterable[Any], duration_s: float) -> Transcript:
    return Transcript(
        tuple(
            TranscriptSegment(
                segment.start,
                segment.end,
                segment.text.strip(),
                tuple(
                    Word(word.start, word.end, word.word, word.probability)
                    for word in segment.words or ()
                ),
            )
            for segment in segments
        ),
        duration_s=duration_s,
    )


def _write(transcript: Transcript, folder: Path, stem: str) -> str:
    write_files(transcript, layout(transcript), ("srt",), folder, stem)
    return " ".join(segment.text for segment in transcript.segments)
