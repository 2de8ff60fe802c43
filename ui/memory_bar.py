"""What the tabs Memory and Fine-tuning share: a bar of what memory is made of, verdicts, tables.

Pure functions to markup, every value escaped. Colours are those of ``memory.css``; the same numbers
are in the legend and, for screen readers, in the bar's description.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from gpu.estimate import Fit
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
    title: str,
    parts: Mapping[str, float],
    total_mib: float,
    *,
    used: Mapping[str, float] = _NOTHING,
    error: float = 0.0,
) -> str:
    """``parts`` (ours, MiB by name, in order) after ``used`` (what others hold), and what is left
    of the card's ``total_mib``.

    ``error``: share by which our sum may be wrong, 0.1 for 10 %, drawn as a span at its end.
    """
    pieces = [_Piece(label, mib, "used") for label, mib in used.items() if mib > 0]
    ours = [(label, mib) for label, mib in parts.items() if mib > 0]
    pieces += [_Piece(label, mib, f"part-{i % COLOURS}") for i, (label, mib) in enumerate(ours)]
    need = sum(piece.mib for piece in pieces)
    own = sum(mib for _, mib in ours)
    over = need > total_mib
    whole = max(total_mib, need)
    bar = "".join(_segment(piece, whole) for piece in pieces)
    if over:
        end = _share(total_mib, whole)
        bar += f'<span class="over" style="left:{end}"></span>'
        bar += f'<span class="card-end" style="left:{end}"></span>'
    if error > 0 and own > 0:
        bar += _span(need - own * error, need + own * error, whole)
    rest = [] if over else [_Piece("free", total_mib - need, "free")]
    return (
        f'<figure class="memory{" memory-over" if over else ""}">'
        f"<figcaption>{text(title)}</figcaption>"
        f'<div class="memory-bar" role="img" aria-label="'
        f'{text(_describe(title, pieces, need, total_mib))}">{bar}</div>'
        f"{_scale(need, total_mib, error)}"
        f'<ul class="memory-legend">{"".join(map(_key, [*pieces, *rest]))}</ul></figure>'
    )


def mib(value: float) -> str:
    """``1,234 MiB``."""
    return f"{value:,.0f} MiB"


def fit_class(fit: Fit) -> str:
    """The style sheet's name of it."""
    return f"fit-{fit.replace(' ', '-')}"


def verdict(fit: Fit, sentence: str) -> str:
    return f'<p class="plan-verdict {fit_class(fit)}" role="status">{text(sentence)}</p>'


def section(title: str, body: str) -> str:
    return f"<section><h3>{text(title)}</h3>{body}</section>"


def table(heads: Iterable[str], rows: Mapping[str, Iterable[str]]) -> str:
    """Rows by their first column; the other cells are markup."""
    head = "".join(f'<th scope="col">{text(name)}</th>' for name in heads)
    body = "".join(
        f'<tr><th scope="row">{text(name)}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
        for name, cells in rows.items()
    )
    return (
        f'<div class="table"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        "</div>"
    )


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


def _scale(need: float, total_mib: float, error: float) -> str:
    """Both numbers below the bar; which one is the longer is said in words, not by place alone."""
    takes = f"{mib(need)} ± {error:.0%}" if error > 0 else mib(need)
    card = f"<span>card: {mib(total_mib)}</span>"
    if need > total_mib:
        lacks = f'<span class="lacks">{takes}: {mib(need - total_mib)} too much</span>'
        return f'<p class="memory-scale">{card}{lacks}</p>'
    share = f"<span>{takes} ({need / total_mib:.0%} of the card)</span>"
    return f'<p class="memory-scale">{share}{card}</p>'


def _key(piece: _Piece) -> str:
    return (
        f'<li><span class="swatch {piece.style}"></span><span class="what">{text(piece.label)}'
        f'</span> <span class="much">{mib(piece.mib)}</span></li>'
    )


def _describe(title: str, pieces: list[_Piece], need: float, total_mib: float) -> str:
    listed = ", ".join(f"{piece.label} {mib(piece.mib)}" for piece in pieces)
    said = f"{title}: {listed}. Together {mib(need)}"
    if need > total_mib:
        return f"{said}, {mib(need - total_mib)} more than the card's {mib(total_mib)}."
    return f"{said} of the card's {mib(total_mib)}, {mib(total_mib - need)} free."


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.3f}%"
