"""Markup of the first tab: pure functions of a job's snapshot, with every value escaped.

Gradio's HTML component changes only the elements that differ, so these may be called for every
frame: the reader's scroll position, focus and a playing video survive.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import quote

from core.endpoints import LOCAL
from core.types import Cue, Gap
from jobs.records import HistoryEntry, JobView
from jobs.states import JobState
from subtitles.formats import FORMATS
from ui import wording
from ui.markup import action, facts, name, problem, problem_text, state, text, time

LIVE_CUES = 100
"""Rows shown while a job runs: each new cue sends them all again."""
MAX_CUES = 3000
"""Rows shown of a finished job; four hours of speech. All of them are in the files."""
MAX_GAPS = 20


def links(job_id: str) -> str:
    """Address of a job's files, relative to the page so that any proxy prefix is kept."""
    return f"jobs/{quote(job_id, safe='')}"


def page_link(job_id: str) -> str:
    """Address of the page that shows a job, relative to the page."""
    return f"?job={quote(job_id, safe='')}"


def empty() -> str:
    """The placeholder before there are results."""
    return (
        '<div class="empty"><p><strong>Subtitles appear here.</strong></p>'
        "<p>Add recordings or links and press Start, or try the example.</p>"
        "<p>Your earlier jobs are in the tab “Jobs”.</p></div>"
    )


def refused(about: str, label: str, message: str, hint: str) -> str:
    """A recording that did not become a job, or a link that leads to none."""
    return (
        f'<article class="job job-failed" aria-label="{text(wording.short(about))}">'
        f'<header><h3>{name(about)}</h3><span class="state">{text(label)}</span></header>'
        f"{problem_text(message, hint)}</article>"
    )


def card(view: JobView, *, mine: bool) -> str:
    """One job: its progress while it runs, then what came of it.

    ``mine``: the reader may change it, not only look.
    """
    if view.state.ended:
        body = [*_outcome(view), downloads(view.id, view.outputs)]
    elif view.state is JobState.PAUSED:
        body = [f'<p class="verdict" role="status">{text(_PAUSED)}</p>', *_progress(view)]
    else:
        body = [*_progress(view), *_devices(view.devices)]
    shown = wording.short(view.name)
    return (
        f'<article class="job job-{view.state.value}" aria-label="{text(shown)}">'
        f'<header><h3 title="{text(shown)}">{name(view.name)}</h3>{state(view.state)}</header>'
        f"{''.join(body)}{_actions(view, mine)}</article>"
    )


_PAUSED = (
    "The service was stopped. Finished work is kept, and the job resumes when the service is back."
)


def _actions(view: JobView, mine: bool) -> str:
    buttons = [
        f'<button type="button" class="act" data-copy-link="{text(page_link(view.id))}">'
        "Copy link</button>"
    ]
    if view.state.ended:
        buttons.append(action("run_again", view.id, "Run again", view.name))
        if mine:
            buttons.append(action("delete_job", view.id, "Delete", view.name, "danger"))
    elif mine:
        buttons.append(action("cancel_job", view.id, "Cancel", view.name))
    return f'<div class="actions-row">{"".join(buttons)}</div>'


def _progress(view: JobView) -> Iterable[str]:
    percent = 100 * view.fraction
    told = []
    if view.total_s:
        told.append(f"{wording.clock(view.done_s)} of {wording.clock(view.total_s)}")
    told.append(f"{percent:.0f}%")
    if view.remaining_s is not None and view.state is JobState.RUNNING:
        told.append(wording.time_left(view.remaining_s))
    if language := wording.language_name(view.language):
        told.append(language)
    if view.gaps:
        told.append(wording.counted(len(view.gaps), "gap"))
    yield (
        f'<progress max="100" value="{percent:.1f}"'
        f' aria-label="Progress of {text(wording.short(view.name))}">{percent:.0f}%</progress>'
    )
    yield facts(text(fact) for fact in told)
    if view.message and view.state is not JobState.PAUSED:
        yield f'<p class="message">{text(view.message)}</p>'


def _devices(devices: Mapping[str, str]) -> Iterable[str]:
    if devices:
        lines = (f"<li><b>{text(d)}</b> {text(does)}</li>" for d, does in sorted(devices.items()))
        yield f'<ul class="devices" aria-label="Devices">{"".join(lines)}</ul>'


def _outcome(view: JobView) -> Iterable[str]:
    if view.state is JobState.CANCELLED:
        yield '<p class="verdict" role="status">Cancelled. Nothing was written.</p>'
    elif view.state is JobState.FAILED:
        if view.error is not None:
            yield problem(view.error)
        else:
            yield problem_text("The job failed.", view.message)
    else:
        line = wording.verdict(len(view.cues), view.gaps, view.report, view.language)
        yield f'<p class="verdict" role="status">{text(line)}</p>'
        if view.report is not None and view.request.options.where not in (None, LOCAL):
            yield f'<p class="note">{text(wording.shares(view.report))}</p>'


def downloads(job_id: str, outputs: Iterable[str]) -> str:
    """Links to the job's files."""
    made = set(outputs)
    buttons = [
        f'<a href="{text(links(job_id))}/files/{quote(one)}" download'
        f' title="{text(FORMATS[one].description)}">{text(one.upper())}</a>'
        for one in FORMATS
        if one in made
    ]
    if not buttons:
        return ""
    return f'<nav class="downloads" aria-label="Downloads">{"".join(buttons)}</nav>'


def gap_list(gaps: Sequence[Gap]) -> str:
    """The gaps with their reasons; a click on a time plays from there."""
    if not gaps:
        return ""
    lines = [
        f'<li><button type="button" data-start="{gap.start_s:.3f}" title="Play from here">'
        f"{wording.clock(gap.start_s)} to {wording.clock(gap.end_s)}</button>"
        f"<span>{text(gap.reason)}</span></li>"
        for gap in gaps[:MAX_GAPS]
    ]
    if len(gaps) > MAX_GAPS:
        lines.append(f"<li>and {len(gaps) - MAX_GAPS} more, in the JSON and text files</li>")
    return (
        f'<div class="gaps"><h4>{wording.counted(len(gaps), "gap")}: speech without text</h4>'
        f"<ul>{''.join(lines)}</ul></div>"
    )


def history(entries: Sequence[HistoryEntry]) -> str:
    """What happened to a job, in plain lines."""
    if not entries:
        return '<p class="note">Nothing has been recorded yet.</p>'
    first = entries[0].at
    lines = []
    for entry in entries:
        # The day is said once, and again when it has changed.
        style = "moment" if entry is entries[0] or entry.at - first > 12 * 3600 else "clock"
        lines.append(
            f'<li class="what-{text(entry.kind)}">{time(entry.at, style)}'
            f'<span dir="auto">{text(entry.text)}</span></li>'
        )
    return f'<ol class="history">{"".join(lines)}</ol>'


def cue_list(view: JobView) -> str:
    """The cues so far; a click on a time plays from there."""
    cues = view.cues
    if not cues:
        waits = not view.state.ended and view.state is not JobState.PAUSED
        return '<p class="waiting">The first cues appear soon.</p>' if waits else ""
    first, note = 0, ""
    if not view.state.ended and len(cues) > LIVE_CUES:
        first = len(cues) - LIVE_CUES
        note = (
            f"The last {LIVE_CUES} of {len(cues):,} cues; all of them appear when the job is done."
        )
    elif len(cues) > MAX_CUES:
        cues = cues[:MAX_CUES]
        note = f"The first {MAX_CUES:,} of {len(view.cues):,} cues; the files contain all of them."
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


def player(view: JobView) -> str:
    """The recording, as soon as it is known to be one; its captions follow when they are made."""
    if not view.total_s or view.state in (JobState.FAILED, JobState.CANCELLED):
        return ""
    track = ""
    if "vtt" in view.outputs and view.cues:
        label = wording.language_name(view.language) or "Subtitles"
        # Gaps that were tried again change the file: a new address makes the player load it again.
        source = f"{links(view.id)}/files/vtt?{view.ended_at or 0:.0f}"
        track = (
            f'<track kind="captions" default srclang="{text(view.language or "und")}"'
            f' label="{text(label)}" src="{text(source)}">'
        )
    return (
        '<div class="stage">'
        f'<video controls preload="metadata" playsinline src="{text(links(view.id))}/recording">'
        f'{track}</video><p class="caption"></p></div>'
        '<p class="note no-player">This browser cannot play the recording;'
        " the subtitles are not affected.</p>"
    )
