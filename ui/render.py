"""The page's own HTML: pure functions from a job's snapshot to markup, every value escaped.

Gradio's HTML component changes only the elements that differ, so these may be called for every
frame: the reader's scroll position, focus and a playing video survive.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import quote

from core.errors import SubtitleError
from core.types import Cue, Gap
from jobs.job import JobState, JobView
from subtitles.formats import FORMATS
from ui import wording

LIVE_CUES = 100
"""Rows shown while a job runs: each new cue sends them all again."""
MAX_CUES = 3000
"""Rows shown of a finished job; four hours of speech. All of them are in the files."""
MAX_GAPS = 20

_STATES = {
    JobState.QUEUED: "Waiting",
    JobState.RUNNING: "Transcribing",
    JobState.COMPLETE: "Complete",
    JobState.COMPLETE_WITH_GAPS: "Finished with gaps",
    JobState.FAILED: "Failed",
    JobState.CANCELLED: "Cancelled",
}


def text(value: object) -> str:
    """A value as text of an element or a quoted attribute."""
    return html.escape(str(value), quote=True)


def empty() -> str:
    """What stands where results will be."""
    return (
        '<div class="empty"><p><strong>Subtitles appear here.</strong></p>'
        "<p>Add recordings and press Start, or try the example.</p></div>"
    )


def refused(name: str, message: str, hint: str) -> str:
    """A recording that did not become a job."""
    return _card(name, "failed", "Not started", [_problem(message, hint)])


def card(name: str, view: JobView, links: str, formats: Sequence[str]) -> str:
    """One recording: its progress while it runs, then what came of it.

    ``links`` is the address of the job's files, relative to the page; ``formats`` are the ones to
    download.
    """
    if view.state.ended:
        body = [*_outcome(view), *_gaps(view.gaps), _downloads(view, links, formats)]
    else:
        body = [*_progress(name, view), *_devices(view.devices), *_gaps(view.gaps)]
    return _card(name, view.state.value, _STATES[view.state], body)


def _card(name: str, state: str, label: str, body: Iterable[str]) -> str:
    return (
        f'<article class="job job-{text(state)}" aria-label="{text(name)}">'
        f'<header><h3 title="{text(name)}">{text(name)}</h3>'
        f'<span class="state">{text(label)}</span></header>{"".join(body)}</article>'
    )


def _progress(name: str, view: JobView) -> Iterable[str]:
    percent = 100 * view.fraction
    facts = []
    if view.total_s:
        facts.append(f"{wording.clock(view.done_s)} of {wording.clock(view.total_s)}")
    facts.append(f"{percent:.0f} %")
    if view.remaining_s is not None:
        facts.append(wording.time_left(view.remaining_s))
    if name_ := wording.language_name(view.language):
        facts.append(name_)
    yield (
        f'<progress max="100" value="{percent:.1f}" aria-label="Progress of {text(name)}">'
        f"{percent:.0f} %</progress>"
    )
    yield f'<p class="facts">{"".join(f"<span>{text(fact)}</span>" for fact in facts)}</p>'
    if view.message:
        yield f'<p class="message">{text(view.message)}</p>'


def _devices(devices: Mapping[str, str]) -> Iterable[str]:
    if devices:
        lines = (f"<li><b>{text(d)}</b> {text(does)}</li>" for d, does in sorted(devices.items()))
        yield f'<ul class="devices" aria-label="Devices">{"".join(lines)}</ul>'


def _outcome(view: JobView) -> Iterable[str]:
    if view.state is JobState.CANCELLED:
        yield '<p class="verdict" role="status">Cancelled. Nothing was written.</p>'
    elif view.error is not None:
        yield problem(view.error)
    else:
        line = wording.verdict(len(view.cues), view.gaps, view.report, view.language)
        yield f'<p class="verdict" role="status">{text(line)}</p>'


def problem(error: SubtitleError) -> str:
    """What went wrong and what can be done about it."""
    return _problem(error.message, error.hint)


def _problem(message: str, hint: str) -> str:
    what = f'<span class="what">{text(message)}</span>'
    todo = f'<span class="hint">{text(hint)}</span>' if hint else ""
    return f'<p class="problem" role="alert">{what} {todo}</p>'


def _gaps(gaps: Sequence[Gap]) -> Iterable[str]:
    if not gaps:
        return
    lines = [f"<li>{text(wording.gap_text(gap))}</li>" for gap in gaps[:MAX_GAPS]]
    if len(gaps) > MAX_GAPS:
        lines.append(f"<li>and {len(gaps) - MAX_GAPS} more, in the JSON and text files</li>")
    yield f'<div class="gaps"><h4>Speech without text</h4><ul>{"".join(lines)}</ul></div>'


def _downloads(view: JobView, links: str, formats: Sequence[str]) -> str:
    chosen = [name for name in view.outputs if name in formats and name in FORMATS]
    if not chosen:
        return ""
    buttons = (
        f'<a href="{text(links)}/files/{quote(name)}" download'
        f' title="{text(FORMATS[name].description)}">{text(name.upper())}</a>'
        for name in chosen
    )
    return f'<nav class="downloads" aria-label="Downloads">{"".join(buttons)}</nav>'


def cue_list(view: JobView) -> str:
    """The cues so far; a click on a time plays from there."""
    cues = view.cues
    if not cues:
        return "" if view.state.ended else '<p class="waiting">The first cues appear soon.</p>'
    first, note = 0, ""
    if not view.state.ended and len(cues) > LIVE_CUES:
        first = len(cues) - LIVE_CUES
        note = f"The last {LIVE_CUES} of {len(cues):,} cues; all of them when it is done."
    elif len(cues) > MAX_CUES:
        cues = cues[:MAX_CUES]
        note = f"The first {MAX_CUES:,} of {len(view.cues):,} cues; the files hold all of them."
    rows = "".join(_row(cue) for cue in cues[first:])
    head = f'<p class="note">{text(note)}</p>' if note else ""
    return f'{head}<ol class="cues" aria-label="Subtitles">{rows}</ol>'


def _row(cue: Cue) -> str:
    start_s = cue.start_ms / 1000
    lines = "<br>".join(text(line) for line in cue.lines)
    return (
        f'<li><button type="button" data-start="{start_s:.3f}" title="Play from here">'
        f'{wording.clock(start_s)}</button><span dir="auto">{lines}</span></li>'
    )


def player(view: JobView, links: str) -> str:
    """The recording with its captions, once there are any."""
    if "vtt" not in view.outputs or not view.cues:
        return ""
    language = view.language or "und"
    label = wording.language_name(view.language) or "Subtitles"
    return (
        '<div class="stage">'
        f'<video controls preload="metadata" playsinline src="{text(links)}/recording">'
        f'<track kind="captions" default srclang="{text(language)}" label="{text(label)}"'
        f' src="{text(links)}/files/vtt"></video><p class="caption"></p></div>'
        '<p class="note" hidden>This browser cannot play the recording;'
        " the subtitles are not affected.</p>"
    )
