"""From speech spans to segments and windows: pure arithmetic, no audio and no model.

:class:`SegmentPlanner` is ``vad.plan_segments`` made step by step: it commits a segment as soon
as nothing that follows can change it, so that workers start while the file still decodes.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise, takewhile

import numpy as np
import numpy.typing as npt

from core.errors import InvalidOption
from core.types import WINDOW_S, AudioSegment, SpeechSpan, Window

log = logging.getLogger("vad")

Probabilities = Sequence[float] | npt.NDArray[np.float32]

FRAME_S = 0.032
"""Seconds of audio behind one speech probability: 512 samples at 16 kHz."""

MIN_SPAN_S = 0.1
"""Shorter spans are dropped: word alignment of about 10 ms of audio can kill the process
(faster-whisper#1342), and no word is that short."""

PAD_S = 0.2
"""Audio kept around a window's speech: onsets and releases the VAD hears late or not at all."""

JOIN_S = 0.8
"""Most silence a window keeps between two spans; the rest is left out and the clock put back
later. Fewer encoder passes, and silence is where Whisper invents text."""

CONTENT_S = WINDOW_S - 0.5
"""What a window is filled with. Whisper leaves a sentence that touches the 30 s edge unfinished
for the next window, so the edge stays silent."""

LOOKAHEAD = 2.0
"""A segment is final once speech is known this many maximal segments past its start."""

SHORT_COST = 10.0
"""Windows one would pay to avoid a segment under the minimum: more than a segment can hold."""


def cut_cost(silence_s: float) -> float:
    """Price, in encoder passes, of cutting in a silence: most of half a pass inside speech, a
    tenth of one in the 0.3 s between sentences, nothing from a second on."""
    return 0.4 * math.exp(-max(0.0, silence_s) / 0.2)


def quietest_cut(probabilities: Probabilities, start_s: float, end_s: float) -> float:
    """Time between ``start_s`` and ``end_s`` where speech is least probable (mean of 5 frames)."""
    first = max(0, math.ceil(start_s / FRAME_S))
    last = max(first + 1, math.floor(end_s / FRAME_S))
    track = np.asarray(probabilities[first:last], dtype=np.float64)
    if not len(track):
        return end_s  # no probabilities given: nothing to choose by
    smooth = np.convolve(np.pad(track, 2, mode="edge"), np.full(5, 0.2), "valid")
    # Of equally quiet frames the last one: it fills the window best.
    best = len(smooth) - 1 - int(np.argmin(smooth[::-1]))
    return min(end_s, max(start_s, (first + best + 0.5) * FRAME_S))


def cut_of(
    start_s: float,
    probabilities: Probabilities,
    limit_s: float = CONTENT_S,
    end_s: float = math.inf,
) -> float:
    """Where speech that began at ``start_s`` and does not fit ``limit_s`` is cut: in the second
    half of what fits, where speech is least probable, on a frame's edge. At least a span's least
    length stays before ``end_s``."""
    room_s = limit_s - 2 * PAD_S
    latest_s = min(start_s + room_s, end_s - MIN_SPAN_S)
    cut_s = quietest_cut(probabilities, start_s + room_s / 2, latest_s)
    return math.floor(cut_s / FRAME_S + 1e-6) * FRAME_S


class SegmentPlanner:
    """The plan of ``vad.plan_segments`` as a stream; how the spans arrive does not change it.

    Args:
        min_segment_duration: seconds.
        max_segment_duration: seconds.

    Raises:
        InvalidOption: the durations contradict each other.
    """

    def __init__(
        self, min_segment_duration: float = 10.0, max_segment_duration: float = 60.0
    ) -> None:
        possible = 0.0 <= min_segment_duration <= max_segment_duration < math.inf
        if not possible or max_segment_duration < 2.0:
            raise InvalidOption(
                f"Segments of {min_segment_duration:g} to {max_segment_duration:g} s are not"
                " possible.",
                hint="The minimum must not exceed the maximum, and the maximum is at least 2 s.",
            )
        self._min_s = min_segment_duration
        self._max_s = max_segment_duration
        self._content_s = min(CONTENT_S, max_segment_duration)
        self._atoms: list[SpeechSpan] = []
        self._last_start_s = -math.inf
        """Where the speech of the latest segment begins."""
        self._done_s = 0.0
        """End of the speech that is already in a segment."""
        self._spans = 0
        self._count = 0
        self._end_s = math.inf
        self.dropped = 0
        """Spans that were too short to keep."""

    def push(
        self, spans: Sequence[SpeechSpan], probabilities: Probabilities, settled_s: float
    ) -> list[AudioSegment]:
        """Take more spans; return the segments that are final now.

        Args:
            spans: the next spans in order.
            probabilities: speech probability of every frame from the start of the recording.
            settled_s: no later span begins before this time.
        """
        for span in spans:
            if span.duration_s < MIN_SPAN_S:
                log.warning("Segment %d too short (%.2fs), skipping", self._spans, span.duration_s)
                self.dropped += 1
            else:
                self._atoms.extend(self._split(span, probabilities))
            self._spans += 1
        ready: list[AudioSegment] = []
        while self._atoms and self._atoms[0].start_s + LOOKAHEAD * self._max_s <= settled_s:
            ready.append(self._commit())
        return ready

    def flush(self, duration_s: float = math.inf) -> list[AudioSegment]:
        """No more spans: return the remaining segments, padding cut at the recording's end."""
        self._end_s = duration_s
        return self.push((), (), math.inf)

    def _split(self, span: SpeechSpan, probabilities: Probabilities) -> list[SpeechSpan]:
        """The span in parts that each fit a window."""
        parts: list[SpeechSpan] = []
        start_s = span.start_s
        while span.end_s - start_s > self._content_s - 2 * PAD_S:
            cut_s = cut_of(start_s, probabilities, self._content_s, span.end_s)
            parts.append(SpeechSpan(start_s, cut_s))
            start_s = cut_s
        return [*parts, SpeechSpan(start_s, span.end_s)]

    def _commit(self) -> AudioSegment:
        """Cut the first segment of the best plan of what lies ahead."""
        horizon_s = self._atoms[0].start_s + LOOKAHEAD * self._max_s
        ahead = list(takewhile(lambda one: one.end_s <= horizon_s, self._atoms)) or self._atoms[:1]
        size, windows = _best_first_segment(
            ahead, self._min_s, self._max_s, self._content_s, horizon_s, self._last_start_s
        )
        atoms, self._atoms = self._atoms[:size], self._atoms[size:]
        segment = self._segment(atoms, windows)
        self._last_start_s, self._done_s = atoms[0].start_s, atoms[-1].end_s
        self._count += 1
        return segment

    def _segment(self, atoms: list[SpeechSpan], cuts: list[int]) -> AudioSegment:
        next_s = self._atoms[0].start_s if self._atoms else math.inf
        bounds = [0, *cuts, len(atoms)]
        windows: list[Window] = []
        for first, last in pairwise(bounds):
            before_s = atoms[first - 1].end_s if first else self._done_s
            after_s = atoms[last].start_s if last < len(atoms) else next_s
            spans = atoms[first:last]
            # Neighbouring windows share the silence between them: no audio is decoded twice.
            left_s = min(PAD_S, max(0.0, spans[0].start_s - before_s) / 2)
            if before_s == 0.0:
                left_s = min(PAD_S, spans[0].start_s)
            right_s = min(PAD_S, max(0.0, after_s - spans[-1].end_s) / 2)
            end_s = max(spans[-1].end_s, min(spans[-1].end_s + right_s, self._end_s))
            windows.append(Window(_pieces(spans, left_s, end_s), tuple(spans)))
        return AudioSegment(self._count, windows[0].start_s, windows[-1].end_s, tuple(windows))


def _pieces(spans: Sequence[SpeechSpan], left_s: float, end_s: float) -> tuple[SpeechSpan, ...]:
    """The audio of a window: its speech, and of each silence at most ``JOIN_S``."""
    pieces: list[SpeechSpan] = []
    start_s = spans[0].start_s - left_s
    for one, other in pairwise(spans):
        if other.start_s - one.end_s > JOIN_S:
            pieces.append(SpeechSpan(start_s, one.end_s + JOIN_S / 2))
            start_s = other.start_s - JOIN_S / 2
    return (*pieces, SpeechSpan(start_s, end_s))


def pack_windows(spans: Sequence[SpeechSpan]) -> tuple[Window, ...]:
    """Windows for loose pieces of speech, each ≤ a window long, filled in order."""
    windows: list[Window] = []
    packed: list[SpeechSpan] = []
    for span in spans:
        if packed and _content([*packed, span]) + 2 * PAD_S > CONTENT_S:
            windows.append(_loose_window(packed))
            packed = []
        packed.append(span)
    if packed:
        windows.append(_loose_window(packed))
    return tuple(windows)


def _loose_window(spans: Sequence[SpeechSpan]) -> Window:
    left_s = min(PAD_S, spans[0].start_s)
    return Window(_pieces(spans, left_s, spans[-1].end_s + PAD_S), tuple(spans))


def _content(spans: Sequence[SpeechSpan]) -> float:
    """Seconds of audio a window of these spans holds, padding left out."""
    silence_s = sum(min(JOIN_S, other.start_s - one.end_s) for one, other in pairwise(spans))
    return sum(span.duration_s for span in spans) + silence_s


def _best_first_segment(
    atoms: list[SpeechSpan],
    min_s: float,
    max_s: float,
    content_s: float,
    horizon_s: float,
    previous_s: float,
) -> tuple[int, list[int]]:
    """Dynamic programming over ``atoms``: number of atoms in the best plan's first segment, and
    where that segment's windows after the first begin. ``previous_s``: where the speech of the
    segment before begins, which is final."""
    count = len(atoms)
    line = _Line.of(atoms)
    best = [math.inf] * count + [0.0]  # best[i]: cheapest plan of atoms[i:]
    choice: list[tuple[int, list[int]]] = [(count, [])] * count
    for first in range(count - 1, -1, -1):
        costs, begins = _window_costs(atoms, line, first, max_s, content_s)
        extendable = atoms[first].start_s - PAD_S + max_s > horizon_s
        chosen = 0
        for size, cost in enumerate(costs, start=1):
            last = first + size
            if last == count and extendable:
                # What follows the horizon may fill its last window up: only the part counts.
                cost -= 1.0 - min(1.0, line.content(begins[-1], last - 1) / content_s)
            total = cost + best[last]
            if last < count:
                total += line.cut_costs[last]
            # Neighbours that touch leave no room for padding, so it does not count here.
            duration_s = atoms[last - 1].end_s - atoms[first].start_s
            if duration_s < min_s and not (last == count and extendable):
                total += SHORT_COST
                if first == 0 and atoms[last - 1].end_s - previous_s + 2 * PAD_S <= max_s:
                    # It should have been part of the segment before: leave another one short.
                    total += SHORT_COST
            if total < best[first] - 1e-9:
                best[first], chosen = total, size
        choice[first] = chosen, _chain(begins, first, chosen)
    return choice[0]


@dataclass(frozen=True, slots=True)
class _Line:
    """What the plan asks of the same atoms again and again, worked out once."""

    upto_s: list[float]
    """Seconds of audio from the first atom to the end of each, silences shortened."""
    lengths_s: list[float]
    cut_costs: list[float]
    """Price of a cut before each atom."""

    @classmethod
    def of(cls, atoms: Sequence[SpeechSpan]) -> _Line:
        gaps_s = [0.0, *(right.start_s - left.end_s for left, right in pairwise(atoms))]
        lengths_s = [atom.duration_s for atom in atoms]
        content_s = (
            length_s + min(JOIN_S, gap_s) for length_s, gap_s in zip(lengths_s, gaps_s, strict=True)
        )
        return cls(list(accumulate(content_s)), lengths_s, [cut_cost(gap_s) for gap_s in gaps_s])

    def content(self, first: int, last: int) -> float:
        """Seconds of audio in a window of the atoms from ``first`` to ``last``."""
        return self.upto_s[last] - self.upto_s[first] + self.lengths_s[first] + 2 * PAD_S


def _window_costs(
    atoms: list[SpeechSpan], line: _Line, first: int, max_s: float, content_s: float
) -> tuple[list[float], list[int]]:
    """For segments that begin at ``first`` and hold 1, 2, … atoms: the cheapest cost of their
    windows, and where the last of these windows begins.

    A window's price does not depend on its length, so the best beginning of the last window is
    the least of a range that only moves forward: a queue of the candidates that may still win.
    """
    costs: list[float] = []
    begins: list[int] = []
    limit_s = atoms[first].start_s + max_s - 2 * PAD_S
    before: deque[tuple[float, int]] = deque()  # (cost of all before it, beginning), ascending
    for last in range(first, len(atoms)):
        if last > first and atoms[last].end_s > limit_s:
            break
        price = costs[-1] + line.cut_costs[last] if last > first else 0.0
        # Of equally cheap beginnings the later one.
        while before and before[-1][0] >= price - 1e-9:
            before.pop()
        before.append((price, last))
        while len(before) > 1 and line.content(before[0][1], last) > content_s + 1e-9:
            before.popleft()
        costs.append(1.0 + before[0][0])
        begins.append(before[0][1])
    return costs, begins


def _chain(begins: list[int], first: int, size: int) -> list[int]:
    """Where the windows of the segment of ``size`` atoms begin after its first, counted from
    ``first``."""
    cuts: list[int] = []
    begin = begins[size - 1]
    while begin > first:
        cuts.append(begin - first)
        begin = begins[begin - first - 1]
    return cuts[::-1]
