"""How jobs are written down: the frozen types as JSON, and the row of the job table as one record.

JSON that comes back is the same to the last bit: floats are written with all their digits,
infinity and NaN by name, and paths that are not UTF-8 keep their bytes. The text is plain ASCII, so
that every database takes it. What an older version wrote is read with today's defaults for what it
did not know, and what a newer one added is left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePath
from typing import Any, TypeVar

from pydantic import TypeAdapter

import core.errors
from core.errors import SubtitleError, WorkerError
from core.progress import TimelineSegment
from core.types import Cue, Gap, JobReport, TranscriptSegment
from jobs.options import OPTIONS
from jobs.request import JobRequest
from jobs.states import JobState

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """Everything that is remembered of a job, its journal and history apart. Times are seconds
    since the epoch."""

    id: str
    origin: str = "service"
    """``cli`` in rows that commands of older versions left: no service shows or runs those."""
    owner: str
    """Who may list it: ``local``, ``user:NAME``, ``key:NAME`` or ``visitor:COOKIE``."""
    client: str
    """Whom limits count: ``local``, ``user:NAME``, ``key:NAME`` or ``ip:ADDRESS``."""
    name: str
    """The recording's name, for people."""
    state: JobState
    request: JobRequest
    """Complete; its ``path`` is where the recording lies."""
    created_at: float
    started_at: float | None = None
    ended_at: float | None = None
    storage_id: str
    """Id of the data directory that holds its files; only services with that directory run it."""
    runner: str | None = None
    """Id of the process that runs it or will."""
    cancel_wanted: bool = False
    fraction: float = 0.0
    """Share that is done, 0–1: of the work, or of the download while it is ``DOWNLOADING``."""
    done_s: float = 0.0
    """Audio seconds done."""
    total_s: float | None = None
    """Length of the recording, as far as it is known."""
    message: str = ""
    """One line for people: what the job waits for, or how it ended. Empty while it goes well."""
    language: str | None = None
    """As decided; a resumed job starts with it."""
    language_probability: float | None = None
    model: str | None = None
    """The model that runs, once it is found."""
    gaps: tuple[Gap, ...] = ()
    error: SubtitleError | None = None
    report: JobReport | None = None
    """In the row without its segments: the kept transcript has them."""
    outputs: Mapping[str, Path] = field(default_factory=dict)
    """File of each format, once all are written."""
    source_id: str | None = None
    """The job it was run again from."""
    resumes: int = 0
    """How often it went on after its service had died or was stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView(JobRecord):
    """A job at one moment, as people see it: its record and what only a running job has."""

    version: int
    """Grows with every change; see ``jobs.job.Job.watch``."""
    remaining_s: float | None = None
    """Seconds of work left; None: not known."""
    devices: Mapping[str, str] = field(default_factory=dict)
    """What each device does for this job."""
    parts: tuple[TimelineSegment, ...] = ()
    """Its segments on the timeline while it runs."""
    segments: tuple[TranscriptSegment, ...] = ()
    """Text that is final: everything before the first segment that is still missing."""
    cues: tuple[Cue, ...] = ()
    """Its subtitles; the last one or two may still change."""

    @classmethod
    def of(cls, record: JobRecord, **live: Any) -> JobView:
        """The record with fields of a view; these go before the record's own."""
        return cls(**({name: getattr(record, name) for name in RECORD_FIELDS} | live))


RECORD_FIELDS = tuple(JobRecord.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One line of what happened to a job."""

    at: float
    kind: str
    """As in ``core.events.Incident``, and the states of the job."""
    text: str


@dataclass(frozen=True, slots=True)
class _StoredError:
    type: str
    message: str
    hint: str


def dump(value: object) -> str:
    """The value as compact JSON.

    Raises TypeError or ValueError on what could not be read again.
    """
    kind: Any = type(value)
    return json.dumps(
        _adapter(kind).dump_python(value, warnings="error"),
        separators=(",", ":"),
        default=_plain,
    )


def load(kind: type[T], text: str) -> T:
    """What :func:`dump` wrote. Raises ValueError on anything else."""
    # Python's reader, because pydantic's own refuses paths that are not UTF-8.
    wanted: Any = kind
    loaded: T = _adapter(wanted).validate_python(json.loads(text))
    return loaded


def load_request(text: str) -> JobRequest:
    """The request that :func:`dump` wrote, in this version or an older one.

    Raises ValueError on anything else.
    """
    written = json.loads(text)
    if not isinstance(written, dict):
        raise ValueError("a request is a JSON object")
    # Older versions wrote the options beside the path, in three groups.
    options = written.get(
        "options", {**written, **written.get("decode", {}), **written.get("plan", {})}
    )
    written["options"] = {name: options[name] for name in OPTIONS if name in options}
    request: JobRequest = _adapter(JobRequest).validate_python(written)
    return request


def dump_error(error: SubtitleError) -> str:
    """The error as JSON: its class by name, its message and hint."""
    return dump(_StoredError(type(error).__name__, error.message, error.hint))


def load_error(text: str) -> SubtitleError:
    """What :func:`dump_error` wrote; a class that is no longer known becomes a WorkerError."""
    stored = load(_StoredError, text)
    found: Any = getattr(core.errors, stored.type, None)
    if not (isinstance(found, type) and issubclass(found, SubtitleError)):
        found = WorkerError
    error: SubtitleError = found(stored.message, hint=stored.hint)
    return error


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _plain(value: object) -> str:
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no written form")
