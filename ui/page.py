"""The whole page: header, tabs, and the endpoint for ``gradio_client``."""

from __future__ import annotations

from typing import Any

import gradio as gr

from access.identity import open_to_strangers
from core.errors import NoSuchJob
from core.settings import Settings
from jobs.service import JobService
from ui import entries as page_entries
from ui import scripts
from ui.doctor_tab import DoctorTab
from ui.endpoint import ProcessAudio
from ui.endpoints_tab import EndpointsTab
from ui.finetune_tab import FinetuneTab
from ui.jobs_tab import QUIET, JobsTab
from ui.memory_tab import MemoryTab
from ui.transcribe_tab import SET_LINK, TranscribeTab

TITLE = "Whisper for Subs"

_HEAD = (
    '<header class="page-head"><h1>Whisper for Subs</h1>'
    "<p>Speech in, publishable subtitles out.</p>{}</header>"
)
_LOGOUT = '<a href="logout">Log out</a>'
_NOTICE = '<p class="notice" role="status" hidden></p>'

CLEAN_EVERY_S = 3600
UPLOADS_KEPT_S = 6 * 3600
"""How long an upload waits for its form to be sent; a job keeps its recording for itself."""

MAX_EVENTS = 100
"""Events of all pages that may wait to be handled; jobs have a queue of their own."""

TRANSCRIBE, JOBS, MEMORY, FINE_TUNING = "transcribe", "jobs", "memory", "fine-tuning"


class Page:
    """The tabs and the events that lead from one to another."""

    def __init__(self, settings: Settings, service: JobService, login: bool) -> None:
        self._service = service
        scripts.html("head", None, _HEAD.format(_LOGOUT if login else ""))
        scripts.html("notice", scripts.PAGE, _NOTICE)
        with gr.Tabs(elem_id="tabs") as self._tabs:
            with gr.Tab("Transcribe", id=TRANSCRIBE):
                self._one = TranscribeTab(settings, service)
            with gr.Tab("Jobs", id=JOBS) as tab:
                self._many = JobsTab(service)
            with gr.Tab("Memory", id=MEMORY) as memory:
                self._memory = MemoryTab(settings, service)
            with gr.Tab("Fine-tuning", id=FINE_TUNING) as tuning:
                self._finetune = FinetuneTab(settings)
            # It shows details of the machine, so anonymous users do not get it.
            if not open_to_strangers(settings):
                with gr.Tab("Doctor"):
                    DoctorTab(settings).wire()
            # For administrators alone, who are known once somebody opens the page.
            with gr.Tab("System", visible=False) as system:
                gr.HTML("<h2>Speech endpoints</h2>", apply_default_css=False, js_on_load=None)
                endpoints = EndpointsTab(settings, service)
        self._one.wire()
        self._many.wire(tab)
        self._memory.wire(memory)
        self._finetune.wire(tuning)
        where, form = self._one.form.where, self._one.form
        endpoints.wire(system, lambda event: event.success(form.where_now, where, where, **QUIET))
        self._wire()
        ProcessAudio(service, self._one.handlers.watchers)

    def _wire(self) -> None:
        one, many = self._one, self._many
        opened = many.list.open_job(self._open, None, [*one.opened, self._tabs], **QUIET)
        opened.success(None, one.selector, None, js=SET_LINK, **QUIET)
        one.watch(opened)
        again = [*one.again_outputs, self._tabs]
        one.cards.run_again(self._run_again, None, again, **QUIET)
        many.list.run_again(self._run_again, None, again, **QUIET)
        many.list.cancel_job(one.handlers.cancel_one, None, None, **QUIET).success(
            many.listing.refresh, many.asked, many.shown, **QUIET
        )
        for place in (one.cards, many.list):
            deleted = place.delete_job(one.handlers.delete, one.entries, one.opened, **QUIET)
            deleted.success(None, one.selector, None, js=SET_LINK, **QUIET)
            deleted.success(many.listing.refresh, many.asked, many.shown, **QUIET)
            one.watch(deleted)

    def _open(self, event: gr.EventData, request: gr.Request) -> tuple[Any, ...]:
        """Show a job of the list on the first tab."""
        return (*self._one.handlers.open_job(event, request), gr.Tabs(selected=TRANSCRIBE))

    def _run_again(self, event: gr.EventData) -> tuple[Any, ...]:
        """Fill the form as it was for a job, with that job's recording."""
        with page_entries.toasts():
            job = self._service.get(page_entries.asked_id(event))
            if job is None:
                raise NoSuchJob("This job no longer exists.")
        filled = self._one.asked_again(job.id, job.request)
        return (*filled, gr.Tabs(selected=TRANSCRIBE))


def build_page(settings: Settings, service: JobService, *, login: bool = False) -> gr.Blocks:
    """The page as Gradio blocks, to be mounted into a FastAPI app.

    ``login``: people came in by one, and can leave by ``logout``.
    """
    page = gr.Blocks(
        title=TITLE, analytics_enabled=False, delete_cache=(CLEAN_EVERY_S, UPLOADS_KEPT_S)
    )
    with page:
        Page(settings, service, login)
    page.queue(max_size=MAX_EVENTS, api_open=False)
    return page
