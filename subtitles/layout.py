"""Words to cues: what a subtitler does by eye, as a search for the cheapest set of breaks.

Cost of a layout = sum over its cues of

    cue_cost                              every cue
  + line_cost                           every line after a cue's first
  + fill_cost  * (width / capacity)²      even cues rather than a full one and a tiny one
  + flash_cost * missing share            less room than ``min_cue_s`` before the next cue
  + fragment_cost * missing share         a word or two torn from their sentence
  + break price at its end                0 after a sentence … high after "the" (subtitles.breaks),
                                          less where there is a pause
  + what it swallows                      pauses and sentence ends inside it

under the limits of :class:`~subtitles.rules.LayoutRules` (columns, lines, seconds). The cheapest
layout is found exactly, by dynamic programming over the places where a line may end; a cue
holds some twenty words at most, so time grows with the number of words only. Lines inside a cue
are chosen the same way from the same prices, evenly or bottom-heavy.

Times are rounded here, once. A cue starts when its first word does, never before, and ends a
little after its last word, never over the next cue.

Growing transcripts: the layout of a prefix is the beginning of the layout of the whole, except
for its end. In ordinary speech the last one or two cues can still change; the bound is the words
after the last silence of ``silence_s`` or, without pauses, ``horizon_units`` words.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise

from core.types import Cue, Transcript
from subtitles.breaks import BreakJudge
from subtitles.rules import DEFAULT_RULES, LayoutRules
from subtitles.script import is_unspaced
from subtitles.units import Unit, units_of

_WHOLE = Decimal(1)


def to_ms(seconds: float) -> int:
    """Nearest millisecond of the time as it is written; halves go up. Never before zero.

    Through decimal, because 1.0005 * 1000 is 1000.4999… in binary.
    """
    ms = (Decimal(repr(float(seconds))) * 1000).quantize(_WHOLE, rounding=ROUND_HALF_UP)
    return max(0, int(ms))


def layout(transcript: Transcript, rules: LayoutRules = DEFAULT_RULES) -> tuple[Cue, ...]:
    """All words of the transcript, each once and in order, as cues that never overlap."""
    units = units_of(transcript, rules.max_chars)
    if not units:
        return ()
    plan = _Plan(units, BreakJudge(transcript.language, rules.breaks), rules)
    bounds = list(plan.cues())
    lines = [plan.lines(first, after) for first, after in bounds]
    return _timed(units, bounds, lines, rules)


class _Plan:
    """Arrays over units and the places between them. Place ``k`` lies before unit ``k``."""

    def __init__(self, units: Sequence[Unit], judge: BreakJudge, rules: LayoutRules) -> None:
        self._units = units
        self._rules = rules
        count = len(units)
        self._left: list[int] = []
        self._right: list[int] = []
        column = 0
        for unit in units:
            column += unit.spaced
            self._left.append(column)
            column += unit.width
            self._right.append(column)
        self._starts = [unit.start_s for unit in units] + [math.inf]
        self._ends = [unit.end_s for unit in units]
        self._line_price = [0.0] * (count + 1)
        self._cue_price = [0.0] * (count + 1)
        self._swallowed = [0.0] * (count + 1)
        self._full_stop = [True] * (count + 1)
        self._silences = [0]
        self._judge(judge)
        self._silences.append(count)
        self._limits = self._furthest()

    def _judge(self, judge: BreakJudge) -> None:
        rules = self._rules
        total = 0.0
        before, hidden_s = "", 0.0
        for k in range(1, len(self._units)):
            unit, following = self._units[k - 1], self._units[k]
            pause_s = max(0.0, following.start_s - unit.end_s)
            if pause_s >= rules.silence_s:
                self._silences.append(k)
            pause_s += rules.stretched_after * hidden_s
            length_s = following.end_s - following.start_s
            hidden_s = max(0.0, length_s - rules.word_s - rules.column_s * following.width)
            pause_s += rules.stretched_before * hidden_s
            price = judge.price(before, unit, following)
            before = unit.text
            sentence = price <= rules.breaks.sentence
            hesitation = rules.hesitation if price >= rules.breaks.bound else 1.0
            share = min(1.0, pause_s / (rules.pause_s * hesitation))
            self._line_price[k] = price
            if share < 1.0:
                self._cue_price[k] = price * (1.0 - rules.breaks.pause_discount * share)
            self._full_stop[k] = sentence or share >= 1.0
            inside = rules.pause_inside_cost * share * share
            if sentence:
                breath = pause_s >= rules.breath_s
                least = rules.breath_inside_cost if breath else rules.sentence_inside_cost
                inside = max(inside, least)
            elif following.opens_segment and is_unspaced(following.text[0]):
                inside = max(inside, rules.segment_inside_cost)
            total += inside
            self._swallowed[k] = total
        self._swallowed[-1] = total

    def _furthest(self) -> list[int]:
        """For each first unit, the place up to which ``max_lines`` lines can hold the text."""
        count = len(self._units)
        one_line: list[int] = []
        after = 0
        for first in range(count):
            after = max(after, first + 1)
            reach = self._left[first] + self._rules.max_chars
            while after < count and self._right[after] <= reach:
                after += 1
            one_line.append(after)
        one_line.append(count)
        limits = one_line
        for _ in range(self._rules.max_lines - 1):
            limits = [one_line[place] for place in limits]
        return limits

    def cues(self) -> Iterator[tuple[int, int]]:
        """(first, after) of each cue, in order: the cheapest chain within each stretch."""
        for k in range(1, len(self._silences)):
            yield from self._stretch(self._silences[k - 1], self._silences[k])

    def _stretch(self, base: int, stop: int) -> Iterator[tuple[int, int]]:
        rules = self._rules
        best = [0.0]
        back = [base]
        after = base
        while after < stop:
            after += 1
            cost, first = self._cheapest(base, after, best)
            best.append(cost)
            back.append(first)
            if after - base >= rules.horizon_units and after < stop:
                settled = [
                    cue for cue in _trace(back, base, after) if cue[1] <= after - rules.tail_units
                ]
                if settled:
                    yield from settled
                    base = after = settled[-1][1]
                    best, back = [0.0], [base]
        yield from _trace(back, base, stop)

    def _cheapest(self, base: int, after: int, best: Sequence[float]) -> tuple[float, int]:
        """Lowest cost of any chain from ``base`` to ``after``, and where its last cue begins."""
        rules, starts, limits = self._rules, self._starts, self._limits
        earliest_s = self._ends[after - 1] - rules.max_cue_s
        lowest, chosen = math.inf, after - 1
        for first in range(after - 1, base - 1, -1):
            if limits[first] < after or (starts[first] < earliest_s and first < after - 1):
                break
            cost = best[first - base] + self._cue_cost(first, after)
            if cost < lowest:
                lowest, chosen = cost, first
        return lowest, chosen

    def _cue_cost(self, first: int, after: int) -> float:
        """Cost of one cue of the units ``first`` to ``after``. The place for further rules."""
        rules = self._rules
        width = self._right[after - 1] - self._left[first]
        fill = width / (rules.max_chars * rules.max_lines)
        cost = rules.cue_cost + rules.fill_cost * fill * fill + self._cue_price[after]
        cost += rules.line_cost * ((width - 1) // rules.max_chars)
        if after - first > 1:
            cost += self._swallowed[after - 1] - self._swallowed[first]
        room_s = self._starts[after] - self._starts[first]
        if room_s < rules.min_cue_s:
            cost += rules.flash_cost * (1.0 - room_s / rules.min_cue_s)
        if width < rules.fragment_chars and not (self._full_stop[first] and self._full_stop[after]):
            cost += rules.fragment_cost * (1.0 - width / rules.fragment_chars)
        return cost

    def lines(self, first: int, after: int) -> tuple[str, ...]:
        """The units as few lines as hold them, broken where it costs least."""
        rules = self._rules
        width = self._right[after - 1] - self._left[first]
        if width <= rules.max_chars or after - first == 1:
            return (self._text(first, after),)
        best: list[tuple[float, tuple[int, ...]]] = []
        for count in range(2, rules.max_lines + 1):
            best = list(self._splits(first, after, count, width / count))
            if best:
                break
        places = (first, *min(best)[1], after)
        return tuple(self._text(a, b) for a, b in pairwise(places))

    def _splits(
        self, first: int, after: int, count: int, share: float
    ) -> Iterator[tuple[float, tuple[int, ...]]]:
        """All ways to write the units on ``count`` lines, each with its cost."""
        rules = self._rules
        if count == 1:
            width = self._right[after - 1] - self._left[first]
            if width <= rules.max_chars or after - first == 1:
                yield 0.0, ()
            return
        for place in range(first + 1, after):
            width = self._right[place - 1] - self._left[first]
            if width > rules.max_chars and place > first + 1:
                break
            weight = rules.top_heavy_cost if width > share else rules.bottom_heavy_cost
            off = abs(width - share)
            cost = self._line_price[place] + weight * off * (1.0 + off / rules.uneven_chars)
            for rest, places in self._splits(place, after, count - 1, share):
                yield cost + rest, (place, *places)

    def _text(self, first: int, after: int) -> str:
        units = self._units
        text = units[first].text
        for k in range(first + 1, after):
            text += f" {units[k].text}" if units[k].spaced else units[k].text
        return text


def _trace(back: Sequence[int], base: int, after: int) -> list[tuple[int, int]]:
    """The cues that lead from ``base`` to ``after``."""
    cues: list[tuple[int, int]] = []
    while after > base:
        first = back[after - base]
        cues.append((first, after))
        after = first
    return cues[::-1]


def _timed(
    units: Sequence[Unit],
    bounds: Sequence[tuple[int, int]],
    lines: Sequence[tuple[str, ...]],
    rules: LayoutRules,
) -> tuple[Cue, ...]:
    """Round the times and keep the cues apart."""
    starts: list[int] = []
    for first, _ in bounds:
        start_ms = to_ms(units[first].start_s)
        starts.append(max(start_ms, starts[-1] + rules.min_shown_ms) if starts else start_ms)
    linger_ms, least_ms, most_ms = map(to_ms, (rules.linger_s, rules.min_cue_s, rules.max_cue_s))
    cues: list[Cue] = []
    for k, (_, after) in enumerate(bounds):
        start_ms = starts[k]
        spoken_ms = to_ms(units[after - 1].end_s)
        end_ms = min(max(spoken_ms + linger_ms, start_ms + least_ms), start_ms + most_ms)
        if k + 1 < len(starts):
            limit_ms = starts[k + 1] - rules.min_gap_ms
            shown = limit_ms - start_ms >= rules.min_shown_ms
            end_ms = min(end_ms, limit_ms if shown else starts[k + 1])
        cues.append(Cue(start_ms, end_ms, lines[k]))
    return tuple(cues)
