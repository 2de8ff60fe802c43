"""Words on the recording's clock, and what speech they leave without words."""

from __future__ import annotations

import math
from bisect import insort
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from core.merge import MIN_WORD_S, audit_coverage
from core.types import SpeechSpan, TranscriptSegment, Word
from decoding.clip import Clip
from decoding.parts import AlignedWord, Part
from decoding.quality import Scores

EDGE_S = 0.1
"""How far a word may reach into the silence around a VAD span: a plosive or breath before it."""

MAX_WORD_S = 1.6
"""A longer aligned word is stretched over something: silence, or speech that has no words."""

MIN_HOLE_S = 0.6
"""Speech of this length holds a word; less is within the aligner's error."""

TOLERANCE_S = 0.25
"""Error of word times by cross-attention: 0.2–0.5 s, taken on both sides of a hole."""


FIRST_WORD_S = 0.5
"""Length left to a first word that was stretched: one of two or three syllables."""

STAMP_S = 0.5
"""How far words may leave the times the model itself set for their part; the same tolerance as in
faster-whisper's ``add_word_timestamps``."""


def hold_in_parts(words: Sequence[AlignedWord], parts: Sequence[Part]) -> list[AlignedWord]:
    """Bring back the first and last words of a part where alignment stretched them out of it.

    The path of dynamic time warping has no holes: where the model skipped some speech, the words
    before or after it are stretched over it, and would hide the hole from the audit. Only words
    too long to be true are moved, and those they have pushed away.
    """
    held: list[AlignedWord] = []
    for part_index, group in groupby(words, key=lambda word: word.part):
        part = parts[part_index]
        held.extend(_held_at_end(part, _held_at_start(part, list(group))))
    return held


def _held_at_start(part: Part, words: list[AlignedWord]) -> list[AlignedWord]:
    """Of a stretched first word only the end is true: its beginning is where the path had to
    begin. Where the model set a later beginning for the part, that is the better witness."""
    stretched = [
        index
        for index, word in enumerate(words)
        if word.end_s - word.start_s > MAX_WORD_S
        and (word.start_s < part.start_s - STAMP_S or index == 0)
    ]
    if not stretched:
        return words
    last = stretched[-1]
    while last + 1 < len(words) and words[last + 1].end_s - words[last + 1].start_s > MAX_WORD_S:
        last += 1  # the skipped speech was shared out among several words
    latest_s = max(words[last].start_s, words[last].end_s - FIRST_WORD_S)
    start_s = latest_s
    if part.start_s > words[last].start_s + STAMP_S:
        start_s = min(part.start_s, words[last].end_s - MIN_WORD_S)
    moved = [
        replace(
            word,
            start_s=start_s - (last - index) * MIN_WORD_S,
            end_s=start_s - (last - index - 1) * MIN_WORD_S,
        )
        for index, word in enumerate(words[:last])
    ]
    return [*moved, replace(words[last], start_s=start_s), *words[last + 1 :]]


def _held_at_end(part: Part, words: list[AlignedWord]) -> list[AlignedWord]:
    stretched = [
        index
        for index, word in enumerate(words)
        if word.end_s > part.end_s + STAMP_S and word.end_s - word.start_s > MAX_WORD_S
    ]
    if not stretched:
        return words
    first = stretched[0]
    end_s = max(part.end_s, words[first].start_s + MIN_WORD_S)
    moved = [
        replace(word, start_s=end_s + index * MIN_WORD_S, end_s=end_s + (index + 1) * MIN_WORD_S)
        for index, word in enumerate(words[first + 1 :])
    ]
    return [*words[:first], replace(words[first], end_s=end_s), *moved]


def place_words(
    clip: Clip, words: Sequence[AlignedWord], speech: Sequence[SpeechSpan]
) -> list[Word]:
    """Put aligned words on the recording's clock and pull them out of the silences.

    A word belongs to the piece its middle lies in. Dynamic time warping lets the word before or
    after a pause swallow the pause; where the VAD heard silence, the word gives it back.
    """
    placed: list[Word] = []
    for word in words:
        piece = clip.piece_at((word.start_s + word.end_s) / 2)
        start_s = clip.to_recording(word.start_s, piece)
        end_s = clip.to_recording(word.end_s, piece)
        start_s, end_s = _pull_in(start_s, max(start_s, end_s), speech)
        placed.append(Word(start_s, end_s, word.text, word.probability))
    return placed


def _pull_in(start_s: float, end_s: float, speech: Sequence[SpeechSpan]) -> tuple[float, float]:
    decoded = [span for span in speech if span.start_s < end_s and span.end_s > start_s]
    if not decoded:
        return start_s, end_s
    # Of several spans under one word it belongs to the one it covers most.
    best = max(decoded, key=lambda s: min(end_s, s.end_s) - max(start_s, s.start_s))
    if end_s - start_s <= MAX_WORD_S:
        first, last = decoded[0], decoded[-1]
    else:
        first = last = best
    new_start_s = max(start_s, first.start_s - EDGE_S)
    new_end_s = min(end_s, last.end_s + EDGE_S)
    if new_end_s - new_start_s < MIN_WORD_S:
        return start_s, end_s
    return new_start_s, new_end_s


def to_segments(
    clip: Clip,
    parts: Sequence[Part],
    words: Sequence[AlignedWord] | None,
    speech: Sequence[SpeechSpan],
    scores: Scores,
    texts: Sequence[str],
) -> list[TranscriptSegment]:
    """One TranscriptSegment per part that has text; without ``words`` the model's own times."""
    segments: list[TranscriptSegment] = []
    words = hold_in_parts(words, parts) if words is not None else None
    placed = place_words(clip, words, speech) if words is not None else []
    for index, (part, text) in enumerate(zip(parts, texts, strict=True)):
        own: tuple[Word, ...] = ()
        if words is not None:
            own = tuple(
                word for word, aligned in zip(placed, words, strict=True) if aligned.part == index
            )
            if not own:
                continue
            start_s, end_s = own[0].start_s, max(word.end_s for word in own)
            text = "".join(word.text for word in own)
        else:
            piece = clip.piece_at(part.start_s)
            start_s = clip.to_recording(part.start_s, piece)
            end_s = max(start_s, clip.to_recording(part.end_s))
        if not text.strip():
            continue
        segments.append(
            TranscriptSegment(
                start_s,
                end_s,
                text.strip(),
                own,
                avg_logprob=scores.avg_logprob,
                compression_ratio=scores.compression_ratio,
                no_speech_prob=scores.no_speech_prob,
            )
        )
    return segments


def in_order(segments: Sequence[TranscriptSegment]) -> tuple[TranscriptSegment, ...]:
    """Segments of all rounds in the order they were said.

    What a later round found can lie between two words of a sentence of the first; that sentence
    is divided there.
    """
    waiting = deque(sorted(segments, key=lambda segment: segment.start_s))
    ordered: list[TranscriptSegment] = []
    while waiting:
        segment = waiting.popleft()
        inner_s = waiting[0].start_s if waiting else math.inf
        before = tuple(word for word in segment.words if word.start_s < inner_s)
        after = segment.words[len(before) :]
        if before and after:
            ordered.append(_of_words(segment, before))
            rest = _of_words(segment, after)
            insort(waiting, rest, key=lambda segment: segment.start_s)
        else:
            ordered.append(segment)
    return tuple(ordered)


def _of_words(segment: TranscriptSegment, words: tuple[Word, ...]) -> TranscriptSegment:
    return replace(
        segment,
        start_s=words[0].start_s,
        end_s=max(word.end_s for word in words),
        text="".join(word.text for word in words).strip(),
        words=words,
    )


def holes(
    spans: Sequence[SpeechSpan], segments: Sequence[TranscriptSegment]
) -> tuple[SpeechSpan, ...]:
    """Speech of at least ``MIN_HOLE_S`` that no word covers."""
    words = [word for segment in segments for word in segment.words]
    return audit_coverage(
        spans,
        words or segments,
        tolerance_s=TOLERANCE_S,
        min_uncovered_s=MIN_HOLE_S,
        max_word_s=MAX_WORD_S if words else math.inf,
    )
