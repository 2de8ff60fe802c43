"""A Whisper model on one device, as workers and ``transcriber.WhisperTranscriber`` use it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from core.events import SegmentFinished
from core.pcm import PcmSpool
from core.types import SAMPLE_RATE, AudioSegment, DecodeOptions, ModelSpec, Window
from decoding.clip import cut_clip
from decoding.failures import explain_failure, explain_load_failure
from decoding.model import Row, SpeechModel
from decoding.rounds import Decoder
from decoding.segments import SegmentDecoder
from gpu.choice import CPU_BATCH


class WhisperEngine:
    """A loaded model that decodes planned segments; ``workers.engine.Engine`` describes the calls.

    Raises:
        ModelError, DeviceUnavailable, OutOfMemory: it cannot be loaded.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        try:
            self._model = SpeechModel(spec)
        except Exception as error:
            raise explain_load_failure(error) from error
        self._rows: dict[Window, Row] = {}
        self._rows_of: PcmSpool | None = None

    def warm_up(self) -> None:
        """Encode and decode a second of silence: a missing library shows here, not at load."""
        try:
            tokenizer = self._model.tokenizer("en", "transcribe")
            rows = self._model.encode([np.zeros(SAMPLE_RATE, np.float32)])
            prompt = self._model.prompt(DecodeOptions(), tokenizer)
            self._model.generate(rows, [prompt], tokenizer, beam_size=1, durations_s=[1.0])
        except Exception as error:
            raise explain_load_failure(error) from error

    def detect_language(self, spool: PcmSpool, windows: Sequence[Window]) -> tuple[str, float]:
        """Add up every window's probabilities; give the winner and its mean probability.

        The encoder output is kept for :meth:`decode`, so that the vote costs no extra pass.
        """
        if not self._model.is_multilingual:
            return "en", 1.0
        clips = [cut_clip(spool, window) for window in windows]
        try:
            rows = self._model.encode([clip.audio for clip in clips])
            ballots = self._model.detect_language(rows)
        except Exception as error:
            known = explain_failure(error)
            if known is error:
                raise
            raise known from error
        self._rows_of, self._rows = spool, dict(zip(windows, rows, strict=True))
        total: dict[str, float] = {}
        for votes in ballots:
            for language, probability in votes.items():
                total[language] = total.get(language, 0.0) + probability
        language = max(total, key=lambda code: total[code])
        return language, total[language] / len(windows)

    def decode(
        self,
        spool: PcmSpool,
        segments: Sequence[AudioSegment],
        options: DecodeOptions,
        *,
        on_started: Callable[[int], None],
        on_result: Callable[[SegmentFinished], None],
        on_error: Callable[[int, Exception], None],
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Decode the segments in rounds; see ``decoding.rounds``."""
        rows = self._rows if self._rows_of == spool else {}
        decoder = Decoder(self._model, options, options.language or "en", should_stop, rows)
        batch_size = options.batch_size or CPU_BATCH
        SegmentDecoder(decoder, spool, batch_size, on_started, on_result, on_error).run(segments)
        self._rows = {}
