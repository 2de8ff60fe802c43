"""Transcript to units: the smallest pieces of text between which a line may end, with their times.

A word of a spaced script is one unit, however the model cut it into tokens; so is a run of
characters that typography keeps together. Only what is wider than a whole line is cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from core.types import Transcript, TranscriptSegment
from subtitles.sanitize import clean_text
from subtitles.script import cut_at_width, has_unspaced, may_break, text_width, unspaced_pieces

UNSPACED_WORD_WIDTH = 8
"""A token of unspaced script wider than this is a phrase, not a word: it is cut into characters."""


@dataclass(frozen=True, slots=True)
class Unit:
    """Text that stays on one line. ``spaced``: a space stands before it inside a line."""

    text: str
    start_s: float
    end_s: float
    width: int
    spaced: bool
    opens_segment: bool


def units_of(transcript: Transcript, max_width: int) -> list[Unit]:
    """All text of the transcript as units of at most ``max_width`` columns, times in order."""
    units: list[Unit] = []
    for unit in _in_order(_tokens(transcript)):
        last = units[-1] if units else None
        if last is not None and not may_break(last.text, unit.text, spaced=unit.spaced):
            width = last.width + unit.spaced + unit.width
            if width <= max_width:
                text = f"{last.text} {unit.text}" if unit.spaced else last.text + unit.text
                end_s = max(last.end_s, unit.end_s)
                units[-1] = replace(last, text=text, end_s=end_s, width=width)
                continue
        if unit.width > max_width:
            units.extend(_cut(unit, cut_at_width(unit.text, max_width)))
        else:
            units.append(unit)
    return units


def _in_order(units: Iterator[Unit]) -> Iterator[Unit]:
    """Starts that never run backwards, ends never before starts, whatever the words say."""
    clock_s = 0.0
    for unit in units:
        if unit.start_s < clock_s or unit.end_s < unit.start_s:
            start_s = max(clock_s, unit.start_s)
            unit = replace(unit, start_s=start_s, end_s=max(start_s, unit.end_s))
        clock_s = unit.start_s
        yield unit


def _tokens(transcript: Transcript) -> Iterator[Unit]:
    """Words without white space, each with the note whether a space belongs before it."""
    before = ""
    for segment in transcript.segments:
        opens = True
        space_due = False
        for text, start_s, end_s in _timed_texts(segment):
            text = clean_text(text)
            parts = text.split()
            if not parts:
                space_due = space_due or bool(text)
                continue
            spaced = space_due or text[0] == " "
            if opens and before and not spaced:
                spaced = not (has_unspaced(before) or has_unspaced(parts[0][0]))
            token = Unit(" ".join(parts), start_s, end_s, 0, spaced and bool(before), opens)
            yield from _split(token, parts)
            before = parts[-1][-1]
            space_due = text[-1] == " "
            opens = False


def _timed_texts(segment: TranscriptSegment) -> Iterator[tuple[str, float, float]]:
    if any(word.text.strip() for word in segment.words):
        for word in segment.words:
            yield word.text, word.start_s, word.end_s
    else:
        yield segment.text, segment.start_s, segment.end_s


def _split(token: Unit, parts: list[str]) -> Iterator[Unit]:
    """The token as units: at its spaces, and where it is a phrase of unspaced script."""
    pieces: list[tuple[str, bool]] = []
    for part in parts:
        phrase = has_unspaced(part) and text_width(part) > UNSPACED_WORD_WIDTH
        cut = unspaced_pieces(part) if phrase else [part]
        pieces.extend((piece, i == 0) for i, piece in enumerate(cut))
    units = _cut(token, [piece for piece, _ in pieces])
    for unit, (_, spaced) in zip(units, pieces, strict=True):
        yield unit if unit.opens_segment or unit is units[0] else replace(unit, spaced=spaced)


def _cut(unit: Unit, texts: list[str]) -> list[Unit]:
    """The unit as several, its time shared out by width (each at least one column)."""
    widths = [text_width(text) for text in texts]
    total = sum(max(1, width) for width in widths)
    length_s = unit.end_s - unit.start_s
    units: list[Unit] = []
    done = 0
    for i, (text, width) in enumerate(zip(texts, widths, strict=True)):
        start_s = unit.start_s + length_s * done / total
        done += max(1, width)
        end_s = unit.start_s + length_s * done / total
        first = i == 0
        units.append(
            Unit(text, start_s, end_s, width, first and unit.spaced, first and unit.opens_segment)
        )
    return units
