"""The tab Memory: how much of a GPU's memory a model takes.

Every change is calculated at once; nothing is loaded for it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gradio as gr

from access.identity import identity_of, open_to_strangers
from core.errors import InvalidOption, SubtitleError
from core.models import AUTO, MODELS
from core.settings import MAX_BATCH, MAX_BEAM, Settings
from gpu import pytorch
from gpu.manager import gpu_manager
from gpu.plan import MemoryPlan, PlanQuery, plan_memory
from gpu.support import COMPUTE_TYPES
from jobs.service import JobService
from ui import memory_view as view
from ui.card_choice import card_dropdown, card_of_choice
from ui.entries import toast
from ui.jobs_tab import QUIET
from ui.markup import problem

USUAL_GB = 8
SEGMENT_S = (10, 600)


class MemoryTab:
    """Draws itself into the current Gradio block."""

    def __init__(self, settings: Settings, service: JobService) -> None:
        self._settings = settings
        self._service = service
        with gr.Row(elem_classes="columns", equal_height=False):
            with gr.Column(scale=5, min_width=320):
                self._inputs = self._controls()
                # The next job waits for the load, so anonymous users may not do this.
                if not open_to_strangers(settings):
                    self._unload_button()
            with gr.Column(scale=6, min_width=320):
                self.result = gr.HTML(
                    "", elem_id="memory", apply_default_css=False, js_on_load=None
                )

    def _controls(self) -> list[Any]:
        with gr.Row():
            model = gr.Dropdown(
                [("auto: the best that fits", AUTO), *((name, name) for name in MODELS)],
                value=AUTO, label="Model", min_width=160, elem_id="memory-model",
            )  # fmt: skip
            card = card_dropdown(self._settings, USUAL_GB, "memory-card")
        with gr.Row():
            precision = gr.Dropdown(
                [("auto: best for the card", AUTO), *((t, t) for t in COMPUTE_TYPES)],
                value=AUTO, label="Precision", min_width=160, elem_id="memory-precision",
            )  # fmt: skip
            task = gr.Dropdown(
                [("Transcribe", "transcribe"), ("Translate to English", "translate")],
                value="transcribe", label="Task", min_width=160, elem_id="memory-task",
            )  # fmt: skip
        with gr.Row():
            batch = gr.Slider(
                0, 64, value=0, step=1, label="Batch size", info="0: the largest useful one",
                elem_id="memory-batch",
            )  # fmt: skip
            beam = gr.Slider(
                1, MAX_BEAM, value=self._settings.beam_size, step=1, label="Beam size",
                elem_id="memory-beam",
            )  # fmt: skip
        with gr.Row():
            tasks = gr.Slider(
                1, 8, value=1, step=1, label="Tasks at once on the GPU", elem_id="memory-tasks"
            )
            segment = gr.Slider(
                *SEGMENT_S, value=60, step=10, label="Segment length (s)",
                elem_id="memory-segment",
            )  # fmt: skip
        return [model, card, precision, task, batch, beam, tasks, segment]

    def _unload_button(self) -> None:
        button = gr.Button(
            "Unload idle models", size="md", variant="secondary", elem_id="unload-models"
        )
        told = gr.HTML("", elem_id="unloaded", apply_default_css=False, js_on_load=None)
        button.click(self.unload, None, told, **QUIET)

    def unload(self, request: gr.Request) -> str:
        """Give back the memory of models that no job needs; what became of each, as markup."""
        if identity_of(request).unknown:
            # An anonymous user, through a proxy in front of an open service.
            raise toast(InvalidOption("Only logged-in users may unload models."))
        return view.unloaded_view(self._service.engines.unload())

    def wire(self, tab: gr.Tab) -> None:
        """Shows the plan when the tab is opened and whenever the form changes."""
        changes = [control.change for control in self._inputs]
        always: dict[str, Any] = {**QUIET, "trigger_mode": "always_last"}
        gr.on([tab.select, *changes], self.show, self._inputs, self.result, **always)

    def show(
        self,
        model: str,
        card: str | None,
        precision: str,
        task: str,
        batch: float | None,
        beam: float | None,
        tasks: float | None,
        segment: float | None,
    ) -> str:
        """The plan for the form's values, as markup."""
        try:
            chosen = card_of_choice(card, self._settings)
            if open_to_strangers(self._settings):
                # Anonymous users may not see what else runs on the machine.
                chosen = replace(chosen, holders=())
            question = PlanQuery(
                model=model,
                compute_type=precision,
                batch_size=_whole(batch, 0, MAX_BATCH),
                beam_size=_whole(beam, self._settings.beam_size, MAX_BEAM),
                task=task,
                tasks=_whole(tasks, 1, 64),
            )
            peaks = gpu_manager.peaks
            plan = plan_memory(question, chosen, peaks=peaks)
            return view.plan_view(plan, _guide_gb(plan, segment or 30.0), peaks)
        except SubtitleError as error:
            return problem(error)


def _guide_gb(plan: MemoryPlan, segment_s: float) -> float | None:
    """What the guide's rule recommends for the same work."""
    precision = plan.setup.compute_type.removesuffix("_float16").removesuffix("_float32")
    if precision not in pytorch.PRECISIONS:
        return None
    setup = plan.setup
    return float(pytorch.recommended(setup.model, segment_s, setup.batch_size, precision))


def _whole(number: float | None, default: int, most: int) -> int:
    """A control's number; an emptied one means its default."""
    if number is None:
        return default
    if not number == int(number) or abs(number) > most:
        raise InvalidOption(f"{number:g} is not a whole number up to {most}.")
    return int(number)
