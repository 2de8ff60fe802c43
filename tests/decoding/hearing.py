"""Run the decoder over a recording as a worker does, with models that misbehave on demand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from core.events import SegmentFinished
from core.merge import TranscriptBuilder
from core.pcm import Float32, PcmSpool
from core.types import (
    AudioSegment,
    DecodeOptions,
    Gap,
    SpeechSpan,
    TranscriptSegment,
    Window,
    Word,
)
from decoding.model import Decoding, Row, SpeechModel
from decoding.rounds import Decoder
from decoding.segments import SegmentDecoder
from gpu.choice import CPU_BATCH
from tests.spoken import Recording, to_int16
from vad import SileroVAD, plan_segments

ENGLISH = DecodeOptions(language="en")


@dataclass
class Outcome:
    """All the callbacks said."""

    started: list[int] = field(default_factory=list)
    results: dict[int, SegmentFinished] = field(default_factory=dict)
    errors: dict[int, Exception] = field(default_factory=dict)

    @property
    def segments(self) -> list[TranscriptSegment]:
        builder = TranscriptBuilder()
        for index, result in self.results.items():
            builder.add(index, result.segments, result.gaps)
        return list(builder.build().segments)

    @property
    def words(self) -> list[Word]:
        return [word for segment in self.segments for word in segment.words]

    @property
    def gaps(self) -> list[Gap]:
        return [gap for result in self.results.values() for gap in result.gaps]

    @property
    def redecoded(self) -> int:
        return sum(result.report.redecoded_windows for result in self.results.values())


def heard_spans(recording: Recording) -> tuple[list[SpeechSpan], list[float]]:
    vad = SileroVAD()
    return vad.push(recording.pcm) + vad.flush(), vad.probabilities


def planned(
    recording: Recording, shortest_s: float = 10.0, longest_s: float = 60.0
) -> list[AudioSegment]:
    spans, probabilities = heard_spans(recording)
    return plan_segments(spans, probabilities, shortest_s, longest_s)


def whole(recording: Recording, index: int = 0, start_s: float = 0.0) -> AudioSegment:
    """The recording as a segment of one window."""
    span = SpeechSpan(start_s, start_s + recording.duration_s)
    return AudioSegment(index, span.start_s, span.end_s, (Window((span,), (span,)),))


def noisy(recording: Recording, louder_db: float) -> Recording:
    """The recording under white noise that is so much louder than its speech."""
    audio = recording.pcm / 32768
    noise = np.random.default_rng(1).standard_normal(len(audio))
    level = np.sqrt((audio**2).mean()) * 10 ** (louder_db / 20)
    return replace(recording, pcm=to_int16(audio + level * noise))


def slowed(recording: Recording, factor: float) -> Recording:
    """Slower and deeper; the times of its utterances are no longer true."""
    at = np.arange(0, len(recording.pcm) - 1, factor)
    audio = np.interp(at, np.arange(len(recording.pcm)), recording.pcm / 32768)
    return replace(recording, pcm=to_int16(audio))


def decode(
    model: Any,
    spool: PcmSpool,
    segments: Sequence[AudioSegment],
    options: DecodeOptions = ENGLISH,
    should_stop: Callable[[], bool] = lambda: False,
) -> Outcome:
    outcome = Outcome()

    def answered(index: int) -> None:
        assert index in outcome.started
        assert index not in outcome.results
        assert index not in outcome.errors

    def on_result(result: SegmentFinished) -> None:
        answered(result.index)
        outcome.results[result.index] = result

    def on_error(index: int, error: Exception) -> None:
        answered(index)
        outcome.errors[index] = error

    decoder = Decoder(model, options, options.language or "en", should_stop)
    SegmentDecoder(
        decoder, spool, options.batch_size or CPU_BATCH, outcome.started.append, on_result, on_error
    ).run(segments)
    return outcome


def transcribed(
    model: Any, recording: Recording, folder: Path, options: DecodeOptions = ENGLISH
) -> Outcome:
    return decode(model, recording.spool(folder), planned(recording), options)


class Wrapped:
    """A model that behaves like the real one, apart from what a test changes."""

    def __init__(self, model: SpeechModel) -> None:
        self._real = model
        self.searches: list[tuple[bool, int]] = []
        """Of each search: whether it was one against loops, and its number of windows."""
        self.encoded: list[int] = []
        """Windows of each encoder batch that was tried."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def encode(self, clips: Sequence[Float32]) -> list[Row]:
        self.encoded.append(len(clips))
        return self._real.encode(clips)

    def generate(self, rows: Sequence[Row], *args: Any, **options: Any) -> list[Decoding]:
        self.searches.append((options.get("against_loops", False), len(rows)))
        return self.answer(rows, self._real.generate(rows, *args, **options))

    def answer(self, rows: Sequence[Row], decodings: list[Decoding]) -> list[Decoding]:
        """For tests to change."""
        return decodings
