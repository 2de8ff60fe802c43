"""The tab people come for: recordings in, progress and subtitles out. Layout and wiring only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from core.settings import Settings
from jobs.service import JobService
from ui import render
from ui.following import MAX_WATCHERS
from ui.handlers import Handlers
from ui.options import OptionsForm

_PLAYER_JS = (Path(__file__).parent / "player.js").read_text(encoding="utf-8")

_QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
"""The page shows progress itself; and of all handlers only ``/process_audio`` is an interface."""

_FOLLOW: dict[str, Any] = {**_QUIET, "concurrency_limit": MAX_WATCHERS}


class TranscribeTab:
    """Draws itself into the current Gradio block."""

    def __init__(self, settings: Settings, service: JobService) -> None:
        self.handlers = Handlers(service)
        self.entries = gr.State([])
        # Lets a page that was loaded again find its jobs.
        self.remembered = gr.BrowserState([], storage_key="whisper-for-subs-jobs")
        with gr.Row(elem_classes="columns", equal_height=False):
            with gr.Column(scale=5, min_width=320, elem_classes="form-column"):
                self._recordings(settings)
                self.form = OptionsForm(settings)
            with gr.Column(scale=6, min_width=320, elem_classes="results"):
                self._results()
        self._wire()

    def _recordings(self, settings: Settings) -> None:
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
        with gr.Row(elem_classes="actions"):
            self.start = gr.Button(
                "Start", variant="primary", size="md", scale=2, min_width=110, elem_id="start"
            )
            self.cancel = gr.Button(
                "Cancel", size="md", min_width=110, interactive=False, elem_id="cancel"
            )
            self.example = gr.Button("Try the example", size="md", min_width=165, elem_id="example")

    def _results(self) -> None:
        self.cards = gr.HTML(
            render.empty(), elem_id="jobs", apply_default_css=False, js_on_load=None
        )
        self.selector = gr.Radio(
            [], label="Show", visible=False, elem_id="selector", interactive=True
        )
        self.player = gr.HTML("", elem_id="player", apply_default_css=False, js_on_load=_PLAYER_JS)
        with gr.Tabs(elem_id="preview"):
            with gr.Tab("Subtitles"):
                self.cues = gr.HTML(
                    "", elem_id="cues", apply_default_css=False, js_on_load=_PLAYER_JS
                )
            with gr.Tab("Text"):
                self.text = gr.Textbox(
                    lines=8,
                    max_lines=24,
                    show_label=False,
                    label="Text",
                    interactive=False,
                    buttons=["copy"],
                    elem_id="text",
                )

    def _wire(self) -> None:
        handlers, buttons = self.handlers, [self.start, self.example, self.cancel]
        opened = [self.entries, self.selector, *buttons]
        begun = [
            self.start.click(
                handlers.start,
                [self.files, self.recorded, *self.form.inputs],
                [*opened, self.remembered],
                **_QUIET,
            ),
            self.example.click(
                handlers.start_example, self.form.inputs, [*opened, self.remembered], **_QUIET
            ),
        ]
        blocks = gr.context.Context.root_block
        assert blocks is not None, "a tab is drawn inside the page"
        begun.append(blocks.load(handlers.resume, self.remembered, opened, **_QUIET))
        blocks.unload(handlers.leave)
        shown = [self.player, self.cues, self.text]
        for event in begun:
            event.success(handlers.follow, self.entries, [self.cards, *buttons], **_FOLLOW)
            event.success(handlers.show, self.selector, shown, **_FOLLOW)
        self.selector.input(handlers.show, self.selector, shown, **_FOLLOW)
        self.cancel.click(handlers.cancel, self.entries, self.cancel, queue=False, **_QUIET)


def _size(mib: int) -> str:
    return f"{mib / 1024:g} GiB" if mib >= 1024 else f"{mib} MiB"
