"""The tab Fine-tuning: how much GPU memory training a model takes, and the settings that fit.

Every change is calculated at once; nothing is trained here yet.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from core.errors import InvalidOption, SubtitleError
from core.models import MODELS
from core.settings import Settings
from finetuning.options import METHODS
from finetuning.plan import Wishes, plan_finetune
from gpu.choice import Card
from ui import finetune_view as view
from ui import scripts
from ui.card_choice import card_dropdown, card_of_choice
from ui.jobs_tab import QUIET
from ui.markup import problem

USUAL_GB = 12
CHOSEN = "chosen"
_YES_NO = (("Automatic", CHOSEN), ("Yes", "yes"), ("No", "no"))
_ANSWERS = {CHOSEN: None, "yes": True, "no": False}

FIELDS = (
    "base_model", "card", "gpus", "method", "per_device_train_batch_size",
    "per_device_eval_batch_size", "gradient_accumulation_steps", "gradient_checkpointing",
    "use_8bit", "fp16", "max_audio_len", "pad_to_30s", "label_tokens", "lora_rank", "attention",
)  # fmt: skip
"""Controls of the form, in the order of an event's inputs."""

MAX_DIGITS = 9
BATCHES = (1, 2, 4, 8, 16, 32)


class FinetuneTab:
    """Draws itself into the current Gradio block."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._controls: dict[str, Any] = {}
        with gr.Row(elem_classes="columns", equal_height=False):
            with gr.Column(scale=5, min_width=320):
                self._main()
                with gr.Accordion("More", open=False, elem_id="finetune-more"):
                    self._more()
            with gr.Column(scale=6, min_width=320):
                self.result = gr.HTML(
                    "", elem_id="finetune", apply_default_css=False, js_on_load=scripts.COPY
                )

    def _main(self) -> None:
        add = self._controls
        methods = [(f"{name[0].upper()}{name[1:]}", method) for method, name in METHODS.items()]
        with gr.Row():
            add["base_model"] = gr.Dropdown(
                list(MODELS), value="large-v3", label="Model to train", min_width=160,
                elem_id="finetune-model",
            )  # fmt: skip
            add["card"] = card_dropdown(self._settings, USUAL_GB, "finetune-card")
        with gr.Row():
            add["method"] = gr.Dropdown(
                [("Automatic", CHOSEN), *methods],
                value=CHOSEN, label="Method", min_width=160, elem_id="finetune-method",
            )  # fmt: skip
            add["gpus"] = gr.Number(
                1, precision=0, label="GPUs", min_width=100, elem_id="finetune-gpus"
            )
        with gr.Row():
            self._number("per_device_train_batch_size", "Batch size per GPU", BATCHES)
            self._number("gradient_accumulation_steps", "Accumulation steps", BATCHES)
        with gr.Row():
            self._number("per_device_eval_batch_size", "Evaluation batch size", BATCHES)
            add["gradient_checkpointing"] = gr.Dropdown(
                list(_YES_NO), value=CHOSEN, label="Gradient checkpointing",
                info="Less memory, a third slower", min_width=140, elem_id="finetune-checkpointing",
            )  # fmt: skip

    def _more(self) -> None:
        add = self._controls
        with gr.Row():
            add["use_8bit"] = gr.Dropdown(
                list(_YES_NO), value=CHOSEN, label="Weights in 8 bits", info="LoRA only",
                min_width=140, elem_id="finetune-use-8bit",
            )  # fmt: skip
            add["fp16"] = gr.Checkbox(True, label="Mixed precision (fp16)", min_width=140)
        with gr.Row():
            add["max_audio_len"] = gr.Slider(
                1, 30, value=30, step=1, label="Longest clip (s)", info="Longer clips are left out",
            )  # fmt: skip
            add["pad_to_30s"] = gr.Checkbox(
                True, label="Pad clips to 30 s", info="As training programs usually do"
            )
        with gr.Row():
            self._number("label_tokens", "Tokens in the longest transcript", (64, 128, 225, 448))
            self._number("lora_rank", "Adapter rank", (8, 16, 32, 64))
        add["attention"] = gr.Dropdown(
            [("fused (sdpa)", "sdpa"), ("eager: transformers before 4.37", "eager")],
            value="sdpa", label="Attention",
        )  # fmt: skip

    def _number(self, name: str, label: str, offered: tuple[int, ...]) -> None:
        """A number to choose or to type, or to leave to the planner."""
        choices = [("Automatic", CHOSEN), *((str(number), str(number)) for number in offered)]
        self._controls[name] = gr.Dropdown(
            choices, value=CHOSEN, label=label, allow_custom_value=True, min_width=140,
            elem_id=f"finetune-{name.replace('_', '-')}",
        )  # fmt: skip

    def wire(self, tab: gr.Tab) -> None:
        """Shows the plan when the tab is opened and whenever the form changes."""
        inputs = [self._controls[name] for name in FIELDS]
        changes = [control.change for control in inputs]
        always: dict[str, Any] = {**QUIET, "trigger_mode": "always_last"}
        gr.on([tab.select, *changes], self.show, inputs, self.result, **always)

    def show(self, *values: Any) -> str:
        """The plan for the form's values, in the order of ``FIELDS``, as markup."""
        return plan_of(self._settings, *values)


def plan_of(settings: Settings, *values: Any) -> str:
    """As :meth:`FinetuneTab.show`."""
    form = dict(zip(FIELDS, values, strict=True))
    try:
        card = card_of_choice(form.pop("card"), settings)
        return view.plan_view(plan_finetune(_wishes(form, card)), card)
    except SubtitleError as error:
        return problem(error)


def _wishes(form: dict[str, Any], card: Card) -> Wishes:
    """What the form asks for; an emptied field means: choose."""
    asked = dict(form)
    for name in ("per_device_train_batch_size", "per_device_eval_batch_size",
                 "gradient_accumulation_steps"):  # fmt: skip
        asked[name] = _whole(name, form[name])
    for name in ("gradient_checkpointing", "use_8bit"):
        asked[name] = _ANSWERS[form[name]]
    asked["method"] = None if form["method"] == CHOSEN else form["method"]
    asked["gpus"] = int(form["gpus"] or 1)
    asked["label_tokens"] = _whole("label_tokens", form["label_tokens"]) or 0
    asked["lora_rank"] = _whole("lora_rank", form["lora_rank"]) or 32
    return Wishes.on(card, **asked)


def _whole(name: str, value: str | None) -> int | None:
    asked = (value or "").strip()
    if not asked or asked == CHOSEN:
        return None
    if not asked.isdecimal() or len(asked) > MAX_DIGITS:
        raise InvalidOption(f"{name}: {asked!r} is not a number.", hint="Type one such as 4.")
    return int(asked)
