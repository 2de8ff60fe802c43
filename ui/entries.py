"""What a page shows: one entry per recording, with its job or the reason why there is none.

A browser remembers and sends nothing but job ids; each is looked up again.
"""

from __future__ import annotations

import html
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypedDict

import gradio as gr

from access.identity import Identity
from core.errors import DatabaseUnavailable, NoSuchJob, SubtitleError
from jobs.job import JobHandle
from jobs.service import JobService
from ui import render, wording

log = logging.getLogger(__name__)

MAX_REMEMBERED = 50

MAX_ID = 64
"""Longer than any id; links may hold anything."""


class Entry(TypedDict):
    """``id`` is empty where there is no job; then ``card`` says why."""

    id: str
    name: str
    mine: bool
    """This visitor may change it."""
    card: str
    """Markup instead of the job's."""


def of_job(job: JobHandle, who: Identity) -> Entry:
    mine = who.may_change(job.request.owner)
    return Entry(id=job.id, name=job.request.title, mine=mine, card="")


def refused(name: str, error: SubtitleError, label: str = "Not started") -> Entry:
    card = render.refused(name, label, error.message, error.hint)
    return Entry(id="", name=name, mine=True, card=card)


def opened(service: JobService, job_id: str, who: Identity) -> Entry:
    """The entry of a link: its job, or in words why there is none."""
    try:
        job = service.get(job_id) if 0 < len(job_id) <= MAX_ID else None
    except DatabaseUnavailable as error:
        return refused("The job at this link", error, "Not available now")
    if job is not None:
        return of_job(job, who)
    kept = wording.hours(service.settings.keep_jobs_hours)
    gone = NoSuchJob(
        "There is no job with this link.",
        hint=f"Check that the link is complete. Jobs are removed {kept} after they end; then "
        "you must transcribe the recording again.",
    )
    return refused("The job at this link", gone, "Not found")


def remembered_ids(value: object) -> list[str]:
    """The ids in what a browser sent; anything else is left out."""
    found = value if isinstance(value, list) else []
    kept = [one for one in found if isinstance(one, str) and 0 < len(one) <= MAX_ID]
    return kept[:MAX_REMEMBERED]


def ids(entries: Sequence[Entry]) -> list[str]:
    return [entry["id"] for entry in entries if entry["id"]]


def asked_id(event: gr.EventData) -> str:
    """The id that a button of the page's own markup sends."""
    data: Any = getattr(event, "_data", None)
    job_id = data.get("id") if isinstance(data, dict) else None
    return job_id if isinstance(job_id, str) and len(job_id) <= MAX_ID else ""


def owned(service: JobService, job_id: str, who: Identity) -> JobHandle:
    """The job, to change it. Raises NoSuchJob, also where it is someone else's."""
    job = service.get(job_id) if job_id else None
    if job is None:
        raise NoSuchJob("This job no longer exists.")
    if not who.may_change(job.request.owner):
        raise NoSuchJob(
            "Only the person who started a job may change it.",
            hint="You can run it again as a job of your own.",
        )
    return job


@contextmanager
def toasts() -> Iterator[None]:
    """Show what goes wrong inside as :func:`toast`."""
    try:
        yield
    except SubtitleError as error:
        raise toast(error) from error


def toast(error: SubtitleError) -> gr.Error:
    """The error as Gradio shows it, which is as HTML."""
    log.info("Refused: %s", error.explain())
    return gr.Error(
        html.escape(error.explain(), quote=False),
        title=html.escape(wording.title(error)),
        print_exception=False,
    )
