"""The files of a job: its recording for the player, its subtitles for the player and to keep.

A job's id is 96 random bits known only to who started it, and is the key to its files.
"""

from __future__ import annotations

import mimetypes
from pathlib import Path
from urllib.parse import quote

from fastapi import APIRouter, HTTPException
from fastapi.responses import FileResponse

from jobs.job import Job
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

    def job_of(job_id: str) -> Job:
        job = service.get(job_id)
        if job is None:
            raise HTTPException(
                404, "There is no such job; finished jobs are removed after a time."
            )
        return job

    @router.get("/recording")
    def recording(job_id: str) -> FileResponse:
        """The recording as it was uploaded, in ranges, for a player."""
        request = job_of(job_id).request
        kind = mimetypes.guess_type(request.title)[0] or ""
        playable = kind.startswith(("audio/", "video/"))
        return _file(request.path, kind if playable else "application/octet-stream")

    @router.get("/files/{format_name}")
    def subtitles(job_id: str, format_name: str) -> FileResponse:
        """One of the job's subtitle files, as a download."""
        path = job_of(job_id).view(text=False).outputs.get(format_name)
        if path is None:
            raise HTTPException(404, f"The job has no {format_name} file.")
        response = _file(path, _SUBTITLES.get(format_name, "text/plain; charset=utf-8"))
        response.headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(path.name)}"
        return response

    return router


def _file(path: Path, media_type: str) -> FileResponse:
    if not path.is_file():
        raise HTTPException(404, "The file has been removed.")
    return FileResponse(path, media_type=media_type, headers=_HEADERS)
