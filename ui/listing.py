"""The list of a visitor's jobs: what is asked of the service, and the page of it that is shown."""

from __future__ import annotations

from collections.abc import Collection

import gradio as gr

from access.identity import Identity, identity_of
from core.errors import DatabaseUnavailable, SubtitleError
from jobs.records import JobRecord, JobView
from jobs.service import JobService
from jobs.states import JobState
from ui import entries as page_entries
from ui import job_list
from ui.markup import problem

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
        """The page of the list that is looked at, as it is now."""
        return self._drawn(identity_of(request), text, state, page)

    def find(self, request: gr.Request, text: str, state: str) -> tuple[str, int]:
        """The first page of what was asked for."""
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
        try:
            found, total, page = self._page(who, text, states, page)
            live = {record.id: view for record in found if (view := self._live(record))}
        except SubtitleError as error:
            return problem(error), page
        narrowed = bool(text or states)
        return job_list.job_list(found, live, total, page, narrowed=narrowed), page

    def _page(
        self, who: Identity, text: str, states: Collection[JobState], page: int
    ) -> tuple[list[JobRecord], int, int]:
        """A page of jobs, how many there are, and which page it is: the last one, where there are
        not so many any more."""

        def ask(page: int) -> tuple[list[JobRecord], int]:
            size = job_list.PAGE
            return self._service.find(who.owner, text, states, limit=size, offset=page * size)

        found, total = ask(page)
        if not found and total:
            page = job_list.pages(total) - 1
            found, total = ask(page)
        return found, total, page

    def _live(self, record: JobRecord) -> JobView | None:
        """What this service knows of a job that has not ended; the database hears of it later."""
        if record.state.ended:
            return None
        try:
            job = self._service.get(record.id)
            return None if job is None else job.view(text=False)
        except DatabaseUnavailable:
            return None
