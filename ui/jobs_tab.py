"""The tab of jobs: what this visitor has started, to find, open, run again and delete. Layout and
wiring only."""

from __future__ import annotations

from typing import Any

import gradio as gr

from jobs.service import JobService
from ui import scripts
from ui.listing import MAX_SEARCH, STATES, Listing
from ui.options import EVENTS_AT_ONCE

QUIET: dict[str, Any] = {
    "show_progress": "hidden",
    "api_visibility": "private",
    "concurrency_limit": EVENTS_AT_ONCE,
}
"""The page shows progress itself; and of all handlers only ``/process_audio`` is an interface."""


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
        self.list = gr.HTML(
            "", elem_id="job-list", apply_default_css=False, js_on_load=scripts.ACTIONS
        )
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
