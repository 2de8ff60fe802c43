"""What people may choose for a job.

One model makes it all: the flags of the command line (``cli.arguments``), the controls of the page
(``ui.options``), the fields of the API, what a job's row keeps, and the table of docs/api.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from core.defaults import decode_options
from core.errors import InvalidOption
from core.models import AUTO
from core.settings import MAX_BATCH, MAX_BEAM, Device, Settings
from core.types import DecodeOptions, PlanOptions, Task
from subtitles.formats import FORMATS

_PLAN = PlanOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """How the page and the command line show an option; its help is the field's docstring."""

    label: str
    flag: str | None = None
    """None: not on the command line."""
    metavar: str | None = None
    slider: tuple[float, float, float] | None = None
    """Ends and step on the page, which may offer less than the bounds allow."""


def _language(value: object) -> object:
    return None if isinstance(value, str) and value.strip().lower() in ("", AUTO) else value


def _formats(value: object) -> object:
    """``srt,vtt``, as an address or a flag says it; ``all``; or a list."""
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        return value
    wanted = dict.fromkeys(name.strip().lower() for name in names if name.strip())
    return tuple(FORMATS) if tuple(wanted) == ("all",) else tuple(wanted)


class JobOptions(BaseModel):
    """Every option of a job. None: as the settings say, or as the recording has it."""

    model_config = ConfigDict(
        frozen=True, use_attribute_docstrings=True, str_strip_whitespace=True, extra="forbid"
    )

    model: Annotated[str, Shown(label="Model", flag="--model", metavar="NAME")] = AUTO
    """Name of a model (see: models), CTranslate2 directory or allowed hub id; auto takes the best
    that fits."""
    language: Annotated[
        str | None,
        BeforeValidator(_language),
        Shown(label="Spoken language", flag="--language", metavar="LANGUAGE"),
    ] = None
    """Code or name, such as zh or Chinese; auto detects it."""
    task: Annotated[Task, Shown(label="Task", flag="--task")] = "transcribe"
    """Translation writes English subtitles, whatever language is spoken."""
    initial_prompt: Annotated[
        str | None, Shown(label="Initial prompt", flag="--prompt", metavar="TEXT")
    ] = None
    """A sentence in the spelling and style you want."""
    hotwords: Annotated[
        str | None, Shown(label="Words to expect", flag="--hotwords", metavar="WORDS")
    ] = None
    """Names and terms in the recording."""
    audio_track: Annotated[
        int | None, Field(ge=0), Shown(label="Audio track", flag="--audio-track", metavar="N")
    ] = None
    """For films with several languages or commentaries, counted from 0; left out, the default
    track."""
    formats: Annotated[
        tuple[str, ...],
        BeforeValidator(_formats),
        Shown(label="Files to download", flag="--formats", metavar="LIST"),
    ] = ("srt",)
    """Subtitle formats with commas: srt, vtt, txt, tsv, json; or all."""
    beam_size: Annotated[
        int | None,
        Field(ge=1, le=MAX_BEAM),
        Shown(label="Beam size", flag="--beam-size", metavar="N", slider=(1, MAX_BEAM, 1)),
    ] = None
    """1 is faster and less accurate."""
    batch_size: Annotated[
        int | None,
        Field(ge=0, le=MAX_BATCH),
        Shown(label="Batch size", flag="--batch-size", metavar="N", slider=(0, MAX_BATCH, 1)),
    ] = None
    """Windows decoded together on a device; 0: as many as fit."""
    word_timestamps: Annotated[bool, Shown(label="Times of words", flag="--word-timestamps")] = True
    """Cut subtitles by the times of words; without: faster and coarser."""
    use_vad: Annotated[bool, Shown(label="Detect speech")] = _PLAN.use_vad
    """Decode only where someone speaks; without: silence too, and no gap is found."""
    vad_threshold: Annotated[
        float,
        Field(gt=0.0, lt=1.0),
        Shown(
            label="Speech threshold", flag="--vad-threshold", metavar="P", slider=(0.1, 0.9, 0.05)
        ),
    ] = _PLAN.vad_threshold
    """Higher ignores more noise; lower detects quieter speech."""
    min_segment_duration: Annotated[
        float,
        Shown(
            label="Shortest segment (s)", flag="--min-segment", metavar="SECONDS", slider=(1, 30, 1)
        ),
    ] = _PLAN.min_segment_duration
    """Seconds before the next cut, where pauses allow."""
    max_segment_duration: Annotated[
        float,
        Shown(
            label="Longest segment (s)",
            flag="--max-segment",
            metavar="SECONDS",
            slider=(10, 120, 1),
        ),
    ] = _PLAN.max_segment_duration
    """Seconds after which a cut is made in any case."""
    compute_type: Annotated[
        str, Shown(label="Compute type", flag="--compute-type", metavar="TYPE")
    ] = AUTO
    """int8, float16 and others; auto: the best each GPU can do, int8 on a CPU."""
    device: Annotated[Device, Shown(label="Device", flag="--device")] = "auto"
    """auto: GPUs where there are any, otherwise the CPU."""
    multi_gpu: Annotated[bool, Shown(label="Use all devices")] = True
    """Off: use one worker only."""
    where: Annotated[str | None, Shown(label="Where", flag="--where", metavar="WHERE")] = None
    """local: on this machine; shared: here and on all active speech endpoints; remote: on the
    endpoints, the default first; or the id of one."""

    def decode(self, settings: Settings) -> DecodeOptions:
        """How the model is to decode, with the settings' beam and batch where none was chosen."""
        return decode_options(
            settings,
            language=self.language,
            task=self.task,
            beam_size=self.beam_size,
            batch_size=self.batch_size,
            initial_prompt=self.initial_prompt or None,
            hotwords=self.hotwords or None,
            word_timestamps=self.word_timestamps,
        )

    @property
    def plan(self) -> PlanOptions:
        """How the recording is to be cut."""
        return PlanOptions(**{name: getattr(self, name) for name in _PLAN.__dataclass_fields__})


Options = TypeVar("Options", bound=BaseModel)

OPTIONS: Mapping[str, FieldInfo] = JobOptions.model_fields


def shown(name: str) -> Shown:
    """How an option is shown."""
    return next(found for found in OPTIONS[name].metadata if isinstance(found, Shown))


def help_of(name: str) -> str:
    """An option's help, without a full stop."""
    return (OPTIONS[name].description or "").replace("\n", " ").removesuffix(".")


def read_options(given: Mapping[str, Any], kind: type[Options]) -> Options:
    """The options that a form, an address, JSON or a command gives; an empty one is as left out.

    Raises InvalidOption, naming every option that is wrong.
    """
    try:
        return kind.model_validate({n: v for n, v in given.items() if v not in ("", None)})
    except ValidationError as error:
        raise InvalidOption(
            " ".join(_sentence(one, kind) for one in error.errors()),
            hint=f"Known options: {', '.join(kind.model_fields)}.",
        ) from error


def _sentence(error: ErrorDetails, kind: type[BaseModel]) -> str:
    name = str(error["loc"][0])
    if error["type"] == "extra_forbidden":
        return f"There is no option {name!r}."
    what = f"{shown(name).label} ({name})" if name in OPTIONS else name
    if error["type"] == "literal_error":
        return f"{what} must be {error['ctx']['expected']}, not {error['input']!r}."
    low, high = bounds(kind.model_fields[name])
    if low is None or not error["type"].startswith(("greater_than", "less_than")):
        return f"{what}: {error['msg']}."
    limits = f"at least {low:g}" if high is None else f"between {low:g} and {high:g}"
    return f"{what} must be {limits}, not {error['input']}."


def bounds(field: FieldInfo) -> tuple[float | None, float | None]:
    """The least and the greatest value of an option, None where there is none."""
    low = high = None
    for limit in field.metadata:
        low = getattr(limit, "ge", getattr(limit, "gt", low))
        high = getattr(limit, "le", getattr(limit, "lt", high))
    return low, high
