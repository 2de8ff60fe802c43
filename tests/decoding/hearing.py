"""Run the decoder over a recording as a worker does, with models that misbehave on demand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.merge import merge_transcript
from core.pcm import Float32, PcmSpool
from core.types import (
    AudioSegment,
    DecodeOptions,
    Gap,
    SegmentResult,
    SpeechSpan,
    TranscriptSegment,
    Word,
)
from decoding.model import Decoding, Row, SpeechModel
from decoding.rounds import Decoder
from decoding.segments import SegmentDecoder
from tests.spoken import Recording
from vad import SileroVAD, plan_segments

ENGLISH = DecodeOptions(language="en")


@dataclass
class Outcome:
    """All the callbacks said."""

    started: list[int] = field(default_factory=list)
    results: dict[int, SegmentResult] = field(default_factory=dict)
    errors: dict[int, Exception] = field(default_factory=dict)

    @property
    def segments(self) -> list[TranscriptSegment]:
        return list(merge_transcript(self.results.values()).segments)

    @property
    def words(self) -> list[Word]:
        return [word for segment in self.segments for word in segment.words]

    @property
    def gaps(self) -> list[Gap]:
        return [gap for result in self.results.values() for gap in result.gaps]

    @property
    def redecoded(self) -> int:
        return sum(result.redecoded_windows for result in self.results.values())


def heard_spans(recording: Recording) -> tuple[list[SpeechSpan], list[float]]:
    vad = SileroVAD()
    return vad.push(recording.pcm) + vad.flush(), vad.probabilities


def planned(
    recording: Recording, shortest_s: float = 10.0, longest_s: float = 60.0
) -> list[AudioSegment]:
    spans, probabilities = heard_spans(recording)
    return plan_segments(spans, probabilities, shortest_s, longest_s)


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

    def on_result(result: SegmentResult) -> None:
        answered(result.index)
        outcome.results[result.index] = result

    def on_error(index: int, error: Exception) -> None:
        answered(index)
        outcome.errors[index] = error

    decoder = Decoder(model, options, options.language or "en", should_stop)
    SegmentDecoder(
        decoder, spool, options.batch_size, outcome.started.append, on_result, on_error
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
        self.searches: list[tuple[float, int]] = []
        """Temperature and number of windows of each search."""
        self.encoded: list[int] = []
        """Windows of each encoder batch that was tried."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def encode(self, clips: Sequence[Float32]) -> list[Row]:
        self.encoded.append(len(clips))
        return self._real.encode(clips)

    def generate(self, rows: Sequence[Row], *args: Any, **options: Any) -> list[Decoding]:
        self.searches.append((options.get("temperature", 0.0), len(rows)))
        return self.answer(rows, self._real.generate(rows, *args, **options))

    def answer(self, rows: Sequence[Row], decodings: list[Decoding]) -> list[Decoding]:
        """For tests to change."""
        return decodings
