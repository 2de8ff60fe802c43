"""The answers of the API as the OpenAPI document describes them. Nothing is built from these: a
test compares what the service answers with them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from jobs.request import Priority
from jobs.states import JobState


class _Documented(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class ErrorJson(_Documented):
    type: str
    """What went wrong, as a name for programs."""
    message: str
    """For people."""
    hint: str
    """What can be done about it; may be empty."""


class ErrorAnswer(_Documented):
    """Every error of the API."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "error": {
                        "type": "NoSuchJob",
                        "message": "There is no job x7Kq.",
                        "hint": "Finished jobs are removed after a time; upload the recording"
                        " again.",
                    }
                }
            ]
        }
    )

    error: ErrorJson


class OpenAIErrorJson(_Documented):
    message: str
    """For people, with what can be done about it."""
    type: str
    param: str | None
    """The field that is wrong, where it is one."""
    code: str


class OpenAIErrorAnswer(_Documented):
    """Every error under /v1."""

    error: OpenAIErrorJson


class ModelJson(_Documented):
    id: str
    object: str
    created: int
    owned_by: str


class ModelsJson(_Documented):
    object: str
    data: list[ModelJson]


class GapJson(_Documented):
    start: float
    """Seconds."""
    end: float
    reason: str


class WordJson(_Documented):
    start: float
    end: float
    text: str
    probability: float


class SegmentJson(_Documented):
    start: float
    end: float
    text: str
    words: list[WordJson]


class CueJson(_Documented):
    start_ms: int
    end_ms: int
    lines: list[str]


class RecordJson(_Documented):
    """A job in a list. Addresses are paths of this service; times are seconds since 1970."""

    id: str
    name: str
    state: JobState
    ended: bool
    url: str
    """Its page."""
    status_url: str
    recording: str
    created_at: float
    ended_at: float | None
    fraction: float
    """Share that is done, 0 to 1."""
    total_s: float | None
    """Seconds of audio."""
    message: str
    """What it waits for, or how it ended; empty while it goes well."""
    language: str | None
    model: str | None
    priority: Priority
    gaps: int
    """Stretches of speech without text."""
    error: ErrorJson | None
    source_id: str | None
    """The job it was run again from."""


EXAMPLE_JOB: dict[str, Any] = {
    "id": "x7KqVb2nR4sT9wYz",
    "name": "talk.mp4",
    "state": "complete",
    "ended": True,
    "url": "/?job=x7KqVb2nR4sT9wYz",
    "status_url": "/api/jobs/x7KqVb2nR4sT9wYz",
    "recording": "/jobs/x7KqVb2nR4sT9wYz/recording",
    "created_at": 1795000000.0,
    "ended_at": 1795000042.5,
    "fraction": 1.0,
    "total_s": 600.0,
    "message": "",
    "language": "en",
    "model": "large-v3-turbo",
    "priority": "normal",
    "gaps": [],
    "error": None,
    "source_id": None,
    "done_s": 600.0,
    "remaining_s": 0.0,
    "devices": {},
    "report": None,
    "files": {"srt": "/jobs/x7KqVb2nR4sT9wYz/files/srt"},
}


class JobJson(RecordJson):
    """A job at one moment."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_JOB]})

    gaps: list[GapJson]  # type: ignore[assignment]
    done_s: float
    """Seconds of audio done."""
    remaining_s: float | None
    """Seconds of work left, as far as that is known."""
    devices: dict[str, str]
    """What each device does for this job."""
    report: dict[str, Any] | None
    """Where the time went, once it has ended."""
    files: dict[str, str]
    """Addresses of the subtitles that were asked for; other formats are there as well."""
    segments: list[SegmentJson] | None = None
    """With ``text=1``: the text that is final."""
    cues: list[CueJson] | None = None
    """With ``text=1``: the subtitles; the last two may still change while the job runs."""


class JobListJson(_Documented):
    jobs: list[RecordJson]
    total: int
    """All that fit the question, beyond ``limit`` and ``offset``."""


class HistoryLineJson(_Documented):
    at: float
    kind: str
    text: str


class HistoryJson(_Documented):
    history: list[HistoryLineJson]


class CheckJson(_Documented):
    """One line of a test."""

    name: str
    state: Literal["ok", "warning", "failed", "skipped"]
    text: str
    fix: str
    """What to do about it; may be empty."""


class TestedJson(_Documented):
    """The last test of an endpoint as it is set up now."""

    passed: bool
    tested_at: float
    checks: list[CheckJson]
    word_times: bool
    """It gives the times of words."""
    max_clip_s: float | None
    """Longest clip that it took."""
    offset_s: float | None
    """How far its times are off."""
    speed: float | None
    """Seconds of audio in a second."""
    words_right: float | None
    """Share of the clip's words, 0 to 1."""


EXAMPLE_ENDPOINT: dict[str, Any] = {
    "id": "office",
    "name": "Office",
    "api_url": "http://10.0.5.4:8000/v1/audio/transcriptions",
    "model_name": "whisper-0",
    "kind": "",
    "is_active": True,
    "is_default": True,
    "priority": 100,
    "parallel": 2,
    "timeout_s": 60.0,
    "timeout_per_audio_s": 4.0,
    "max_clip_s": 30.0,
    "mode": "offline",
    "key": "set",
    "usable": True,
    "problem": "",
    "protocol": "openai",
    "test": None,
}


class EndpointJson(_Documented):
    """A remote server. Where ``problem`` says that it cannot be used, the other fields are what
    stands in the table, whatever that is."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_ENDPOINT]})

    id: str
    name: str
    api_url: str
    model_name: str
    kind: str
    is_active: bool
    is_default: bool
    priority: int
    parallel: int
    timeout_s: float
    timeout_per_audio_s: float
    max_clip_s: float
    mode: str
    key: str
    """``set``, ``not set`` or ``from NAME``; keys themselves are never told."""
    usable: bool
    problem: str
    """Why not, and what to do; empty while nothing is wrong."""
    protocol: str | None
    """The one that is spoken: openai, asr or funasr."""
    test: TestedJson | None


class EndpointListJson(_Documented):
    endpoints: list[EndpointJson]


class ReleasedJson(_Documented):
    model_config = ConfigDict(extra="allow")


class UnloadedJson(_Documented):
    devices: list[ReleasedJson]
    freed_mib: float


class WorkerJson(_Documented):
    label: str
    state: str
    model: str | None
    compute_type: str | None
    unloaded: bool
    reason: str
    heartbeat_age_s: float | None


class HealthJson(_Documented):
    alive: bool
    reason: str
    degraded: bool
    degraded_reason: str
    database: bool
    version: str
    incidents: dict[str, int]
    workers: list[WorkerJson]


class ReadyJson(_Documented):
    ready: bool
    reason: str


_MEANING = {
    400: "The request, or an option of it, is not valid.",
    401: "Log in, or send an API key.",
    403: "Not allowed.",
    404: "There is no such job, file or endpoint.",
    408: "The upload stalled.",
    409: "A request with this Idempotency-Key is still being received, or the job was cancelled.",
    413: "The recording is larger than this service takes.",
    415: "The recording cannot be read.",
    416: "There is no such part of the recording.",
    422: "The model cannot do that, or the Idempotency-Key was used for something else.",
    429: "You have as many jobs as one client may have; see Retry-After.",
    500: "An unexpected error; the log of the service has it.",
    502: "The site of the link does not give the recording.",
    503: "The service cannot do it now; see Retry-After where it is sent.",
    507: "Too little disk space.",
}


def refusals(
    *statuses: int, model: type[BaseModel] = ErrorAnswer
) -> dict[int | str, dict[str, Any]]:
    """Answers that a route gives instead of its own, and those that every route may give."""
    everywhere = (400, 401, 403, 500, 503)
    return {
        status: {"model": model, "description": _MEANING[status]}
        for status in sorted({*statuses, *everywhere})
    }


def openai_refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The same for routes under /v1."""
    return refusals(*statuses, model=OpenAIErrorAnswer)
