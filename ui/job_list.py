"""Markup of the tab of jobs: one row per job, and the pages of a long list."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from core.types import Gap
from jobs.gaps import worth_trying
from jobs.records import JobRecord, JobView
from jobs.states import JobState
from ui import wording
from ui.markup import action, facts, name, state, text, time
from ui.render import downloads, page_link

PAGE = 20
"""Jobs on a page of the list."""


def job_list(
    records: Sequence[JobRecord], live: dict[str, JobView], total: int, page: int, *, narrowed: bool
) -> str:
    """A page of the list.

    ``live``: what is known now of those that this service runs; ``narrowed``: a search or a
    state was given.
    """
    if not records:
        return _nothing(narrowed)
    rows = "".join(_row(record, live.get(record.id)) for record in records)
    return (
        f'<p class="count" role="status">{_count(total, page)}</p>'
        f'<ol class="job-list" aria-label="Jobs">{rows}</ol>{_pages(total, page)}'
    )


def pages(total: int) -> int:
    return max(1, -(-total // PAGE))


def _nothing(narrowed: bool) -> str:
    if narrowed:
        what, todo = "No matching jobs.", "Search for another name, or choose all states."
    else:
        what = "No jobs yet."
        todo = "Jobs you start appear here, and stay when you close the page."
    return f'<div class="empty"><p><strong>{what}</strong></p><p>{todo}</p></div>'


def _count(total: int, page: int) -> str:
    words = wording.counted(total, "job")
    return words if total <= PAGE else f"{words}, page {page + 1} of {pages(total)}"


def _pages(total: int, page: int) -> str:
    if total <= PAGE:
        return ""
    last = pages(total) - 1
    buttons = [
        _turn("Newer", page - 1, page > 0),
        _turn("Older", page + 1, page < last),
    ]
    return f'<nav class="pages" aria-label="Pages">{"".join(buttons)}</nav>'


def _turn(label: str, to: int, possible: bool) -> str:
    off = "" if possible else " disabled"
    return (
        f'<button type="button" class="act" data-act="turn_page" data-id="{to}"{off}>'
        f"{label}</button>"
    )


def _row(record: JobRecord, view: JobView | None) -> str:
    now = record.state if view is None else view.state
    shown = wording.short(record.name)
    return (
        f'<li class="job-row job-{now.value}">'
        f'<div class="row-head"><a class="row-name" href="{text(page_link(record.id))}"'
        f' data-act="open_job" data-id="{text(record.id)}" title="{text(shown)}">'
        f"{name(record.name)}</a>{state(now)}</div>"
        f'{_trouble(record, now)}<div class="row-body">{_facts(record, view, now)}'
        f'<div class="row-foot">{downloads(record.id, record.outputs)}'
        f'<div class="actions-row">{_actions(record, now)}</div></div></div></li>'
    )


def _facts(record: JobRecord, view: JobView | None, now: JobState) -> str:
    told = [time(record.created_at, "day")]
    length_s = record.total_s if view is None else view.total_s or record.total_s
    if length_s:
        told.append(wording.clock(length_s))
    if not now.ended:
        fraction = record.fraction if view is None else view.fraction
        told.append(f"{100 * fraction:.0f}% done")
        if view is not None and view.message:
            told.append(text(view.message))
    if language := wording.language_name(record.language):
        told.append(text(language))
    # A local model is a folder; its path stays private.
    told.append(text(PurePath(record.model or record.request.options.model).name))
    gaps: tuple[Gap, ...] = record.gaps if view is None else view.gaps
    if gaps:
        told.append(f'<b class="has-gaps">{wording.counted(len(gaps), "gap")}</b>')
    return facts(told)


def _trouble(record: JobRecord, now: JobState) -> str:
    if now is not JobState.FAILED or record.error is None:
        return ""
    return f'<p class="why">{text(record.error.message)}</p>'


def _actions(record: JobRecord, now: JobState) -> str:
    buttons = [action("open_job", record.id, "Open", record.name)]
    if now.ended:
        useful = worth_trying(record.gaps, record.total_s or 0.0)
        if now is JobState.COMPLETE_WITH_GAPS and useful:
            buttons.append(action("open_job", record.id, "Try the gaps again", record.name))
        buttons.append(action("run_again", record.id, "Run again", record.name))
    else:
        buttons.append(action("cancel_job", record.id, "Cancel", record.name))
    buttons.append(action("delete_job", record.id, "Delete", record.name, "danger"))
    return "".join(buttons)
