"""Batched decoding that loses no words: rounds over windows, audited by the VAD.

Batched decoding is fast and forgetful: where speakers change inside a window the model stops
early, and what was said after that is lost without a trace. So a batch of windows goes through::

    encode ─► search ─► gate ─► continue ─► align ─► audit ─► text
                 ▲       │         │  ▲                │
                 └───────┘         └──┘                └─► what no word covers is packed into new
            windows that fail  speech after the last       windows for the next round's batch;
            the quality gate,  timestamp: the decoder      after the last round it is a gap
            against loops      goes on from there

Searching again and continuing use the encoder output that is there already; only the audit's
leftovers cost another encoder pass.

What a window gives depends on the window alone: measured with int8 on CPUs, it is the same to the
byte in every batch and order, after any other work, in every process and with one thread or two.
With float32 the words and times are the same and the last digits of scores are not, and
another compute type, device or maker of CPU may hear another word.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from core.errors import Cancelled
from core.languages import DEFAULT_PROMPTS
from core.pcm import PcmSpool
from core.types import DecodeOptions, SpeechSpan, Window
from decoding import quality
from decoding.clip import Clip, cut_clip
from decoding.model import Decoding, Row, SpeechModel
from decoding.parts import AlignedWord, Part, WindowResult
from decoding.words import holes, to_segments

log = logging.getLogger("transcriber")

MAX_CONTINUATIONS = 3
"""Times a window is continued; each adds at least one part, and few windows hold four speakers."""

MIN_TAIL_S = 0.5
"""Speech after the last timestamp that is worth continuing for: one short word."""


@dataclass(slots=True)
class WindowState:
    """A window on its way through the rounds."""

    window: Window
    clip: Clip
    row: Row
    parts: list[Part] = field(default_factory=list)
    scores: quality.Scores = field(default_factory=lambda: quality.Scores(0.0, 0.0, 0.0))
    redecoded: bool = False
    words: list[AlignedWord] = field(default_factory=list)

    def tail(self) -> SpeechSpan | None:
        """The first speech after the last part, on the clip's clock."""
        reached_s = max((part.end_s for part in self.parts), default=0.0)
        for span in self.clip.spans:
            start_s = max(span.start_s, reached_s)
            if span.end_s - start_s >= MIN_TAIL_S:
                return SpeechSpan(start_s, span.end_s)
        return None


class Decoder:
    """Decodes batches of windows with one model and one set of options."""

    def __init__(
        self,
        model: SpeechModel,
        options: DecodeOptions,
        language: str,
        should_stop: Callable[[], bool],
        known_rows: dict[Window, Row] | None = None,
    ) -> None:
        """``known_rows``: encoder output that is there already; taken out as it is used."""
        self._model = model
        self._options = options
        self._tokenizer = model.tokenizer(language, options.task)
        if options.initial_prompt is None and options.task == "transcribe":
            options = replace(options, initial_prompt=DEFAULT_PROMPTS.get(language))
        self._prompt = model.prompt(options, self._tokenizer)
        self._should_stop = should_stop
        self._known_rows = known_rows if known_rows is not None else {}

    def decode(self, spool: PcmSpool, windows: Sequence[Window]) -> list[WindowResult]:
        """Decode windows as one batch, in their order.

        Raises:
            Cancelled: ``should_stop`` said so between two passes.
        """
        clips = [cut_clip(spool, window) for window in windows]
        self._check()
        new = [i for i, window in enumerate(windows) if window not in self._known_rows]
        rows = dict(zip(new, self._model.encode([clips[i].audio for i in new]), strict=True))
        batch = [
            WindowState(window, clips[i], rows[i] if i in rows else self._known_rows.pop(window))
            for i, window in enumerate(windows)
        ]
        self._first_search(batch)
        self._continue(batch)
        if self._options.word_timestamps:
            self._align(batch)
        return [self._finish(state) for state in batch]

    def _check(self) -> None:
        if self._should_stop():
            raise Cancelled

    def _search(
        self,
        batch: Sequence[WindowState],
        prompts: Sequence[list[int]],
        against_loops: bool = False,
    ) -> list[Decoding]:
        self._check()
        return self._model.generate(
            [state.row for state in batch],
            prompts,
            self._tokenizer,
            beam_size=self._options.beam_size,
            durations_s=[state.clip.duration_s for state in batch],
            against_loops=against_loops,
        )

    def _first_search(self, batch: Sequence[WindowState]) -> None:
        loops: list[WindowState] = []
        decodings = self._search(batch, [self._prompt] * len(batch))
        for state, decoding in zip(batch, decodings, strict=True):
            if quality.passes(decoding.scores, decoding.text):
                _take(state, decoding)
            else:
                loops.append(state)
        if not loops:
            return
        decodings = self._search(loops, [self._prompt] * len(loops), against_loops=True)
        for state, decoding in zip(loops, decodings, strict=True):
            state.redecoded = True
            if quality.passes_after_loop(decoding.scores, decoding.text):
                _take(state, decoding)

    def _continue(self, batch: Sequence[WindowState]) -> None:
        """Make the decoder go on where it stopped before the speech did.

        The last part and the time of the next speech are forced, so the decoder knows what it has
        said and where to listen; it costs no encoder pass.
        """
        open_ = [state for state in batch if state.parts]
        for _ in range(MAX_CONTINUATIONS):
            tails = [(state, state.tail()) for state in open_]
            todo = [(state, tail) for state, tail in tails if tail is not None]
            if not todo:
                return
            decodings = self._search(
                [state for state, _ in todo],
                [self._resumed(state, tail) for state, tail in todo],
            )
            open_ = []
            for (state, _), decoding in zip(todo, decodings, strict=True):
                added = decoding.parts[1:]  # the first is the part that was forced
                if not added or not self._believable(state, added):
                    continue
                state.parts.extend(added)
                state.redecoded = True
                open_.append(state)

    def _resumed(self, state: WindowState, tail: SpeechSpan) -> list[int]:
        last = state.parts[-1]
        stamp = self._model.timestamp
        end = stamp(self._tokenizer, last.end_s)
        return [
            *self._prompt,
            stamp(self._tokenizer, last.start_s),
            *last.tokens,
            end,
            max(end, stamp(self._tokenizer, tail.start_s)),
        ]

    def _believable(self, state: WindowState, added: Sequence[Part]) -> bool:
        """A continuation that repeats what was said is the decoder turning in a circle."""
        known = {part.tokens for part in state.parts}
        if any(part.tokens in known for part in added):
            return False
        text = self._tokenizer.decode([t for part in added for t in part.tokens])
        ratio = quality.compression_ratio(text)
        return ratio <= quality.MAX_COMPRESSION_RATIO and not quality.loops(text)

    def _align(self, batch: Sequence[WindowState]) -> None:
        spoken = [state for state in batch if state.parts]
        if not spoken:
            return
        self._check()
        aligned = self._model.align(
            [state.row for state in spoken],
            [state.parts for state in spoken],
            self._tokenizer,
            [state.clip.duration_s for state in spoken],
        )
        for state, words in zip(spoken, aligned, strict=True):
            state.words = words

    def _finish(self, state: WindowState) -> WindowResult:
        texts = [self._tokenizer.decode(list(part.tokens)) for part in state.parts]
        segments = to_segments(
            state.clip,
            state.parts,
            state.words if self._options.word_timestamps else None,
            state.window.spans,
            state.scores,
            texts,
        )
        leftover = holes(state.window.spans, segments) if self._options.audit else ()
        return WindowResult(segments, leftover, state.redecoded)


def _take(state: WindowState, decoding: Decoding) -> None:
    state.scores = decoding.scores
    if not quality.is_silence(decoding.scores):
        state.parts = list(decoding.parts)
