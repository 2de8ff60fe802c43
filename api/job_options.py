"""What a request of the API may ask for, read from a form, an address or JSON, and checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, StringConstraints, ValidationError

from access.identity import Identity
from core.defaults import decode_options
from core.errors import InvalidOption
from core.models import AUTO
from core.settings import Settings
from core.types import PlanOptions
from jobs.request import JobRequest, format_names
from model_store.store import check_offered


def _names(value: object) -> object:
    """``srt,vtt``, as an address or a form says it."""
    return value.split(",") if isinstance(value, str) else value


class JobOptions(BaseModel):
    """Every option of a job; what is left out is as the settings say."""

    model_config = ConfigDict(extra="forbid")

    model: str = AUTO
    language: str = AUTO
    task: Literal["transcribe", "translate"] = "transcribe"
    compute_type: str = AUTO
    device: str = AUTO
    multi_gpu: bool = True
    beam_size: int | None = None
    batch_size: int | None = None
    initial_prompt: str | None = None
    hotwords: str | None = None
    use_vad: bool | None = None
    vad_threshold: float | None = None
    min_segment_duration: float | None = None
    max_segment_duration: float | None = None
    audio_track: int | None = None
    """Counted from 0; none: the default one."""
    formats: Annotated[tuple[str, ...], BeforeValidator(_names)] = ("srt",)

    def request(
        self, path: Path, name: str | None, who: Identity, settings: Settings
    ) -> JobRequest:
        """The job for a recording that the job is to take."""
        check_offered(self.model, settings)
        chosen = {name: getattr(self, name) for name in _PLAN}
        plan = {name: value for name, value in chosen.items() if value is not None}
        formats = format_names() if self.formats == ("all",) else self.formats
        return JobRequest(
            path=path,
            name=name,
            model=self.model,
            compute_type=self.compute_type,
            device=self.device,
            decode=decode_options(
                settings,
                language=None if self.language.lower() == AUTO else self.language,
                task=self.task,
                beam_size=self.beam_size,
                batch_size=self.batch_size,
                initial_prompt=self.initial_prompt or None,
                hotwords=self.hotwords or None,
            ),
            plan=PlanOptions(**plan),
            audio_track=self.audio_track,
            multi_gpu=self.multi_gpu,
            formats=tuple(dict.fromkeys(name.strip().lower() for name in formats)),
            adopt="move",
            owner=who.owner,
            client=who.client,
        )


Options = TypeVar("Options", bound=JobOptions)

_PLAN = tuple(PlanOptions.__dataclass_fields__)


class Submission(JobOptions):
    """What comes with a recording, or instead of one."""

    name: str | None = None
    """What people call it; none: the file's name, or the title where the link leads."""
    url: Annotated[str, StringConstraints(strip_whitespace=True)] | None = None
    """Where it is to be fetched from."""


class GapOptions(BaseModel):
    """With what a job's gaps are tried again; what is left out stays as it was."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = None
    device: str | None = None


def read_options(fields: Mapping[str, Any], kind: type[Options]) -> Options:
    """Raises InvalidOption, naming every field that is wrong; empty fields are as left out."""
    given = {name: value for name, value in fields.items() if value not in ("", None)}
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        raise InvalidOption(
            f"{'; '.join(wrong)}.", hint=f"Known options: {', '.join(kind.model_fields)}."
        ) from error
