"""The files of a job: its recording and subtitles, for the player and to download.

A job's id is 96 random bits, and is the key to its files for anyone who passes the access check.
"""

from __future__ import annotations

import mimetypes
from pathlib import Path
from urllib.parse import quote

from fastapi import APIRouter
from fastapi.responses import FileResponse

from api.jobs import job_of
from core.errors import FileMissing
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

    @router.get("/recording")
    def recording(job_id: str) -> FileResponse:
        """The recording as it was uploaded, in ranges, for a player."""
        request = job_of(service, job_id).request
        # Of the ending alone: a name like "data:…," would be taken for an address with a type.
        kind = mimetypes.guess_type("recording" + Path(request.title).suffix)[0] or ""
        playable = kind.startswith(("audio/", "video/"))
        return _file(request.path, kind if playable else "application/octet-stream")

    @router.get("/files/{format_name}")
    def subtitles(job_id: str, format_name: str) -> FileResponse:
        """One of the job's subtitle files, as a download."""
        path = job_of(service, job_id).view(text=False).outputs.get(format_name)
        if path is None:
            raise FileMissing(f"The job has no {format_name} file.", hint="")
        response = _file(path, _SUBTITLES.get(format_name, "text/plain; charset=utf-8"))
        response.headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(path.name)}"
        return response

    return router


def _file(path: Path, media_type: str) -> FileResponse:
    if not path.is_file():
        raise FileMissing("The file has been removed.", hint="")
    return FileResponse(path, media_type=media_type, headers=_HEADERS)
