"""The frozen types of the data flow, one per step.

Float seconds (``_s``) on the recording's clock everywhere before ``subtitles.layout``;
integer milliseconds (``_ms``) in :class:`Cue` and after.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

SAMPLE_RATE = 16_000
"""Samples per second of all PCM here: what Whisper and Silero were trained on."""

WINDOW_S = 30.0
"""Longest audio of one encoder pass (Whisper pads or cuts everything to 30 s)."""

Task = Literal["transcribe", "translate"]


class Record:
    """Item access by the field names subtitle tools know: ``seg["start"]`` is ``seg.start_s``."""

    __slots__ = ()

    def keys(self) -> tuple[str, ...]:
        return ("start", "end", "text")

    def __getitem__(self, key: str) -> Any:
        name = {"start": "start_s", "end": "end_s"}.get(key, key)
        if name in self.__dataclass_fields__:  # type: ignore[attr-defined]
            return getattr(self, name)
        raise KeyError(key)


@dataclass(frozen=True, slots=True)
class SpeechSpan:
    """A stretch of the recording in which the VAD found speech."""

    start_s: float
    end_s: float

    @property
    def duration_s(self) -> float:
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True)
class Window:
    """One encoder pass: at most 30 s of audio, with the speech it has to account for.

    ``pieces`` is the audio the model gets, in order: long silences between them are left out,
    so ``end_s - start_s`` may exceed 30 s while ``audio_s`` never does.
    """

    pieces: tuple[SpeechSpan, ...]
    spans: tuple[SpeechSpan, ...]

    @property
    def start_s(self) -> float:
        return self.pieces[0].start_s

    @property
    def end_s(self) -> float:
        return self.pieces[-1].end_s

    @property
    def audio_s(self) -> float:
        return sum(piece.duration_s for piece in self.pieces)


@dataclass(frozen=True, slots=True)
class AudioSegment:
    """The unit of dispatch and of the journal: 10–60 s of the recording in 1–3 windows."""

    index: int
    start_s: float
    end_s: float
    windows: tuple[Window, ...]

    @property
    def name(self) -> str:
        """For people and the log: ``segment 12 (480.0-512.5s)``."""
        return f"segment {self.index} ({self.start_s:.1f}-{self.end_s:.1f}s)"

    @property
    def duration_s(self) -> float:
        return self.end_s - self.start_s

    @property
    def speech_s(self) -> float:
        return sum(span.duration_s for window in self.windows for span in window.spans)


@dataclass(frozen=True, slots=True)
class Word(Record):
    """One word with its time. ``text`` keeps the model's leading space, so joining words with
    ``"".join`` gives the sentence back in every script."""

    start_s: float
    end_s: float
    text: str
    probability: float


@dataclass(frozen=True, slots=True)
class TranscriptSegment(Record):
    """What was said between two times, on the recording's clock."""

    start_s: float
    end_s: float
    text: str
    words: tuple[Word, ...] = ()
    avg_logprob: float = 0.0
    compression_ratio: float = 1.0
    no_speech_prob: float = 0.0
    temperature: float = 0.0


@dataclass(frozen=True, slots=True)
class Gap(Record):
    """Speech that has no words, with the reason: a hole in the subtitles that is not hidden."""

    start_s: float
    end_s: float
    reason: str
    segment_index: int | None = None

    @property
    def duration_s(self) -> float:
        return self.end_s - self.start_s

    def keys(self) -> tuple[str, ...]:
        return ("start", "end", "reason")


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Everything that makes two loaded models different; workers key their models by it."""

    name: str
    """For people and the log."""
    path: str
    """What is opened: a CTranslate2 directory."""
    compute_type: str
    """CTranslate2's, or ``auto`` on GPUs: each worker takes what its card can do."""
    device: Literal["cpu", "cuda"]
    threads: int = 1
    """CPU threads of the model; meaningless on a GPU."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """Everything that was said in a recording, in order, and what could not be transcribed."""

    segments: tuple[TranscriptSegment, ...]
    gaps: tuple[Gap, ...] = ()
    language: str | None = None
    language_probability: float | None = None
    duration_s: float = 0.0
    speech_s: float = 0.0

    @property
    def complete(self) -> bool:
        return not self.gaps

    def words(self) -> Iterator[Word]:
        for segment in self.segments:
            yield from segment.words


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle on the screen: integer milliseconds and at most a few lines of text."""

    start_ms: int
    end_ms: int
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeOptions:
    """How a model decodes: the same for every window of a job."""

    language: str | None = None
    """Whisper language code; None: decided once per file."""
    task: Task = "transcribe"
    beam_size: int = 5
    batch_size: int = 0
    """Windows decoded together; 0: the largest useful batch that fits the device."""
    initial_prompt: str | None = None
    hotwords: str | None = None
    word_timestamps: bool = True
    audit: bool = True
    """Decode again, and in the end report as a gap, speech that has no words. Off where the spans
    are not the VAD's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    """How a recording is cut."""

    vad_threshold: float = 0.5
    """Speech probability (0–1) over which a 32 ms frame counts as speech."""
    min_segment_duration: float = 10.0
    max_segment_duration: float = 60.0
    use_vad: bool = True
    """Without it every second is decoded, silence too, and nothing can be audited."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentReport:
    """How one segment was decoded. The engine fills in what it knows; the pool adds the device, the
    attempts and the compute type."""

    index: int
    start_s: float
    end_s: float
    windows: int
    """Encoder passes, those of later rounds included."""
    device: str = ""
    """Label of the worker's slot: ``GPU 0``, ``CPU 1``."""
    texts: int
    elapsed_s: float
    """From the start of the segment to its result."""
    redecoded_windows: int = 0
    """Windows that were decoded again: failed the quality gate, or left speech without words."""
    attempts: int = 1
    reduced_batch: int = 0
    """Windows in a batch after memory ran out while this segment was in it; 0: it did not. The
    words are the same, the last digits of times may not be."""
    compute_type: str = ""
    """Devices differ where it was left open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReport:
    """What ``--report`` writes: where a job's time went. All times in seconds."""

    audio_s: float
    speech_s: float
    load_s: float
    """Model load and warm-up of the workers this job waited for."""
    elapsed_s: float
    """From opening the file to the last output written, model load excluded."""
    decode_s: float
    """CPU seconds spent decoding the container."""
    vad_s: float
    """CPU seconds spent in voice activity detection and planning."""
    transcribe_s: float
    """Worker seconds spent on this job's segments, summed over workers."""
    speed: float
    """audio_s / elapsed_s, the inverse real-time factor."""
    model: str
    language: str | None
    devices: tuple[str, ...]
    segments: tuple[SegmentReport, ...] = ()
    windows: int = 0
    dropped_spans: int = 0
    gaps: tuple[Gap, ...] = ()
    redecoded_windows: int = 0
    replayed_segments: int = 0
    """Segments an earlier run of the same job had finished; they were taken as they were."""
    first_text_s: float | None = None
    """From opening the file to the first transcribed text, model load excluded."""
    outputs: tuple[str, ...] = field(default=())
