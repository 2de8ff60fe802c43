"""Event handlers of the first tab: requests to the job service, and frames back.

None waits for a job; following is asynchronous (``ui.live_view``).
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from access.identity import identity_of
from core.errors import NoSuchJob, SubtitleError
from jobs.job import JobHandle
from jobs.records import JobView
from jobs.request import JobRequest
from jobs.service import JobService
from ui import entries as page_entries
from ui import render, wording
from ui.entries import Entry
from ui.live_view import Turns, Watchers
from ui.options import OptionsForm, page_request

log = logging.getLogger(__name__)

EXAMPLE = Path(__file__).parent / "assets" / "printing.m4a"
RECORDED = "Microphone recording.wav"

MAX_LINKS = 20
"""Started together: checking each takes a second."""


class Handlers:
    """The first tab's event handlers. One object serves all visitors; what is a visitor's own
    comes in as an argument."""

    def __init__(self, service: JobService) -> None:
        self._service = service
        self.watchers = Watchers(service)
        self._followed = Turns()

    # Starting and stopping.

    def start(
        self,
        request: gr.Request,
        files: list[str] | None,
        recorded: str | None,
        links: str | None,
        source: str,
        *form: Any,
    ) -> tuple[Any, ...]:
        """Submit every recording, each as its own job; ``source`` is a job whose recording is
        taken again."""
        recordings = [(Path(file), Path(file).name) for file in files or []]
        if recorded:
            recordings.append((Path(recorded), RECORDED))
        urls = (links or "").split()
        if not recordings and not urls and not source:
            raise _wrong(
                "Nothing to transcribe",
                "Add a recording first: drop files on the page, record with the microphone, "
                "paste a link, or try the example.",
            )
        if len(urls) > MAX_LINKS:
            raise _wrong("Too many links", f"At most {MAX_LINKS} links can be started at once.")
        wanted = self._request(request, form)
        requests = [wanted(path, name) for path, name in recordings]
        requests += [replace(wanted(Path(), None), url=url) for url in urls]
        starts = [(one.title, partial(self._service.submit, one)) for one in requests]
        if source:
            # Path and name come from the earlier job.
            again = partial(self._service.rerun, source, wanted(Path(), ""))
            starts.insert(0, ("The earlier recording", again))
        return self._submit(request, starts)

    def start_example(self, request: gr.Request, *form: Any) -> tuple[Any, ...]:
        """Submit the example recording."""
        wanted = self._request(request, form)(EXAMPLE, EXAMPLE.name)
        return self._submit(request, [(wanted.title, partial(self._service.submit, wanted))])

    def _request(
        self, request: gr.Request, form: tuple[Any, ...]
    ) -> Callable[[Path, str | None], JobRequest]:
        """What makes a recording a request, with what the form says."""
        with page_entries.toasts():
            options = OptionsForm.read(form)
        return partial(page_request, options, who=identity_of(request))

    def _submit(
        self, request: gr.Request, starts: Sequence[tuple[str, Callable[[], JobHandle]]]
    ) -> tuple[Any, ...]:
        """Each start: the name of a recording, and what makes it a job."""
        who = identity_of(request)
        entries: list[Entry] = []
        for name, begin in starts:
            try:
                entries.append(page_entries.of_job(begin(), who))
            except SubtitleError as error:
                log.info("Refused %s: %s", name, error.explain())
                entries.append(page_entries.refused(name, error))
        return (*_opened(entries), page_entries.ids(entries))

    def resume(self, request: gr.Request, link: str, remembered: object) -> tuple[Any, ...]:
        """The job of the page's link; without one the jobs this browser started before the page
        was loaded again, if any are left."""
        who = identity_of(request)
        before = page_entries.remembered_ids(remembered)
        if link and link not in before:
            return _opened([page_entries.opened(self._service, link, who)])
        try:
            found = [job for job in map(self._service.get, before) if job is not None]
        except SubtitleError as error:
            return _opened([page_entries.refused("Your jobs", error, "Not available now")])
        entries = [page_entries.of_job(job, who) for job in found]
        if link and link not in page_entries.ids(entries):
            return _opened([page_entries.opened(self._service, link, who)])
        return _opened(entries, link)

    def open_job(self, event: gr.EventData, request: gr.Request) -> tuple[Any, ...]:
        """One job, from the list."""
        asked = page_entries.asked_id(event)
        entry = page_entries.opened(self._service, asked, identity_of(request))
        return _opened([entry])

    def cancel(self, request: gr.Request, entries: list[Entry]) -> Any:
        """Cancel this visitor's jobs on this page. Returns at once; the frames show the end."""
        for job_id in page_entries.ids(entries):
            # Jobs that are gone, or someone else's, are left out.
            with page_entries.toasts(), suppress(NoSuchJob):
                page_entries.owned(self._service, job_id, identity_of(request)).cancel()
        return gr.update(value="Cancelling…", interactive=False)

    def cancel_one(self, event: gr.EventData, request: gr.Request) -> None:
        """Cancel one of the visitor's jobs."""
        asked = page_entries.asked_id(event)
        with page_entries.toasts():
            page_entries.owned(self._service, asked, identity_of(request)).cancel()

    def delete(
        self, event: gr.EventData, request: gr.Request, entries: list[Entry]
    ) -> tuple[Any, ...]:
        """Delete one of the visitor's jobs, and show what is left on the page."""
        asked = page_entries.asked_id(event)
        with page_entries.toasts():
            page_entries.owned(self._service, asked, identity_of(request))
            self._service.delete(asked)
        return _opened([entry for entry in entries if entry["id"] != asked])

    # Watching.

    async def follow(
        self, request: gr.Request, entries: list[Entry]
    ) -> AsyncIterator[tuple[Any, ...]]:
        """Frames of the cards of all recordings, then the buttons as they are at rest."""
        newest = self._followed.take(request.session_hash or "")
        last = ""
        async for views in self.watchers.overviews(page_entries.ids(entries)):
            if not newest():
                return
            cards = "".join(_card(entry, views) for entry in entries) or render.empty()
            ended = all(view is None or view.state.ended for view in views.values())
            if cards != last or ended:
                last = cards
                buttons = _buttons(running=False) if ended else (gr.skip(),) * 3
                yield cards, *buttons

    def leave(self, request: gr.Request) -> None:
        """The page is gone: forget what it watched. Its jobs go on."""
        self._followed.forget(request.session_hash or "")


def _wrong(title: str, message: str) -> gr.Error:
    return gr.Error(message, title=title, print_exception=False)


def _opened(entries: list[Entry], shown: str = "") -> tuple[Any, ...]:
    """Entries, the choice of which to show, and the buttons while they run."""
    jobs = [entry for entry in entries if entry["id"]]
    choices = [(f"{i}. {wording.short(e['name'])}", e["id"]) for i, e in enumerate(jobs, start=1)]
    here = [job_id for _, job_id in choices]
    value = shown if shown in here else next(iter(here), None)
    selector = gr.update(choices=choices, value=value, visible=len(choices) > 1)
    mine = any(entry["mine"] for entry in jobs)
    return entries, selector, *_buttons(running=mine)


def _buttons(*, running: bool) -> tuple[Any, Any, Any]:
    """Start, example and Cancel."""
    idle = gr.update(interactive=not running)
    return idle, idle, gr.update(value="Cancel", interactive=running)


def _card(entry: Entry, views: dict[str, JobView | None]) -> str:
    if not entry["id"]:
        return entry["card"]
    view = views.get(entry["id"])
    if view is None:
        return render.refused(entry["name"], "Deleted", "This job was deleted.", "")
    return render.card(view, mine=entry["mine"])
