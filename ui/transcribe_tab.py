"""The main tab: recordings in, progress and subtitles out. Layout and wiring only."""

from __future__ import annotations

from typing import Any

import gradio as gr

from core.settings import Settings
from jobs.links import why_no_links
from jobs.request import JobRequest
from jobs.service import JobService
from ui import render, scripts
from ui.details import Details
from ui.handlers import Handlers
from ui.jobs_tab import QUIET
from ui.live_view import MAX_WATCHERS
from ui.markup import name
from ui.options import OptionsForm

MAX_LINKS_TEXT = 20_000

FOLLOW: dict[str, Any] = {**QUIET, "concurrency_limit": MAX_WATCHERS}

_LINK_OF_PAGE = """(_, remembered) =>
    [new URLSearchParams(location.search).get('job') ?? '', remembered]"""

SET_LINK = """(job) => {
    const url = new URL(location.href);
    if (job) url.searchParams.set('job', job); else url.searchParams.delete('job');
    history.replaceState(history.state, '', url);
    if (innerWidth < 768) scrollTo({top: 0});
}"""
"""The address bar leads back to the job that is shown, which on a phone stands above the form."""


class TranscribeTab:
    """Draws itself into the current Gradio block."""

    def __init__(self, settings: Settings, service: JobService) -> None:
        self.handlers = Handlers(service)
        self.details = Details(service, self.handlers.watchers)
        self.entries = gr.State([])
        self.source = gr.State("")
        """Id of the job whose recording is to be transcribed again; empty: none."""
        self.link = gr.Textbox(visible=False)
        # Lets a page that was loaded again find its jobs.
        self.remembered = gr.BrowserState([], storage_key="whisper-for-subs-job-ids")
        with gr.Row(elem_classes="columns", equal_height=False):
            with gr.Column(scale=5, min_width=320, elem_classes="form-column"):
                self._recordings(settings)
                self.form = OptionsForm(
                    settings, service.engines.only_cpus(), lambda: service.endpoints.active
                )
            with gr.Column(scale=6, min_width=320, elem_classes="results"):
                self._results()
        self.opened = [self.entries, self.selector, self.start, self.example, self.cancel]
        self.shown = [self.player, self.timeline, self.cues, self.text, self.history,
                      self.retry_form, self.retry_model, self.retry_device]  # fmt: skip

    def _recordings(self, settings: Settings) -> None:
        self.again = scripts.html("again", scripts.ACTIONS, visible=False)
        with gr.Tabs(elem_id="source"):
            with gr.Tab("Files"):
                self.files = gr.File(
                    file_count="multiple",
                    type="filepath",
                    label=f"Audio or video, up to {_size(settings.max_upload_mib)} each",
                    height=150,
                    elem_id="files",
                )
            with gr.Tab("Microphone"):
                self.recorded = gr.Audio(
                    sources=["microphone"],
                    type="filepath",
                    label="Record",
                    editable=False,
                    buttons=[],
                    elem_id="microphone",
                )
            with gr.Tab("Links"):
                refused = why_no_links(settings)
                self.links = gr.Textbox(
                    label="Links, one per line",
                    info=refused.explain() if refused else "Only the audio is downloaded.",
                    placeholder="" if refused else "https://",
                    lines=3,
                    max_lines=8,
                    max_length=MAX_LINKS_TEXT,
                    interactive=refused is None,
                    elem_id="links",
                )
        with gr.Row(elem_classes="actions"):
            self.start = gr.Button(
                "Start", variant="primary", size="md", scale=2, min_width=110, elem_id="start"
            )
            self.cancel = gr.Button(
                "Cancel", size="md", min_width=110, interactive=False, elem_id="cancel"
            )
            self.example = gr.Button("Try the example", size="md", min_width=165, elem_id="example")

    def _results(self) -> None:
        self.cards = scripts.html("jobs", scripts.ACTIONS, render.empty())
        self.selector = gr.Radio(
            [], label="Show", visible=False, elem_id="selector", interactive=True
        )
        self.player = scripts.html("player", scripts.PLAYER)
        self.timeline = scripts.html("timeline", scripts.PLAYER)
        with gr.Row(visible=False, elem_id="retry") as self.retry_form:
            self.retry_model = gr.Dropdown([], label="Model for the gaps", min_width=200)
            self.retry_device = gr.Dropdown([], label="Device", min_width=150)
            self.retry = gr.Button(
                "Try the gaps again",
                variant="primary",
                size="md",
                min_width=160,
                elem_id="retry-go",
            )
        with gr.Tabs(elem_id="preview"):
            with gr.Tab("Subtitles"):
                self.cues = scripts.html("cues", scripts.PLAYER)
            with gr.Tab("Text") as self.text_tab:
                self.text = gr.Textbox(
                    lines=8,
                    max_lines=24,
                    show_label=False,
                    label="Text",
                    interactive=False,
                    buttons=["copy"],
                    elem_id="text",
                )
            with gr.Tab("What happened"):
                self.history = scripts.html("history", scripts.PLAYER)

    def wire(self) -> None:
        """The events of the tab itself; those that come from the other tab are the page's."""
        handlers, details = self.handlers, self.details
        self.form.wire_where()
        blocks = gr.context.Context.root_block
        assert blocks is not None, "a tab is drawn inside the page"
        begun = [
            self.start.click(
                handlers.start,
                [self.files, self.recorded, self.links, self.source, *self.form.inputs],
                [*self.opened, self.remembered],
                **QUIET,
            ),
            self.example.click(
                handlers.start_example, self.form.inputs, [*self.opened, self.remembered], **QUIET
            ),
        ]
        for event in begun:
            event.success(None, self.selector, None, js=SET_LINK, **QUIET)
            self.watch(event)
        self.watch(
            blocks.load(
                handlers.resume,
                [self.link, self.remembered],
                self.opened,
                js=_LINK_OF_PAGE,
                **QUIET,
            )
        )
        blocks.unload(handlers.leave)
        blocks.unload(details.leave)
        self.selector.input(details.show, self.selector, self.shown, **FOLLOW)
        self.selector.input(None, self.selector, None, js=SET_LINK, **QUIET)
        # A text that arrives while its tab is drawn for the first time can be lost on the way.
        self.text_tab.select(details.text, self.selector, self.text, **QUIET)
        self.cancel.click(handlers.cancel, self.entries, self.cancel, **QUIET)
        self.cards.cancel_job(handlers.cancel_one, None, None, **QUIET)
        self.watch(
            self.retry.click(
                details.retry,
                [self.selector, self.retry_model, self.retry_device],
                [self.retry_form, self.cancel],
                **QUIET,
            )
        )
        self.again.drop_source(lambda: ("", gr.update(visible=False)), None,
                               [self.source, self.again], **QUIET)  # fmt: skip

    def watch(self, event: Any) -> None:
        """After that event: follow what the page shows now."""
        buttons = [self.start, self.example, self.cancel]
        event.success(self.handlers.follow, self.entries, [self.cards, *buttons], **FOLLOW)
        event.success(self.details.show, self.selector, self.shown, **FOLLOW)

    def asked_again(self, job_id: str, request: JobRequest) -> list[Any]:
        """Updates of ``again_outputs``: the form as for that job, with its recording."""
        banner = (
            f'<p class="again">Recording: <strong>{name(request.title)}</strong>'
            ' <button type="button" class="act" data-act="drop_source" data-id="">'
            "Use another</button></p>"
        )
        return [job_id, gr.update(value=banner, visible=True), *self.form.fill(request)]

    @property
    def again_outputs(self) -> list[Any]:
        return [self.source, self.again, *self.form.inputs]


def _size(mib: int) -> str:
    return f"{mib / 1024:g} GiB" if mib >= 1024 else f"{mib} MiB"
