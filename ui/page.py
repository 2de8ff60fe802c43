"""The whole page: header, tabs and the programming interface of ``gradio_client``."""

from __future__ import annotations

import gradio as gr

from core.settings import Settings
from jobs.service import JobService
from ui.endpoint import ProcessAudio
from ui.transcribe_tab import TranscribeTab

TITLE = "Whisper for Subs"

_HEAD = (
    '<header class="page-head"><h1>Whisper for Subs</h1>'
    "<p>Speech in, publishable subtitles out.</p></header>"
)

CLEAN_EVERY_S = 3600

MAX_EVENTS = 100
"""Events of all pages that may wait to be handled; jobs have a queue of their own."""


def build_page(settings: Settings, service: JobService) -> gr.Blocks:
    """The page as Gradio blocks, to be mounted into a FastAPI app."""
    # An upload must outlive its job, which is kept that long after it has ended.
    keep_s = int(2 * settings.keep_jobs_hours * 3600)
    page = gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(CLEAN_EVERY_S, keep_s))
    with page:
        gr.HTML(_HEAD, elem_id="head", apply_default_css=False, js_on_load=None)
        tab = TranscribeTab(settings, service)
        ProcessAudio(service, tab.handlers.watchers)
    page.queue(max_size=MAX_EVENTS, api_open=False)
    return page
