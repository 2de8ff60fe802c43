"""The model's calls, batched: features, encode, generate, align, detect language.

Thin over faster-whisper's ``WhisperModel`` and CTranslate2; the only file that knows their
token layout. Encoder output is kept as one row per window in main memory, so that any subset of
windows can be decoded again without a second encoder pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ctranslate2
import numpy as np
import numpy.typing as npt
from faster_whisper import WhisperModel
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import merge_punctuations
from threadpoolctl import ThreadpoolController

from core.pcm import Float32
from core.types import SAMPLE_RATE, WINDOW_S, DecodeOptions, ModelSpec
from decoding.parts import AlignedWord, Part
from decoding.quality import Scores, compression_ratio
from gpu.cublas import load_cublas

TIME_PRECISION_S = 0.02
"""Seconds per timestamp token (whisper/tokenizer.py)."""

MAX_INITIAL_TIMESTAMP = 50
"""Text begins within the first second, in timestamp tokens (whisper/decoding.py)."""

MAX_LENGTH = 448
"""Decoder positions of every Whisper model (n_text_ctx)."""

REPETITION_PENALTY = 1.2
REPEAT_NGRAM = 5
"""What a search against loops does with what was said already: tokens get less likely, and no
phrase of so many tokens (some four words) comes twice. Measured on 40 loops over 2,365 words of
noisy, slow and fast speech: 290 words right, 1,250 wrong; with ``REPEAT_NGRAM`` alone 227 and
1,205; with samples at rising temperatures after that 260 and 1,358 in four times the time."""

CPU_ENCODE_BATCH = 3
"""Windows encoded together on a CPU: more do not fit its cache. Measured on two cores, time per
window against 8 together: tiny.en -11 %, base -17 %."""

PREPEND = "\"'“¿([{-"
APPEND = "\"'.。,，!！?？:：”)]}、"  # noqa: RUF001
"""Punctuation that belongs to the following and to the preceding word (whisper/transcribe.py)."""

Row = npt.NDArray[Any]
"""Encoder output of one window, shape (1500, d_model)."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """One answer of the decoder."""

    parts: tuple[Part, ...]
    text: str
    scores: Scores


class SpeechModel:
    """One Whisper model on one device. Not thread-safe."""

    def __init__(self, spec: ModelSpec) -> None:
        if spec.device == "cuda":
            load_cublas()
        self._model = WhisperModel(
            spec.path,
            device=spec.device,
            compute_type=spec.compute_type,
            cpu_threads=spec.threads if spec.device == "cpu" else 0,
            local_files_only=True,
        )
        self._engine: Any = self._model.model
        self._on_gpu = spec.device == "cuda"
        self._samples = int(WINDOW_S * SAMPLE_RATE)
        self._tokenizers: dict[tuple[str, str], Tokenizer] = {}
        self._blas = ThreadpoolController()

    @property
    def is_multilingual(self) -> bool:
        return bool(self._engine.is_multilingual)

    def tokenizer(self, language: str, task: str) -> Tokenizer:
        """Tokenizer of a language and task; kept, because building one walks the vocabulary."""
        key = (language, task)
        if key not in self._tokenizers:
            self._tokenizers[key] = Tokenizer(
                self._model.hf_tokenizer, self.is_multilingual, task=task, language=language
            )
        return self._tokenizers[key]

    def encode(self, clips: Sequence[Float32]) -> list[Row]:
        """One encoder pass each for clips of at most 30 s."""
        if not clips:
            return []
        size = len(clips) if self._on_gpu else CPU_ENCODE_BATCH
        rows: list[Row] = []
        for first in range(0, len(clips), size):
            features = [self._features(clip) for clip in clips[first : first + size]]
            output = self._engine.encode(_storage(features), to_cpu=True)
            if output.dtype == ctranslate2.DataType.bfloat16:  # numpy knows no bfloat16
                output = output.to(ctranslate2.DataType.float32)
            rows.extend(np.array(output))
        return rows

    def _features(self, clip: Float32) -> Float32:
        # Silence is padded as audio, as in training; faster-whisper pads the log-mel with zeros,
        # which is the level of speech, and the model then hears more sentences than there are.
        padded = np.pad(clip, (0, self._samples - len(clip)))
        # On one thread: the sums' last bits depend on how many share them, and with them the text.
        # A machine must give the same whatever its number of cores.
        with self._blas.limit(limits=1, user_api="blas"):
            mel: Float32 = self._model.feature_extractor(padded)[..., :3000]
        return mel.astype(np.float32)

    def detect_language(self, rows: Sequence[Row]) -> list[dict[str, float]]:
        """Probability of every language for each window."""
        answers = self._engine.detect_language(_storage(rows))
        return [{token[2:-2]: probability for token, probability in row} for row in answers]

    def prompt(self, options: DecodeOptions, tokenizer: Tokenizer) -> list[int]:
        """Tokens before the text: prompt and hotwords, then the task."""
        initial = options.initial_prompt
        previous = tokenizer.encode(" " + initial.strip()) if initial else []
        prompt: list[int] = self._model.get_prompt(
            tokenizer, previous, without_timestamps=False, hotwords=options.hotwords
        )
        return prompt

    def generate(
        self,
        rows: Sequence[Row],
        prompts: Sequence[list[int]],
        tokenizer: Tokenizer,
        *,
        beam_size: int,
        durations_s: Sequence[float],
        against_loops: bool = False,
    ) -> list[Decoding]:
        """Decode windows together by beam search. Nothing is drawn by chance: CTranslate2 seeds the
        generator of a thread once, so samples would depend on what the worker did before.

        Prompts may differ in length after the start-of-transcript token; what stands there is
        forced and comes back as part of the decoding.
        """
        results = self._engine.generate(
            _storage(rows),
            [list(prompt) for prompt in prompts],
            beam_size=beam_size,
            repetition_penalty=REPETITION_PENALTY if against_loops else 1,
            no_repeat_ngram_size=REPEAT_NGRAM if against_loops else 0,
            max_length=MAX_LENGTH,
            return_scores=True,
            return_no_speech_prob=True,
            suppress_blank=True,
            suppress_tokens=[-1],
            max_initial_timestamp_index=MAX_INITIAL_TIMESTAMP,
        )
        return [
            self._decoding(result, tokenizer, duration_s)
            for result, duration_s in zip(results, durations_s, strict=True)
        ]

    def _decoding(self, result: Any, tokenizer: Tokenizer, duration_s: float) -> Decoding:
        tokens: list[int] = result.sequences_ids[0]
        text: str = tokenizer.decode([t for t in tokens if t < tokenizer.eot])
        # CTranslate2 gives the mean over the tokens; Whisper counts the end token as well.
        logprob = result.scores[0] * len(tokens) / (len(tokens) + 1)
        scores = Scores(logprob, result.no_speech_prob, compression_ratio(text))
        parts = split_parts(tokens, tokenizer.timestamp_begin, tokenizer.eot, duration_s)
        return Decoding(parts, text, scores)

    def timestamp(self, tokenizer: Tokenizer, time_s: float) -> int:
        """Token of a moment on the clip's clock."""
        position = round(min(max(time_s, 0.0), WINDOW_S) / TIME_PRECISION_S)
        return int(tokenizer.timestamp_begin) + position

    def align(
        self,
        rows: Sequence[Row],
        parts: Sequence[Sequence[Part]],
        tokenizer: Tokenizer,
        durations_s: Sequence[float],
    ) -> list[list[AlignedWord]]:
        """When each word is said: dynamic time warping over cross-attention, all parts of a
        window in one path."""
        frames = [max(2, round(duration_s * 100)) for duration_s in durations_s]
        # Padding changes the last digits of a window's probabilities, and where all windows are
        # equally long CTranslate2 (whisper.cc, 4.8) leaves it in, which moves words. Alone there is
        # none; on a CPU that is faster too: tiny.en -40 %, base -25 %.
        together = self._on_gpu and len({count // 2 for count in frames}) > 1
        size = len(rows) if together else 1
        aligned: list[list[AlignedWord]] = []
        for first in range(0, len(rows), size):
            some = slice(first, first + size)
            found = self._model.find_alignment(
                tokenizer,
                [[token for part in each for token in part.tokens] for each in parts[some]],
                _storage(rows[some]),
                frames[some],
            )
            pairs = zip(parts[some], found, strict=True)
            aligned.extend(_words(each, alignment) for each, alignment in pairs)
        return aligned


def _storage(rows: Sequence[Row]) -> Any:
    return ctranslate2.StorageView.from_array(np.stack(rows))


def split_parts(
    tokens: Sequence[int], timestamp_begin: int, eot: int, duration_s: float
) -> tuple[Part, ...]:
    """Cut ``<|0.00|> text <|4.80|><|4.80|> text <|9.10|>`` into parts.

    A part the model did not close ends with the clip: the aligned words will tell.
    """
    parts: list[Part] = []
    start_s = 0.0
    text: list[int] = []
    for token in tokens:
        if token >= timestamp_begin:
            time_s = min((token - timestamp_begin) * TIME_PRECISION_S, duration_s)
            if text:
                parts.append(Part(start_s, max(start_s, time_s), tuple(text)))
                text = []
            start_s = time_s
        elif token < eot:
            text.append(token)
    if text:
        parts.append(Part(start_s, duration_s, tuple(text)))
    return tuple(parts)


def _words(parts: Sequence[Part], alignment: list[dict[str, Any]]) -> list[AlignedWord]:
    """Give each aligned word the part its first token came from."""
    ends = np.cumsum([len(part.tokens) for part in parts])
    seen = 0
    for word in alignment:
        word["owner"] = int(np.searchsorted(ends, seen, side="right"))
        seen += len(word["tokens"])
    merge_punctuations(alignment, PREPEND, APPEND)
    return [
        AlignedWord(
            word["word"],
            float(word["start"]),
            float(word["end"]),
            float(word["probability"]),
            min(word["owner"], len(parts) - 1),
        )
        for word in alignment
        if word["word"]
    ]
