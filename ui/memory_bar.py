"""A bar of what memory is made of against a card's size: markup, every value escaped.

Pure: used for inference and for fine-tuning alike. Colours are those of ``memory.css``; the same
numbers are in the legend and, for screen readers, in the bar's description.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ui.markup import text

COLOURS = 12
"""Kinds of parts ``memory.css`` has a colour for; more begin again with the first."""

_NOTHING: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class _Piece:
    label: str
    mib: float
    style: str


def memory_bar(
    parts: Mapping[str, float],
    total_mib: float,
    *,
    used: Mapping[str, float] = _NOTHING,
    title: str = "",
    error: float = 0.0,
    free_label: str = "free",
) -> str:
    """``parts`` (ours, MiB by name, in order) after ``used`` (what others hold), and what is left
    of ``total_mib``; 0: the card's size is not known, and nothing is said to fit or not.

    ``error``: share by which our sum may be wrong, 0.1 for 10 %, drawn as a span at its end.
    """
    pieces = [_Piece(label, mib, "used") for label, mib in used.items() if mib > 0]
    ours = [(label, mib) for label, mib in parts.items() if mib > 0]
    pieces += [_Piece(label, mib, f"part-{i % COLOURS}") for i, (label, mib) in enumerate(ours)]
    need = sum(piece.mib for piece in pieces)
    own = sum(mib for _, mib in ours)
    room = total_mib if total_mib > 0 else need
    over = need > room
    whole = max(room, need, 1.0)
    bar = "".join(_segment(piece, whole) for piece in pieces)
    if over:
        bar += f'<span class="over" style="left:{_share(room, whole)}"></span>'
        bar += f'<span class="card-end" style="left:{_share(room, whole)}"></span>'
    if error > 0 and own > 0:
        bar += _span(need - own * error, need + own * error, whole)
    rest = [] if over or total_mib <= 0 else [_Piece(free_label, room - need, "free")]
    caption = f"<figcaption>{text(title)}</figcaption>" if title else ""
    description = _describe(title, pieces, need, total_mib, free_label)
    return (
        f'<figure class="memory{" memory-over" if over else ""}">{caption}'
        f'<div class="memory-bar" role="img" aria-label="{text(description)}">{bar}</div>'
        f"{_scale(need, total_mib, whole, error)}"
        f'<ul class="memory-legend">{"".join(map(_key, [*pieces, *rest]))}</ul></figure>'
    )


def mib(value: float) -> str:
    """``1,234 MiB``."""
    return f"{value:,.0f} MiB"


def _segment(piece: _Piece, whole: float) -> str:
    about = f"{piece.label}: {mib(piece.mib)}"
    return (
        f'<span class="piece {piece.style}" style="width:{_share(piece.mib, whole)}"'
        f' title="{text(about)}"></span>'
    )


def _span(low: float, high: float, whole: float) -> str:
    end = min(high, whole)
    width = _share(max(0.0, end - low), whole)
    return f'<span class="error" style="left:{_share(low, whole)};width:{width}"></span>'


def _scale(need: float, total_mib: float, whole: float, error: float) -> str:
    """Both numbers below the bar; which one is the longer is said in words, not by place alone."""
    sure = f" ± {error:.0%}" if error > 0 else ""
    if total_mib <= 0:
        return f'<p class="memory-scale"><span>{mib(need)}{sure}</span></p>'
    if need > total_mib:
        lacks = f"{mib(need - total_mib)} too much"
        return (
            f'<p class="memory-scale"><span>card: {mib(total_mib)}</span>'
            f'<span class="lacks">{mib(need)}{sure}: {lacks}</span></p>'
        )
    return (
        f'<p class="memory-scale"><span>{mib(need)}{sure} ({need / whole:.0%} of the card)</span>'
        f"<span>card: {mib(total_mib)}</span></p>"
    )


def _key(piece: _Piece) -> str:
    return (
        f'<li><span class="swatch {piece.style}"></span><span class="what">{text(piece.label)}'
        f'</span> <span class="much">{mib(piece.mib)}</span></li>'
    )


def _describe(
    title: str, pieces: list[_Piece], need: float, total_mib: float, free_label: str
) -> str:
    listed = ", ".join(f"{piece.label} {mib(piece.mib)}" for piece in pieces)
    said = f"{title}: {listed}" if title else listed
    if total_mib <= 0:
        return f"{said}. Together {mib(need)}."
    if need > total_mib:
        return (
            f"{said}. Together {mib(need)}, {mib(need - total_mib)} more than the card's"
            f" {mib(total_mib)}."
        )
    return (
        f"{said}. Together {mib(need)} of the card's {mib(total_mib)}, {mib(total_mib - need)}"
        f" {free_label}."
    )


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.3f}%"
