"""The tab of jobs: what this visitor has started, to find, open, run again and delete."""

from __future__ import annotations

from functools import partial
from typing import Any

import gradio as gr

from access.identity import Identity, identity_of
from core.errors import DatabaseUnavailable, SubtitleError
from jobs.records import JobRecord, JobView
from jobs.service import JobService
from jobs.states import JobState
from ui import entries as page_entries
from ui import job_list, scripts
from ui.markup import problem
from ui.options import EVENTS_AT_ONCE

QUIET: dict[str, Any] = {
    "show_progress": "hidden",
    "api_visibility": "private",
    "concurrency_limit": EVENTS_AT_ONCE,
}
"""The page shows progress itself, and only ``/process_audio`` is a public endpoint."""


STATES: dict[str, tuple[JobState, ...]] = {
    "All": (),
    "Not finished": tuple(state for state in JobState if not state.ended),
    "Complete": (JobState.COMPLETE,),
    "With gaps": (JobState.COMPLETE_WITH_GAPS,),
    "Failed": (JobState.FAILED,),
    "Cancelled": (JobState.CANCELLED,),
}

MAX_SEARCH = 200


class Listing:
    """Handlers of the list. Each answers with its markup and the page it is."""

    def __init__(self, service: JobService) -> None:
        self._service = service

    def refresh(self, request: gr.Request, text: str, state: str, page: int) -> tuple[str, int]:
        """The current page of the list, as it is now."""
        return self._drawn(identity_of(request), text, state, page)

    def find(self, request: gr.Request, text: str, state: str) -> tuple[str, int]:
        """The first page of the results."""
        return self._drawn(identity_of(request), text, state, 0)

    def turn(
        self, event: gr.EventData, request: gr.Request, text: str, state: str
    ) -> tuple[str, int]:
        """Another page."""
        wanted = page_entries.asked_id(event)
        page = int(wanted) if wanted.isdecimal() and len(wanted) < 7 else 0
        return self._drawn(identity_of(request), text, state, page)

    def _drawn(self, who: Identity, text: str, state: str, page: int) -> tuple[str, int]:
        text = text.strip()[:MAX_SEARCH]
        states = STATES.get(state, ())
        ask = partial(self._service.find, who.owner, text, states, job_list.PAGE)
        try:
            found, total = ask(page * job_list.PAGE)
            if not found and total:
                # There are not that many any more: the last page.
                page = job_list.pages(total) - 1
                found, total = ask(page * job_list.PAGE)
            live = {record.id: view for record in found if (view := self._live(record))}
        except SubtitleError as error:
            return problem(error), page
        narrowed = bool(text or states)
        return job_list.job_list(found, live, total, page, narrowed=narrowed), page

    def _live(self, record: JobRecord) -> JobView | None:
        """What this service knows of a job that has not ended; the database hears of it later."""
        if record.state.ended:
            return None
        try:
            job = self._service.get(record.id)
            return None if job is None else job.view(text=False)
        except DatabaseUnavailable:
            return None


class JobsTab:
    """Draws itself into the current Gradio block."""

    def __init__(self, service: JobService) -> None:
        self.listing = Listing(service)
        self.page = gr.State(0)
        with gr.Row(elem_classes="finder"):
            self.search = gr.Textbox(
                label="Search",
                placeholder="Recording name, or the beginning of a job id",
                max_length=MAX_SEARCH,
                scale=3,
                min_width=220,
                elem_id="search",
            )
            self.state = gr.Dropdown(
                list(STATES), value="All", label="State", scale=1, min_width=150, elem_id="state"
            )
        self.list = scripts.html("job-list", scripts.ACTIONS)
        self.asked = [self.search, self.state, self.page]
        self.shown = [self.list, self.page]

    def wire(self, tab: gr.Tab) -> None:
        """The events of the tab itself; those that lead to the other tab are the page's."""
        again: dict[str, Any] = {**QUIET, "trigger_mode": "always_last"}
        tab.select(self.listing.refresh, self.asked, self.shown, **again)
        gr.on([self.search.input, self.search.submit], self.listing.find, [self.search, self.state],
              self.shown, **again)  # fmt: skip
        self.state.input(self.listing.find, [self.search, self.state], self.shown, **again)
        self.list.refresh_list(self.listing.refresh, self.asked, self.shown, **again)
        self.list.turn_page(self.listing.turn, [self.search, self.state], self.shown, **again)
