"""The form of a transcription: its controls, and the request they stand for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr

from access.identity import LOCAL, Identity
from core.defaults import decode_options
from core.languages import LANGUAGES
from core.models import AUTO, ENGLISH, MODELS, ModelInfo, find_model
from core.settings import Settings
from core.types import PlanOptions
from gpu.support import ALL_TYPES, runs_on_cpus
from jobs.cards import model_marks
from jobs.request import MAX_BATCH, MAX_BEAM, JobRequest
from model_store.store import available_models
from subtitles.formats import FORMATS

MAX_TRACK = 16

EVENTS_AT_ONCE = 32
"""Events of one kind that are handled at the same time; the default of Gradio is one."""

ANY_LANGUAGE = ("Detect automatically", "auto")
_TASK_INFO = "Translation writes English subtitles, whatever language is spoken."


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What the form says; the field names are those of its controls."""

    model: str
    language: str
    task: str
    formats: list[str]
    compute_type: str
    multi_gpu: bool
    vad_threshold: float | None
    min_segment: float | None
    max_segment: float | None
    beam_size: float | None
    batch_size: float | None
    initial_prompt: str | None
    hotwords: str | None
    audio_track: int | None
    """From 1, as people count; 0: the default one."""

    def request(
        self, path: Path, name: str | None, settings: Settings, who: Identity = LOCAL
    ) -> JobRequest:
        """The job for one recording; an emptied field means its default. Nothing is checked
        here, ``JobService.check`` does."""
        decode = decode_options(
            settings,
            language=None if self.language == AUTO else self.language,
            task=self.task,
            beam_size=_whole(self.beam_size),
            batch_size=_whole(self.batch_size),
            initial_prompt=(self.initial_prompt or "").strip() or None,
            hotwords=(self.hotwords or "").strip() or None,
        )
        plan: dict[str, Any] = {
            "vad_threshold": self.vad_threshold,
            "min_segment_duration": self.min_segment,
            "max_segment_duration": self.max_segment,
        }
        return JobRequest(
            path=path,
            name=name,
            model=self.model or AUTO,
            compute_type=self.compute_type or AUTO,
            decode=decode,
            plan=replace(PlanOptions(), **{k: n for k, n in plan.items() if n is not None}),
            audio_track=self.audio_track - 1 if self.audio_track else None,
            multi_gpu=self.multi_gpu,
            # The player's captions are WebVTT, whatever is to be downloaded.
            formats=tuple(dict.fromkeys([*self.formats, "vtt"])),
            # Gradio removes uploads after a time of its own; the job keeps one for itself.
            adopt="link",
            owner=who.owner,
            client=who.client,
        )

    @classmethod
    def of(cls, request: JobRequest) -> Choices:
        """What the form said for a request."""
        decode, plan = request.decode, request.plan
        return cls(
            model=request.model,
            language=decode.language or ANY_LANGUAGE[1],
            task=decode.task,
            formats=list(request.formats),
            compute_type=request.compute_type,
            multi_gpu=request.multi_gpu,
            vad_threshold=plan.vad_threshold,
            min_segment=plan.min_segment_duration,
            max_segment=plan.max_segment_duration,
            beam_size=decode.beam_size,
            batch_size=decode.batch_size,
            initial_prompt=decode.initial_prompt or "",
            hotwords=decode.hotwords or "",
            audio_track=0 if request.audio_track is None else request.audio_track + 1,
        )


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)


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

    ``only_cpus``: no GPU takes jobs here, so what needs one is not offered.
    """

    def __init__(self, settings: Settings, only_cpus: bool) -> None:
        self._settings = settings
        self._compute_types = compute_types(only_cpus)
        with gr.Row():
            self.model = gr.Dropdown(
                model_choices(settings),
                value=settings.model,
                label="Model",
                info=model_info(settings.model),
                min_width=220,
                elem_id="model",
            )
            self.language = gr.Dropdown(
                language_choices(find_model(settings.model)),
                value=ANY_LANGUAGE[1],
                label="Spoken language",
                min_width=220,
                elem_id="language",
            )
        self.task = gr.Radio(
            [("Transcribe", "transcribe"), ("Translate to English", "translate")],
            value="transcribe",
            label="Task",
            info=_TASK_INFO,
            elem_id="task",
        )
        self.formats = gr.CheckboxGroup(
            [(name.upper(), name) for name in FORMATS],
            value=list(FORMATS),
            label="Files to download",
            elem_id="formats",
        )
        with gr.Accordion("Advanced", open=False, elem_id="advanced"):
            self._advanced(settings)
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
        plan = PlanOptions()
        with gr.Row():
            self.compute_type = gr.Dropdown(
                self._compute_types,
                value=settings.compute_type,
                label="Compute type",
                info="auto: the best each GPU can do, int8 on a CPU",
            )
            self.multi_gpu = gr.Checkbox(
                value=True, label="Use all devices", info="Off: use one worker only"
            )
        self.vad_threshold = gr.Slider(
            0.1, 0.9, value=plan.vad_threshold, step=0.05, label="Speech threshold",
            info="Higher ignores more noise; lower detects quieter speech",
        )  # fmt: skip
        with gr.Row():
            self.min_segment = gr.Slider(
                1, 30, value=plan.min_segment_duration, step=1, label="Shortest segment (s)"
            )
            self.max_segment = gr.Slider(
                10, 120, value=plan.max_segment_duration, step=1, label="Longest segment (s)"
            )
        with gr.Row():
            self.beam_size = gr.Slider(
                1, MAX_BEAM, value=settings.beam_size, step=1, label="Beam size",
                info="1 is faster and less accurate",
            )  # fmt: skip
            self.batch_size = gr.Slider(
                0, MAX_BATCH, value=settings.batch_size, step=1, label="Batch size",
                info="Windows decoded together on a device; 0: as many as fit",
            )  # fmt: skip
        self.initial_prompt = gr.Textbox(
            label="Initial prompt", max_length=1000, placeholder="A sentence in the style you want"
        )
        self.hotwords = gr.Textbox(
            label="Words to expect",
            max_length=1000,
            placeholder="Names and terms in the recording",
        )
        self.audio_track = gr.Dropdown(
            [("Default", 0), *((str(number), number) for number in range(1, MAX_TRACK + 1))],
            value=0,
            label="Audio track",
            info="For films with several languages or commentaries",
        )

    @property
    def inputs(self) -> list[Any]:
        return [getattr(self, name) for name in Choices.__dataclass_fields__]

    def fill(self, request: JobRequest) -> list[Any]:
        """Updates of ``inputs`` that make the form say what a request does."""
        choices = Choices.of(request)
        offered = {name for _, name in model_choices(self._settings)}
        model = choices.model if choices.model in offered else self._settings.model
        language, task = _fit_to_model(model, choices.language, choices.task)
        # An earlier job may have had a GPU.
        kept = choices.compute_type in self._compute_types
        special = {
            "model": gr.update(value=model),
            "language": language,
            "task": task,
            "compute_type": gr.update(value=choices.compute_type if kept else AUTO),
        }
        return [
            special.get(field) or gr.update(value=getattr(choices, field))
            for field in Choices.__dataclass_fields__
        ]

    @staticmethod
    def read(values: tuple[Any, ...]) -> Choices:
        """The form's values, in the order of ``inputs``."""
        return Choices(**dict(zip(Choices.__dataclass_fields__, values, strict=True)))


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
            info=why or _TASK_INFO,
        ),
    )
