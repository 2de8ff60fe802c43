"""``GET /api/jobs/ID/events``: a job as Server-Sent Events, until it ends.

    state     the job as ``GET /api/jobs/ID`` shows it, with its gaps: at first, and after changes
    segment   a segment whose text is final, with its words
    cue       a subtitle that is final
    history   what happened: also retries and lost workers
    end       the job, with its files; nothing follows

The ``id`` of an event says how much of each kind has been sent, so that a client that reconnects
with ``Last-Event-ID`` gets the rest, from a service that was started again as well. A stream costs
no thread while nothing happens.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from api.asgi import in_threads, root_of
from api.following import follow
from api.job_views import cue_json, history_json, job_json, segment_json
from api.jobs import job_of
from api.schemas import refusals
from core.errors import DatabaseUnavailable
from jobs.job import Job, JobHandle
from jobs.records import HistoryEntry, JobView
from jobs.service import JobService

HEARTBEAT_S = 15.0
"""Between two signs of life; proxies cut connections that say nothing for a minute."""

HELD_BACK = 2
"""Last cues that more text may still change."""

WRITERS = 8
BLOCK_BYTES = 64 * 1024

EXAMPLE = """retry: 3000

event: segment
id: 1-0-2
data: {"index":0,"start":0.4,"end":3.1,"text":"Good evening.","words":[]}

"""

EVENT = {
    "type": "object",
    "description": "Each event.",
    "properties": {
        "event": {"enum": ["state", "segment", "cue", "history", "end"]},
        "id": {"type": "string"},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
    "required": ["event", "id", "data"],
}

_ID = re.compile(r"(\d{1,9})-(\d{1,9})-(\d{1,9})(-end)?")


@dataclass(slots=True)
class _Sent:
    """How much a client has got."""

    segments: int = 0
    cues: int = 0
    history: int = 0
    end: bool = False

    @classmethod
    def until(cls, last_id: str) -> _Sent:
        """What came before the event of that id; nothing before one that is none of ours."""
        found = _ID.fullmatch(last_id)
        if found is None:
            return cls()
        return cls(int(found[1]), int(found[2]), int(found[3]), bool(found[4]))

    def __str__(self) -> str:
        counts = f"{self.segments}-{self.cues}-{self.history}"
        return f"{counts}-end" if self.end else counts


def events_router(service: JobService) -> APIRouter:
    router = APIRouter(prefix="/api", tags=["jobs"])
    in_thread = in_threads(WRITERS)

    @router.get(
        "/jobs/{job_id}/events",
        response_class=StreamingResponse,
        responses={
            200: {
                "description": "Events until the job ends.",
                "content": {"text/event-stream": {"schema": EVENT, "example": EXAMPLE}},
            },
            204: {"description": "The client has had the end."},
            **refusals(404),
        },
    )
    async def events(request: Request, job_id: str) -> Response:
        """A job as Server-Sent Events until it ends: ``state``, ``segment``, ``cue``,
        ``history`` and ``end``. ``Last-Event-ID`` resumes; after the end it is answered 204, which
        tells browsers not to come back."""
        sent = _Sent.until(request.headers.get("last-event-id", ""))
        job = await in_thread(job_of)(service, job_id)
        lines = _Lines(service, job)
        await in_thread(lines.read)()
        if sent.end:
            return Response(status_code=204)
        root = root_of(request)

        async def stream() -> AsyncIterator[bytes]:
            yield b"retry: 3000\n\n"
            shown: tuple[int, str] | None = None
            async for view in follow(job, text=True, quiet_s=HEARTBEAT_S):
                now = view.version, view.state.value
                if now == shown:
                    yield b": still here\n\n"
                    continue
                shown = now
                for block in await in_thread(_blocks)(view, sent, lines, root):
                    yield block

        return StreamingResponse(
            stream(),
            media_type="text/event-stream",
            # nginx would gather the events otherwise.
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    return router


class _Lines:
    """The history of a job, as it grows."""

    def __init__(self, service: JobService, job: JobHandle) -> None:
        self._service = service
        self._job = job
        self._earlier: tuple[HistoryEntry, ...] = ()
        self._own = job.recorder.lines if isinstance(job, Job) else None

    def read(self) -> None:
        """What the database has. Raises DatabaseUnavailable."""
        self._earlier = self._service.history(self._job.id)
        if self._own:
            began = self._own[0].at
            self._earlier = tuple(line for line in self._earlier if line.at < began)

    def now(self) -> tuple[HistoryEntry, ...]:
        """Of a job that runs here without the database, which hears of it later."""
        if self._own is None:
            try:
                self.read()
            except DatabaseUnavailable:
                return self._earlier
        return (*self._earlier, *(self._own or ()))


def _blocks(view: JobView, sent: _Sent, lines: _Lines, root: str) -> list[bytes]:
    """What is new, as a few blocks to send."""
    blocks = [bytearray()]
    for name, data in _new(view, sent, lines, root):
        text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        blocks[-1] += f"event: {name}\nid: {sent}\ndata: {text}\n\n".encode()
        if len(blocks[-1]) >= BLOCK_BYTES:
            blocks.append(bytearray())
    return [bytes(block) for block in blocks if block]


def _new(
    view: JobView, sent: _Sent, lines: _Lines, root: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Names and contents of the events; each counts as sent when it is given."""
    for line in lines.now()[sent.history :]:
        sent.history += 1
        yield "history", history_json(line)
    if not view.state.ended:
        yield "state", job_json(view, root)
    for index, segment in enumerate(view.segments[sent.segments :], sent.segments):
        sent.segments += 1
        yield "segment", {"index": index, **segment_json(segment)}
    final = view.cues if view.state.ended else view.cues[:-HELD_BACK]
    for index, cue in enumerate(final[sent.cues :], sent.cues):
        sent.cues += 1
        yield "cue", {"index": index, **cue_json(cue)}
    if view.state.ended:
        sent.end = True
        yield "end", job_json(view, root)
