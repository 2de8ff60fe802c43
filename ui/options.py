"""The form of a transcription: its controls, and the options they stand for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from access.identity import Identity
from core.endpoints import Endpoint
from core.languages import LANGUAGES
from core.models import AUTO, ENGLISH, MODELS, ModelInfo, find_model
from core.settings import Settings
from gpu.support import ALL_TYPES, runs_on_cpus
from jobs.cards import model_marks
from jobs.options import OPTIONS, JobOptions, help_of, read_options, shown
from jobs.request import JobRequest
from model_store.store import available_models
from subtitles.formats import FORMATS
from ui.where_choice import where_choices, where_info, where_update

MAX_TRACK = 16

EVENTS_AT_ONCE = 32
"""Events of one kind that are handled at the same time; the default of Gradio is one."""

ANY_LANGUAGE = ("Detect automatically", "auto")

FIELDS = (
    *("model", "language", "task", "formats", "compute_type", "multi_gpu", "vad_threshold"),
    *("min_segment_duration", "max_segment_duration", "beam_size", "batch_size"),
    *("initial_prompt", "hotwords", "audio_track", "where"),
)
"""Options that have a control on the page, in the order of a form's inputs."""


def model_choices(settings: Settings) -> list[tuple[str, str]]:
    """Label and name of every model people may choose: what is here first."""
    here = available_models(settings.models_dir)
    marks = model_marks(settings)
    choices = [("auto: best for this machine", AUTO)]
    choices += [(_label(MODELS[name], "ready", marks), name) for name in here]
    if settings.model not in (AUTO, *here, *MODELS):
        choices.insert(1, (f"{Path(settings.model).name} (local)", settings.model))
    choices += [(name, name) for name in settings.allowed_hub_models]
    absent = "not on this machine" if settings.offline else "download {} MiB"
    for name, info in MODELS.items():
        if name not in here:
            choices.append((_label(info, absent.format(info.download_mib), marks), name))
    return choices


def _label(info: ModelInfo, where: str, marks: Mapping[str, str]) -> str:
    """``large-v3 (download 2948 MiB, too large for GPU 1)``."""
    speaks = ["English only"] if info.languages == ENGLISH else []
    size = [mark] if (mark := marks.get(info.name)) else []
    return f"{info.name} ({', '.join([*speaks, where, *size])})"


def model_info(name: str) -> str:
    """What to know of a model before it is chosen."""
    if name == AUTO:
        return "Uses the best model that fits this machine."
    info = find_model(name)
    return "" if info is None else info.advice


def compute_types(only_cpus: bool) -> list[str]:
    """What is offered; where no GPU takes jobs, nothing that needs one."""
    return [name for name in ALL_TYPES if not only_cpus or runs_on_cpus(name)]


def language_choices(info: ModelInfo | None) -> list[tuple[str, str]]:
    """Names and codes of the languages a model hears, by name, detection first."""
    codes = LANGUAGES if info is None else info.languages
    return [ANY_LANGUAGE, *sorted((LANGUAGES[code], code) for code in codes)]


class OptionsForm:
    """Draws the controls into the current Gradio block; ``inputs`` are an event's inputs.

    Args:
        only_cpus: no GPU takes jobs here, so what needs one is not offered.
        active: the endpoints that jobs may use now.
    """

    def __init__(
        self,
        settings: Settings,
        only_cpus: bool,
        active: Callable[[], tuple[Endpoint, ...]] = tuple,
    ) -> None:
        self._settings = settings
        self._active = active
        self._compute_types = compute_types(only_cpus)
        with gr.Row():
            self.model = gr.Dropdown(
                model_choices(settings),
                value=settings.model,
                label=shown("model").label,
                info=model_info(settings.model),
                min_width=220,
                elem_id="model",
            )
            self.language = gr.Dropdown(
                language_choices(find_model(settings.model)),
                value=ANY_LANGUAGE[1],
                label=shown("language").label,
                info="Detected from the recording unless you choose one.",
                min_width=220,
                elem_id="language",
            )
        self.task = gr.Radio(
            [("Transcribe", "transcribe"), ("Translate to English", "translate")],
            value="transcribe",
            label=shown("task").label,
            info=help_of("task"),
            elem_id="task",
        )
        self.formats = gr.CheckboxGroup(
            [(name.upper(), name) for name in FORMATS],
            value=list(FORMATS),
            label=shown("formats").label,
            elem_id="formats",
        )
        self.where = gr.Dropdown(
            where_choices(()), value=None, visible=False, label=shown("where").label,
            elem_id="where",
        )  # fmt: skip
        with gr.Accordion("Advanced", open=False, elem_id="advanced"):
            self._advanced(settings)
        self._wire_model()

    def _wire_model(self) -> None:
        self.model.change(
            _fit_to_model,
            [self.model, self.language, self.task],
            [self.language, self.task],
            show_progress="hidden",
            api_visibility="private",
            concurrency_limit=EVENTS_AT_ONCE,
            trigger_mode="always_last",
        )
        self.model.change(
            lambda name: gr.update(info=model_info(name)),
            self.model,
            self.model,
            show_progress="hidden",
            api_visibility="private",
            concurrency_limit=EVENTS_AT_ONCE,
            trigger_mode="always_last",
        )

    def _advanced(self, settings: Settings) -> None:
        with gr.Row():
            self.compute_type = gr.Dropdown(
                self._compute_types,
                value=settings.compute_type,
                label=shown("compute_type").label,
                info="auto: the best each GPU can do, int8 on a CPU",
            )
            self.multi_gpu = gr.Checkbox(
                value=True, label=shown("multi_gpu").label, info=help_of("multi_gpu")
            )
        self.vad_threshold = _slider("vad_threshold")
        with gr.Row():
            self.min_segment_duration = _slider("min_segment_duration")
            self.max_segment_duration = _slider("max_segment_duration")
        with gr.Row():
            self.beam_size = _slider("beam_size", settings.beam_size)
            self.batch_size = _slider("batch_size", settings.batch_size)
        self.initial_prompt = _textbox("initial_prompt")
        self.hotwords = _textbox("hotwords")
        self.audio_track = gr.Dropdown(
            [("Default", 0), *((str(number), number) for number in range(1, MAX_TRACK + 1))],
            value=0,
            label=shown("audio_track").label,
            info="For films with several languages or commentaries",
        )

    def wire_where(self) -> None:
        """It is there while there is something to choose, and says where the audio goes."""
        blocks = gr.context.Context.root_block
        assert blocks is not None, "the form is drawn inside the page"
        quiet: dict[str, Any] = {
            "show_progress": "hidden",
            "api_visibility": "private",
            "concurrency_limit": EVENTS_AT_ONCE,
        }
        blocks.load(self.where_now, self.where, self.where, **quiet)
        self.where.input(
            lambda where: gr.update(info=where_info(where, self._active())),
            self.where,
            self.where,
            **quiet,
        )

    def where_now(self, chosen: str | None) -> Any:
        """The control as it is to be now; what was chosen stays while it can be had."""
        return where_update(self._active(), chosen or self._settings.where)

    @property
    def inputs(self) -> list[Any]:
        return [getattr(self, name) for name in FIELDS]

    def fill(self, request: JobRequest) -> list[Any]:
        """Updates of ``inputs`` that make the form say what a request does."""
        options = request.options
        offered = {name for _, name in model_choices(self._settings)}
        model = options.model if options.model in offered else self._settings.model
        language, task = _fit_to_model(model, options.language or ANY_LANGUAGE[1], options.task)
        track = options.audio_track
        values = {name: gr.update(value=getattr(options, name)) for name in FIELDS} | {
            "model": gr.update(value=model),
            "language": language,
            "task": task,
            "formats": gr.update(value=list(options.formats)),
            "audio_track": gr.update(value=0 if track is None else track + 1),
            "where": where_update(self._active(), options.where or self._settings.where),
        }
        if options.compute_type not in self._compute_types:
            # An earlier job may have had a GPU.
            values["compute_type"] = gr.update(value=AUTO)
        return list(values.values())

    @staticmethod
    def read(values: tuple[Any, ...]) -> JobOptions:
        """The options that the form's values, in the order of ``inputs``, stand for.

        Raises InvalidOption.
        """
        return page_options(dict(zip(FIELDS, values, strict=True)))


def page_options(values: Mapping[str, Any]) -> JobOptions:
    """Options as people give them on a page, where audio tracks count from 1 and 0 is the default
    one. Raises InvalidOption."""
    track = values["audio_track"]
    # The player's captions are WebVTT, whatever is to be downloaded.
    formats = [*values["formats"], "vtt"]
    return read_options(
        {**values, "formats": formats, "audio_track": track - 1 if track else None}, JobOptions
    )


def page_request(options: JobOptions, path: Path, name: str | None, who: Identity) -> JobRequest:
    """The job for one recording. Nothing is checked here, ``JobService.check`` does."""
    return JobRequest(
        path=path,
        name=name,
        options=options,
        # Gradio removes uploads after a time of its own; the job keeps one for itself.
        adopt="link",
        owner=who.owner,
        client=who.client,
    )


def _slider(name: str, value: float | None = None) -> gr.Slider:
    slider = shown(name).slider
    assert slider is not None, "the option is a number"
    low, high, step = slider
    default = OPTIONS[name].default if value is None else value
    return gr.Slider(
        low, high, value=default, step=step, label=shown(name).label, info=help_of(name)
    )


def _textbox(name: str) -> gr.Textbox:
    return gr.Textbox(label=shown(name).label, max_length=1000, placeholder=help_of(name))


def _fit_to_model(model: str, language: str, task: str) -> tuple[Any, Any]:
    """Offer only what the model can do, and say why the rest is gone."""
    info = find_model(model)
    choices = language_choices(info)
    if language not in {code for _, code in choices}:
        language = ANY_LANGUAGE[1]
    translates = info is None or info.can_translate
    why = "" if info is None or translates else f"{info.name} cannot translate."
    if info is not None and info.languages == ENGLISH:
        why = f"{info.name} understands English only, so there is nothing to translate."
    return (
        gr.update(choices=choices, value=language),
        gr.update(
            value=task if translates else "transcribe",
            interactive=translates,
            info=why or help_of("task"),
        ),
    )
