"""Jobs as JSON. Every address in it is one that a browser can open, prefix of a proxy included."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from api.errors import error_body
from core.types import Cue, Gap, JobReport, TranscriptSegment
from jobs.records import HistoryEntry, JobRecord, JobView


def record_json(record: JobRecord, root: str) -> dict[str, Any]:
    """One line of a list of jobs."""
    return {
        "id": record.id,
        "name": record.name,
        "state": record.state.value,
        "ended": record.state.ended,
        "url": f"{root}/?job={record.id}",
        "status_url": f"{root}/api/jobs/{record.id}",
        "recording": f"{root}/jobs/{record.id}/recording",
        "created_at": record.created_at,
        "ended_at": record.ended_at,
        "fraction": round(record.fraction, 4),
        "total_s": record.total_s,
        "message": record.message,
        "language": record.language,
        "model": record.model,
        "priority": record.request.priority,
        "gaps": len(record.gaps),
        "error": None if record.error is None else error_body(record.error),
        "source_id": record.source_id,
    }


def job_json(view: JobView, root: str, *, text: bool = False) -> dict[str, Any]:
    """A job at one moment; ``text``: with all that was said."""
    body = record_json(view, root) | {
        "done_s": round(view.done_s, 3),
        "remaining_s": view.remaining_s,
        "devices": dict(view.devices),
        "gaps": [gap_json(gap) for gap in view.gaps],
        "report": _report(view.report),
        "files": {name: f"{root}/jobs/{view.id}/files/{name}" for name in view.outputs},
    }
    if text:
        body["segments"] = [segment_json(one) for one in view.segments]
        body["cues"] = [cue_json(cue) for cue in view.cues]
    return body


def segment_json(segment: TranscriptSegment) -> dict[str, Any]:
    return {
        "start": segment.start_s,
        "end": segment.end_s,
        "text": segment.text,
        "words": [
            {"start": w.start_s, "end": w.end_s, "text": w.text, "probability": w.probability}
            for w in segment.words
        ],
    }


def cue_json(cue: Cue) -> dict[str, Any]:
    return {"start_ms": cue.start_ms, "end_ms": cue.end_ms, "lines": list(cue.lines)}


def gap_json(gap: Gap) -> dict[str, Any]:
    return {"start": gap.start_s, "end": gap.end_s, "reason": gap.reason}


def history_json(entry: HistoryEntry) -> dict[str, Any]:
    return {"at": entry.at, "kind": entry.kind, "text": entry.text}


def _report(report: JobReport | None) -> dict[str, Any] | None:
    """Where the time went. Segments one by one and paths of this machine are left out."""
    if report is None:
        return None
    body = asdict(report)
    for name in ("segments", "gaps", "outputs"):
        del body[name]
    return body
