"""Jobs as JSON. Every address in it is one that a browser can open, prefix of a proxy included."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from api.errors import error_body
from core.errors import SubtitleError
from core.types import Cue, Gap, JobReport
from jobs.job import JobView
from jobs.records import HistoryEntry, JobRecord
from jobs.states import JobState


def job_json(view: JobView, root: str, *, text: bool = False) -> dict[str, Any]:
    """A job at one moment; ``text``: with all that was said."""
    body = {
        **_head(view.id, view.name, view.state, root),
        "created_at": view.created_at,
        "ended_at": view.ended_at,
        "fraction": round(view.fraction, 4),
        "done_s": round(view.done_s, 3),
        "total_s": view.total_s,
        "remaining_s": view.remaining_s,
        "message": view.message,
        "language": view.language,
        "model": view.model,
        "devices": dict(view.devices),
        "gaps": _gaps(view.gaps),
        "error": _error(view.error),
        "report": _report(view.report),
        "files": {name: f"{root}/jobs/{view.id}/files/{name}" for name in view.outputs},
    }
    if text:
        body["segments"] = [
            {"start": one.start_s, "end": one.end_s, "text": one.text, "words": _words(one.words)}
            for one in view.segments
        ]
        body["cues"] = [_cue(cue) for cue in view.cues]
    return body


def record_json(record: JobRecord, root: str) -> dict[str, Any]:
    """One line of a list of jobs."""
    return {
        **_head(record.id, record.name, record.state, root),
        "created_at": record.created_at,
        "ended_at": record.ended_at,
        "fraction": round(record.fraction, 4),
        "total_s": record.total_s,
        "message": record.message,
        "language": record.language,
        "model": record.model,
        "gaps": len(record.gaps),
        "error": _error(record.error),
        "source_id": record.source_id,
    }


def history_json(entry: HistoryEntry) -> dict[str, Any]:
    return {"at": entry.at, "kind": entry.kind, "text": entry.text}


def _head(job_id: str, name: str, state: JobState, root: str) -> dict[str, Any]:
    return {
        "id": job_id,
        "name": name,
        "state": state.value,
        "ended": state.ended,
        "url": f"{root}/?job={job_id}",
        "status_url": f"{root}/api/jobs/{job_id}",
        "recording": f"{root}/jobs/{job_id}/recording",
    }


def _error(error: SubtitleError | None) -> dict[str, str] | None:
    return None if error is None else error_body(error)


def _gaps(gaps: tuple[Gap, ...]) -> list[dict[str, Any]]:
    return [{"start": gap.start_s, "end": gap.end_s, "reason": gap.reason} for gap in gaps]


def _cue(cue: Cue) -> dict[str, Any]:
    return {"start_ms": cue.start_ms, "end_ms": cue.end_ms, "lines": list(cue.lines)}


def _words(words: Any) -> list[dict[str, Any]]:
    return [
        {"start": w.start_s, "end": w.end_s, "text": w.text, "probability": w.probability}
        for w in words
    ]


def _report(report: JobReport | None) -> dict[str, Any] | None:
    """Where the time went. Segments one by one and paths of this machine are left out."""
    if report is None:
        return None
    body = asdict(report)
    for name in ("segments", "gaps", "outputs"):
        del body[name]
    return body
