"""Recordings joined from the LJSpeech clips of ``tests/data``, whose words and times are known."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import jiwer
import numpy as np
import numpy.typing as npt
import soundfile
from whisper_normalizer.english import EnglishTextNormalizer

from bench.recording import NOISE_FLOOR, speech_bounds
from core.pcm import Int16, PcmSpool
from core.types import SAMPLE_RATE, SpeechSpan, TranscriptSegment

FOLDER = Path(__file__).parent / "data" / "ljspeech"

OTHER_SPEECH = Path(__file__).parents[2] / "shared" / "speech"
"""Speech in other languages, beside the project where there is some."""


MAX_WER = 0.12
"""tiny.en makes 7 % word errors on LJSpeech; room for a clip that it hears badly, and for the word
here and there that other processors' kernels hear differently."""


@dataclass(frozen=True)
class Recording:
    pcm: Int16
    utterances: tuple[SpeechSpan, ...]
    """True bounds of each clip's speech."""
    text: str

    @property
    def duration_s(self) -> float:
        return len(self.pcm) / SAMPLE_RATE

    def write(self, path: Path) -> Path:
        """As a sound file of the path's kind."""
        soundfile.write(path, self.pcm, SAMPLE_RATE, subtype="PCM_16")
        return path

    def spool(self, folder: Path) -> PcmSpool:
        spool = PcmSpool(folder / "audio.pcm")
        spool.path.write_bytes(self.pcm.tobytes())
        return spool


@cache
def transcripts() -> tuple[tuple[Path, str], ...]:
    with (FOLDER / "transcripts.tsv").open(encoding="utf-8") as file:
        return tuple(
            (FOLDER / row["file"], row["transcript"])
            for row in csv.DictReader(file, delimiter="\t")
        )


def quiet(seconds: float) -> Int16:
    """The noise floor of a good recording."""
    noise = np.random.default_rng(0).standard_normal(round(seconds * SAMPLE_RATE))
    return to_int16(noise * NOISE_FLOOR)


def to_int16(audio: npt.NDArray[np.floating]) -> Int16:
    pcm: Int16 = np.clip(np.rint(audio * 32768), -32768, 32767).astype(np.int16)
    return pcm


def joined(
    clips: Iterable[int], gaps_s: Sequence[float] = (1.0,), *, trimmed: bool = False
) -> Recording:
    """Clips by number (from 0), a gap before each, taken in turn from ``gaps_s``.

    ``trimmed`` cuts the clips' own silence off, so that speech follows speech.
    """
    parts: list[Int16] = []
    utterances: list[SpeechSpan] = []
    texts: list[str] = []
    position = 0
    for number, clip in enumerate(clips):
        path, text = transcripts()[clip]
        audio, _ = soundfile.read(path, dtype="float32")
        first, last = speech_bounds(audio)
        if trimmed:
            audio, first, last = audio[first:last], 0, last - first
        silence = quiet(gaps_s[number % len(gaps_s)])
        position += len(silence)
        start_s, end_s = ((position + sample) / SAMPLE_RATE for sample in (first, last))
        utterances.append(SpeechSpan(start_s, end_s))
        parts += [silence, to_int16(audio)]
        texts.append(text)
        position += len(audio)
    return Recording(np.concatenate(parts), tuple(utterances), " ".join(texts))


_normalise = EnglishTextNormalizer()


def word_errors(truth: str, said: str | Iterable[TranscriptSegment]) -> jiwer.WordOutput:
    """Word errors against the truth, punctuation and spelling of numbers aside."""
    if not isinstance(said, str):
        said = " ".join(segment.text for segment in said)
    return jiwer.process_words(_normalise(truth), _normalise(said))
