"""Put the workers' results back into one transcript: in order, nothing lost, nothing twice.

Segments of audio finish in any order and overlap only by the padding around a cut, so three
things can go wrong and are settled here: order, a word heard on both sides of a seam, and word
times that run backwards. Everything is folded in index order and never touched again, so the
text a user has already seen (:meth:`TranscriptBuilder.ordered_prefix`) does not change.

:func:`audit_coverage` is the other half of "nothing lost": it says which speech has no words.
"""

from __future__ import annotations

import math
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, islice
from typing import Protocol

from core.types import Gap, SpeechSpan, Transcript, TranscriptSegment, Word

MIN_WORD_S = 0.06
"""Length given to a word the aligner left without any: three of its 20 ms frames."""

MAX_SEAM_WORDS = 12
"""Longest doubled phrase looked for at a seam; padding is far shorter than twelve words."""

SEAM_TOUCH_S = 0.05
"""Two copies of one word may miss each other by this much and still be one utterance."""

SEAM_STRETCH = 1.6
"""Two copies of one word together last at most this many times the longer copy. Two words said
one after the other ("very very") last twice that, so they stay."""

GAP_TOUCH_S = 0.01
"""Gaps this close are one hole: cuts are placed on whole VAD frames, never finer."""


class Timed(Protocol):
    """Anything with a place on the clock: a word, or a segment that has no words."""

    @property
    def start_s(self) -> float: ...
    @property
    def end_s(self) -> float: ...


class TranscriptBuilder:
    """Collects results in any order and keeps the text that is final so far."""

    def __init__(self) -> None:
        self._waiting: dict[int, tuple[TranscriptSegment, ...]] = {}
        self._joined = _Joined()
        self._gaps: list[Gap] = []
        self._next = 0

    def add(
        self, index: int, segments: Iterable[TranscriptSegment] = (), gaps: Iterable[Gap] = ()
    ) -> None:
        """Take one result. Raises ValueError when that index has already been given."""
        if index < self._next or index in self._waiting:
            raise ValueError(f"Segment {index} cannot be added: it is negative or already there.")
        self._waiting[index] = tuple(segments)
        self._gaps.extend(gaps)
        while self._next in self._waiting:
            self._joined.append(self._waiting.pop(self._next))
            self._next += 1

    def ordered_prefix(self) -> tuple[TranscriptSegment, ...]:
        """Text before the first missing result. Exactly these segments open the transcript."""
        return tuple(self._joined.segments)

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """Those added so far, in order; those that touch are one."""
        return join_gaps(self._gaps)

    def build(self) -> Transcript:
        """Everything added so far; the builder can go on collecting."""
        joined = _Joined(list(self._joined.segments), self._joined.floor_s)
        for index in sorted(self._waiting):
            joined.append(self._waiting[index])
        return Transcript(tuple(joined.segments), self.gaps)


@dataclass(slots=True)
class _Joined:
    """Text in order; what has been appended stays as it is."""

    segments: list[TranscriptSegment] = field(default_factory=list)
    floor_s: float = 0.0
    """Latest start so far: nothing that follows begins before it."""

    def append(self, segments: Sequence[TranscriptSegment]) -> None:
        fresh = sorted((s for s in segments if s.text.strip()), key=lambda s: s.start_s)
        fresh = _without_doubled(self.segments, fresh)
        flat = [word for segment in fresh for word in segment.words]
        words = iter(monotonic(flat, floor_s=self.floor_s))
        start_s = self.floor_s
        for segment in fresh:
            own = tuple(islice(words, len(segment.words)))
            start_s = max(start_s, own[0].start_s if own else segment.start_s)
            end_s = max(start_s, own[-1].end_s if own else segment.end_s)
            self.segments.append(replace(segment, start_s=start_s, end_s=end_s, words=own))
            self.floor_s = max(self.floor_s, start_s, own[-1].start_s if own else 0.0)


# --- seams ---------------------------------------------------------------------------------


def _units(segments: Iterable[TranscriptSegment]) -> Iterator[Word | TranscriptSegment]:
    for segment in segments:
        if segment.words:
            yield from segment.words
        else:
            yield segment


def _without_doubled(
    done: Sequence[TranscriptSegment], fresh: Sequence[TranscriptSegment]
) -> list[TranscriptSegment]:
    """``fresh`` without the opening words that ``done`` already ends with."""
    before = list(_units(done[-MAX_SEAM_WORDS:]))[-MAX_SEAM_WORDS:]
    after = list(islice(_units(fresh), MAX_SEAM_WORDS))
    doubled = 0
    for count in range(min(len(before), len(after)), 0, -1):
        pairs = zip(before[-count:], after[:count], strict=True)
        if all(_same_utterance(left, right) for left, right in pairs):
            doubled = count
            break
    kept: list[TranscriptSegment] = []
    for segment in fresh:
        size = len(segment.words) or 1
        drop = min(doubled, size)
        doubled -= drop
        if drop == 0:
            kept.append(segment)
        elif drop < size:
            words = segment.words[drop:]
            text = "".join(word.text for word in words)
            kept.append(replace(segment, start_s=words[0].start_s, text=text, words=words))
    return kept


def _same_utterance(left: Word | TranscriptSegment, right: Word | TranscriptSegment) -> bool:
    """True when both are one piece of speech heard twice: the same letters at the same time."""
    apart_s = max(left.start_s, right.start_s) - min(left.end_s, right.end_s)
    together_s = max(left.end_s, right.end_s) - min(left.start_s, right.start_s)
    longer_s = max(left.end_s - left.start_s, right.end_s - right.start_s)
    return (
        apart_s <= SEAM_TOUCH_S
        and together_s <= SEAM_STRETCH * longer_s + SEAM_TOUCH_S
        and _normalised(left.text) == _normalised(right.text)
    )


def _normalised(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(c for c in folded if c.isalnum()) or folded.strip()


# --- word times ----------------------------------------------------------------------------


def monotonic(words: Sequence[Word], *, floor_s: float = 0.0) -> list[Word]:
    """The same words in the same order, with times that never run backwards.

    The longest run of words already in order keeps its times; a word the aligner threw far away
    is put between its neighbours instead of dragging all that follow with it. Words do not
    overlap afterwards, and one without length gets ``MIN_WORD_S`` where there is room.
    """
    starts = [max(word.start_s, floor_s) for word in words]
    anchors = _longest_ordered(starts)
    limit_s = math.inf
    limits = [limit_s] * len(words)
    for i in range(len(words) - 1, -1, -1):
        limits[i] = limit_s
        limit_s = starts[i] if anchors[i] else limit_s
    placed: list[Word] = []
    free_s = floor_s
    for word, start_s, anchor, limit_s in zip(words, starts, anchors, limits, strict=True):
        if anchor:
            end_s = max(start_s, word.end_s)
        else:
            start_s = min(free_s, limit_s)
            end_s = start_s + max(0.0, word.end_s - word.start_s)
        free_s = min(end_s, limit_s)
        placed.append(replace(word, start_s=start_s, end_s=free_s))
    return _with_lengths(placed)


def _longest_ordered(values: Sequence[float]) -> list[bool]:
    """Which values belong to a longest non-decreasing subsequence."""
    tails: list[float] = []
    rows: list[int] = []
    for value in values:
        row = bisect_right(tails, value)
        rows.append(row)
        tails[row : row + 1] = [value]
    chosen = [False] * len(values)
    row = len(tails) - 1
    bound = math.inf
    for i in range(len(values) - 1, -1, -1):
        if rows[i] == row and values[i] <= bound:
            chosen[i], bound, row = True, values[i], row - 1
    return chosen


def _with_lengths(words: Sequence[Word]) -> list[Word]:
    """Words that begin on one spot share the time until the next word begins."""
    fixed: list[Word] = []
    next_s = math.inf
    for start_s, spot in groupby(reversed(words), key=lambda word: word.start_s):
        group = list(spot)
        room_s = next_s - start_s
        length_s = min(max(word.end_s for word in group) - start_s, room_s)
        if length_s < MIN_WORD_S * len(group):
            length_s = min(MIN_WORD_S * len(group), room_s)
        step_s = min(MIN_WORD_S, length_s / len(group))
        end_s = start_s + length_s
        for i, word in zip(range(len(group) - 1, -1, -1), group, strict=True):
            begin_s = start_s + i * step_s
            fixed.append(replace(word, start_s=begin_s, end_s=end_s))
            end_s = begin_s
        next_s = start_s
    return fixed[::-1]


# --- gaps and coverage ---------------------------------------------------------------------


def join_gaps(gaps: Iterable[Gap]) -> tuple[Gap, ...]:
    """Gaps in time order; those that touch and have the same reason become one."""
    joined: list[Gap] = []
    latest: dict[str, int] = {}
    for gap in sorted(gaps, key=lambda g: (g.start_s, g.end_s, g.reason)):
        at = latest.get(gap.reason)
        if at is not None and gap.start_s <= joined[at].end_s + GAP_TOUCH_S:
            old = joined[at]
            index = old.segment_index if old.segment_index == gap.segment_index else None
            end_s = max(old.end_s, gap.end_s)
            joined[at] = Gap(old.start_s, end_s, gap.reason, index)
        else:
            latest[gap.reason] = len(joined)
            joined.append(gap)
    return tuple(joined)


def audit_coverage(
    spans: Iterable[SpeechSpan],
    words: Iterable[Timed],
    *,
    tolerance_s: float = 0.3,
    min_uncovered_s: float = 0.5,
    max_word_s: float = 4.0,
) -> tuple[SpeechSpan, ...]:
    """Parts of the speech that no word accounts for, in time order.

    tolerance_s: a word covers this much before its start and after its end as well, because
    Whisper's alignment is off by 0.2–0.5 s and VAD pads its spans. A hole of ``x`` seconds
    between two words therefore counts as ``x - 2 * tolerance_s``.
    min_uncovered_s: shorter uncovered parts are not reported (breath, cough, a late alignment).
    max_word_s: no one takes longer over a word; one that claims to covers only the first and the
    last half of this, so that a stretched word cannot hide lost speech. Pass ``math.inf`` when
    ``words`` are whole segments.

    Neither argument has to be sorted; one sweep, no quadratic loop.
    """
    covered: list[tuple[float, float]] = []
    for word in words:
        start_s, end_s = word.start_s - tolerance_s, word.end_s + tolerance_s
        if word.end_s - word.start_s > max_word_s:
            covered.append((start_s, word.start_s + max_word_s / 2))
            covered.append((word.end_s - max_word_s / 2, end_s))
        else:
            covered.append((start_s, end_s))
    covered.sort()
    holes: list[SpeechSpan] = []
    at = 0
    reach_s = -math.inf
    for span in sorted(spans, key=lambda s: s.start_s):
        open_s = max(span.start_s, reach_s)
        while at < len(covered) and covered[at][0] < span.end_s:
            if covered[at][0] - open_s >= min_uncovered_s:
                holes.append(SpeechSpan(open_s, covered[at][0]))
            reach_s = max(reach_s, covered[at][1])
            open_s = max(open_s, reach_s)
            at += 1
        if span.end_s - open_s >= min_uncovered_s:
            holes.append(SpeechSpan(open_s, span.end_s))
        reach_s = max(reach_s, span.end_s)
    return tuple(holes)
