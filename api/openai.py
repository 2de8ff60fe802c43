"""``/v1``: OpenAI's protocol for speech, so that its clients work with this service.

    client = OpenAI(base_url="http://127.0.0.1:7860/v1", api_key=KEY)
    client.audio.transcriptions.create(model="whisper-1", file=open("talk.mp3", "rb"))

docs/protocols.md says what each field does here. A request is a job like any other: its files are
written, it is in the list of jobs, and memory that runs out is the pool's to deal with.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from api.errors import Refused, error_body, json_answer, status_of
from api.job_answers import JobAnswers, JobBody, output_of
from api.job_options import RerunOptions
from api.job_views import gap_json
from api.openai_errors import openai_error
from api.openai_models import ModelNames, model_json
from api.openapi import speech_operation
from api.schemas import ModelJson, ModelsJson, openai_refusals
from api.upload_body import Upload
from core.errors import InvalidOption, SubtitleError
from core.languages import LANGUAGES, language_code
from core.types import Task, TranscriptSegment
from jobs.options import read_options
from jobs.records import JobView
from subtitles.sanitize import clean_text
from subtitles.script import join_texts

ResponseFormat = Literal["json", "text", "srt", "verbose_json", "vtt"]
Granularity = Literal["word", "segment"]


def _several(value: object) -> object:
    """A field of a form that may be there once or often."""
    return (value,) if isinstance(value, str) else value


class SpeechForm(BaseModel):
    """The fields of OpenAI's form that do something here; others are accepted."""

    model_config = ConfigDict(frozen=True, str_strip_whitespace=True, use_attribute_docstrings=True)

    model: str
    """One of GET /v1/models."""
    language: str | None = None
    """Code or name; left out, it is detected."""
    prompt: str | None = None
    """A sentence in the spelling and style you want."""
    keywords: Annotated[tuple[str, ...], BeforeValidator(_several)] = ()
    """Words to expect."""
    response_format: ResponseFormat = "json"
    """Ignored with stream."""
    temperature: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """Checked and otherwise ignored: the search is by beams, and nothing is sampled."""
    timestamp_granularities: Annotated[tuple[Granularity, ...], BeforeValidator(_several)] = (
        "segment",
    )
    """For verbose_json."""
    stream: bool = False
    """Text as it becomes final, in Server-Sent Events."""


def read_form(fields: Mapping[str, Any]) -> SpeechForm:
    """The fields of a request, an empty one as left out. Raises Refused, naming what is wrong."""
    given = {n.removesuffix("[]"): value for n, value in fields.items() if value not in ("", None)}
    try:
        form = SpeechForm.model_validate(given)
        language_code(form.language)
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0])
        raise Refused(400, "InvalidOption", f"{field}: {first['msg']}.", param=field) from error
    except InvalidOption as error:
        raise Refused(400, "InvalidOption", error.message, error.hint, param="language") from error
    return form


class FileAnswer(JobBody):
    """A file of subtitles."""

    def __init__(self, format_name: str) -> None:
        self._format = format_name

    def end(self, view: JobView) -> bytes:
        return output_of(view, self._format)


class TextAnswer(JobBody):
    """The text, and nothing else."""

    def end(self, view: JobView) -> bytes:
        return f"{_result(view)['text']}\n".encode()


class JsonAnswer(JobBody):
    """The text as JSON; with ``verbose`` also times."""

    media_type = "application/json"

    def __init__(self, task: Task, verbose: tuple[Granularity, ...] | None) -> None:
        self._task = task
        self._verbose = verbose

    def end(self, view: JobView) -> bytes:
        result = _result(view)
        body: dict[str, Any] = {"text": result["text"]}
        if self._verbose is not None:
            spoken = LANGUAGES.get(result["language"], "").lower()
            head = {
                "task": self._task,
                "language": "english" if self._task == "translate" else spoken,
                "duration": result["duration"],
            }
            body = {**head, **body, **_times(result, self._verbose)}
        body["usage"] = _usage(result["duration"])
        # What could not be transcribed is not passed over in silence.
        if result["gaps"]:
            body["gaps"] = result["gaps"]
        return _dump(body)


class EventsAnswer(JobBody):
    """The text in Server-Sent Events, as it becomes final."""

    media_type = "text/event-stream"
    padding = b": waiting\n\n"
    needs_text = True

    def __init__(self) -> None:
        self._said = ""

    def part(self, view: JobView) -> bytes:
        whole = _text(view.segments)
        new, self._said = whole[len(self._said) :], whole
        return _event({"type": "transcript.text.delta", "delta": new}) if new else b""

    def end(self, view: JobView) -> bytes:
        last = self.part(view)
        done: dict[str, Any] = {
            "type": "transcript.text.done",
            "text": self._said,
            "usage": _usage(view.total_s or 0.0),
        }
        if view.gaps:
            done["gaps"] = [gap_json(gap) for gap in view.gaps]
        return last + _event(done)

    def failed(self, error: SubtitleError) -> bytes:
        return _event({"type": "error", "error": openai_error(status_of(error), error_body(error))})


def openai_router(answers: JobAnswers) -> APIRouter:
    """The routes; every other address under ``/v1`` answers 404 in OpenAI's form."""
    names = ModelNames(answers.service.settings)
    router = APIRouter(prefix="/v1", tags=["OpenAI"])

    def answer_to(task: Task) -> Any:
        def wanted(upload: Upload) -> tuple[RerunOptions, JobBody]:
            form = read_form(upload.fields)
            return _options(form, task, names), _body(form, task)

        async def answer(request: Request) -> Response:
            return await answers.answer(request, wanted)

        return answer

    tasks: tuple[tuple[str, Task, str], ...] = (
        ("transcriptions", "transcribe", "Speech to text"),
        ("translations", "translate", "Speech to English text"),
    )
    for name, task, summary in tasks:
        router.post(
            f"/audio/{name}",
            summary=summary,
            response_class=Response,
            responses=openai_refusals(404, 408, 409, 413, 429),
            openapi_extra=speech_operation(SpeechForm),
        )(answer_to(task))

    @router.get("/models", response_model=ModelsJson, responses=openai_refusals())
    def models() -> JSONResponse:
        """The models that may be asked for."""
        return json_answer({"object": "list", "data": [model_json(name) for name in names.all()]})

    @router.get("/models/{name:path}", response_model=ModelJson, responses=openai_refusals(404))
    def model(name: str) -> JSONResponse:
        """One model."""
        names.model(name)  # raises
        return json_answer(model_json(name))

    @router.api_route(
        "/{path:path}",
        methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
        include_in_schema=False,
    )
    def nothing(request: Request) -> JSONResponse:
        raise Refused(404, "UnknownUrl", f"Invalid URL ({request.method} {request.url.path}).")

    return router


def _options(form: SpeechForm, task: Task, names: ModelNames) -> RerunOptions:
    files = form.response_format in ("srt", "vtt") and not form.stream
    return read_options(
        {
            "model": names.model(form.model),
            "language": form.language,
            "task": task,
            "initial_prompt": form.prompt,
            "hotwords": ", ".join(form.keywords),
            "formats": form.response_format if files else "json",
        },
        RerunOptions,
    )


def _body(form: SpeechForm, task: Task) -> JobBody:
    if form.stream:
        return EventsAnswer()
    match form.response_format:
        case "srt" | "vtt":
            return FileAnswer(form.response_format)
        case "text":
            return TextAnswer()
        case "json":
            return JsonAnswer(task, None)
        case "verbose_json":
            return JsonAnswer(task, form.timestamp_granularities)


def _result(view: JobView) -> dict[str, Any]:
    """The job's JSON, whose fields ``subtitles.formats`` has cleaned and rounded."""
    result: dict[str, Any] = json.loads(output_of(view, "json"))
    return result


def _times(result: Mapping[str, Any], granularities: tuple[Granularity, ...]) -> dict[str, Any]:
    times: dict[str, Any] = {}
    segments = result["segments"]
    if "word" in granularities:
        times["words"] = [
            {"word": word["word"].strip(), "start": word["start"], "end": word["end"]}
            for segment in segments
            for word in segment["words"]
        ]
    if "segment" in granularities:
        times["segments"] = [
            {
                "id": segment["id"],
                "seek": round(segment["start"] * 100),
                "start": segment["start"],
                "end": segment["end"],
                "text": segment["text"],
                "tokens": [],
                **{name: segment[name] or 0.0 for name in _NUMBERS},
            }
            for segment in segments
        ]
    return times


_NUMBERS = ("temperature", "avg_logprob", "compression_ratio", "no_speech_prob")


def _text(segments: tuple[TranscriptSegment, ...]) -> str:
    return join_texts(clean_text(segment.text) for segment in segments)


def _usage(duration_s: float) -> dict[str, Any]:
    return {"type": "duration", "seconds": math.ceil(duration_s)}


def _event(data: Mapping[str, Any]) -> bytes:
    return b"event: " + str(data["type"]).encode() + b"\ndata: " + _dump(data) + b"\n\n"


def _dump(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
