"""The recording as a strip: where text is, what is being decoded, and the gaps. Pure functions.

Positions are thousandths of the recording. Text is one path, however long the recording is: what
lies closer together than a screen could show is joined.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from core.types import Cue, Gap
from jobs.records import JobView
from jobs.states import JobState
from ui import wording
from ui.markup import text

WIDTH = 1000
CLOSE = 2.0
"""Pieces this near to each other are one, in thousandths: about a pixel."""
MIN_GAP = 4.0
"""Width at least of a gap, so that a lost word in a long film is seen."""
MAX_MARKS = 300


def strip(view: JobView) -> str:
    """The strip of a job; empty while the length of its recording is not known."""
    total_s = view.total_s or 0.0
    if total_s <= 0.0:
        return ""
    layers = [
        f'<rect class="base" x="0" y="0" width="{WIDTH}" height="24"></rect>',
        *_parts(view, total_s),
        _speech(view.cues, total_s),
        *_gaps(view.gaps, total_s),
    ]
    return (
        f'<div class="timeline" data-total="{total_s:.3f}" title="">'
        f'<svg viewBox="0 0 {WIDTH} 24" preserveAspectRatio="none" role="img"'
        f' aria-label="{text(_in_words(view, total_s))}">{"".join(layers)}</svg>'
        f'<p class="scale" aria-hidden="true"><span>0:00</span>{_legend(view)}'
        f"<span>{wording.clock(total_s)}</span></p></div>"
    )


def _in_words(view: JobView, total_s: float) -> str:
    done = "all" if view.state.ended else wording.clock(min(view.done_s, total_s))
    words = f"Timeline: {done} of {wording.clock(total_s)} done"
    if view.gaps:
        words += f", {wording.counted(len(view.gaps), 'gap')}"
    return words


def _legend(view: JobView) -> str:
    kinds = [("speech", "text")]
    if any(part.state == "working" for part in _of(view)):
        kinds.append(("working", "in progress"))
    if view.gaps:
        kinds.append(("gap", "gap"))
    return "".join(f'<span class="key key-{kind}">{words}</span>' for kind, words in kinds)


def _parts(view: JobView, total_s: float) -> Iterator[str]:
    """Segments that are done or in work while the job runs."""
    if view.state.ended:
        return
    parts = _of(view)
    if not parts and view.cues:
        # Everything before the first missing segment is final.
        yield _rect("done", 0.0, view.cues[-1].end_ms / 1000, total_s)
    for part in parts:
        yield _rect(part.state, part.start_s, part.end_s, total_s)


def _of(view: JobView) -> Sequence[Any]:
    """The job's segments that are done, and those in progress while it runs."""
    shown = ("done", "working") if view.state is JobState.RUNNING else ("done",)
    return [part for part in view.parts if part.state in shown]


def _rect(kind: str, start_s: float, end_s: float, total_s: float) -> str:
    x, width = _place(start_s, end_s, total_s)
    return f'<rect class="{kind}" x="{x:.1f}" y="0" width="{width:.1f}" height="24"></rect>'


def _speech(cues: Sequence[Cue], total_s: float) -> str:
    places = (_place(cue.start_ms / 1000, cue.end_ms / 1000, total_s) for cue in cues)
    pieces = []
    for start, end in _joined((x, x + width) for x, width in places):
        pieces.append(f"M{start:.1f} 6h{end - start:.1f}v12h-{end - start:.1f}z")
    return f'<path class="speech" d="{"".join(pieces)}"></path>' if pieces else ""


def _gaps(gaps: Sequence[Gap], total_s: float) -> Iterator[str]:
    for gap in gaps[:MAX_MARKS]:
        x, width = _place(gap.start_s, gap.end_s, total_s)
        width = max(width, MIN_GAP)
        x = min(x, WIDTH - width)
        yield (
            f'<rect class="gap" x="{x:.1f}" y="0" width="{width:.1f}" height="24">'
            f"<title>{text(wording.gap_text(gap))}</title></rect>"
        )


def _place(start_s: float, end_s: float, total_s: float) -> tuple[float, float]:
    """Left edge and width; what lies outside the recording is cut off."""
    left = min(max(start_s, 0.0), total_s) * WIDTH / total_s
    right = min(max(end_s, 0.0), total_s) * WIDTH / total_s
    return left, max(right - left, 0.0)


def _joined(spans: Iterable[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """Spans in order, those close to each other as one."""
    last: tuple[float, float] | None = None
    for start, end in spans:
        if last is not None and start - last[1] <= CLOSE:
            last = (last[0], max(last[1], end))
            continue
        if last is not None:
            yield last
        last = (start, end)
    if last is not None:
        yield last
