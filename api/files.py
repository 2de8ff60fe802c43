"""The files of a job: its recording and subtitles, for the player and to download.

A job's id is 96 random bits, and is the key to its files for anyone who passes the access check.
"""

from __future__ import annotations

import mimetypes
from pathlib import Path
from urllib.parse import quote

from fastapi import APIRouter
from fastapi.responses import FileResponse, Response

from api.jobs import job_of
from api.schemas import refusals
from core.errors import FileMissing
from jobs.results import subtitles_of
from jobs.service import JobService

_HEADERS = {
    "Cache-Control": "private, no-store",
    # A browser must not take an upload for a page, whatever its name and content say.
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'",
}

_SUBTITLES = {"vtt": "text/vtt; charset=utf-8", "json": "application/json"}


def files_router(service: JobService) -> APIRouter:
    router = APIRouter(prefix="/jobs/{job_id}", tags=["jobs"])

    @router.get(
        "/recording",
        response_class=FileResponse,
        responses={
            200: {"content": {"*/*": {}}, "description": "The recording."},
            206: {"content": {"*/*": {}}, "description": "The part that was asked for."},
            **refusals(404, 416),
        },
    )
    def recording(job_id: str) -> FileResponse:
        """The recording as it was uploaded, in ranges, for a player."""
        request = job_of(service, job_id).request
        # Of the ending alone: a name like "data:…," would be taken for an address with a type.
        kind = mimetypes.guess_type("recording" + Path(request.title).suffix)[0] or ""
        playable = kind.startswith(("audio/", "video/"))
        return _file(request.path, kind if playable else "application/octet-stream")

    @router.get(
        "/files/{format_name}",
        response_class=Response,
        responses={
            200: {"content": {"text/plain": {}, "text/vtt": {}, "application/json": {}}},
            **refusals(404),
        },
    )
    def subtitles(job_id: str, format_name: str) -> Response:
        """The subtitles of a finished job, as a download, in a format of your choice."""
        found = subtitles_of(job_of(service, job_id), service.folders, format_name)
        headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(found.name)}"}
        kind = _SUBTITLES.get(format_name, "text/plain; charset=utf-8")
        return Response(found.content, media_type=kind, headers=_HEADERS | headers)

    return router


def _file(path: Path, media_type: str) -> FileResponse:
    if not path.is_file():
        raise FileMissing("The file has been removed.", hint="")
    return FileResponse(path, media_type=media_type, headers=_HEADERS)
