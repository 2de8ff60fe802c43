"""``/api/jobs``: the job service for programs. The page does the same through Gradio.

    curl -H "Authorization: Bearer $KEY" -F file=@talk.mp4 -F formats=srt,vtt  …/api/jobs
    curl -H "Authorization: Bearer $KEY" --data-binary @talk.mp4  "…/api/jobs?name=talk.mp4"
    curl -H "Authorization: Bearer $KEY" -F url=https://youtu.be/ID  …/api/jobs
    curl -H "Authorization: Bearer $KEY" --json '{"url": "https://youtu.be/ID"}'  …/api/jobs
    curl -H "Authorization: Bearer $KEY"  …/api/jobs/ID        state, progress, then the files

Anyone who passes the access check and has a job's id sees the job. Lists hold the caller's own
jobs; only the owner may cancel or delete a job or retry its gaps (``access.identity``).

No handler waits in the event loop, and each kind of waiting has threads of its own: uploads,
submissions and questions do not hold each other up, and ``/health`` needs none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

import anyio
import anyio.to_thread
from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response
from starlette.requests import ClientDisconnect

from access.identity import Identity, identity_of
from api.asgi import EarlyAnswer
from api.errors import Refused, answer
from api.job_options import GapOptions, Submission, request_of
from api.job_views import history_json, job_json, record_json
from api.upload_body import Upload
from api.uploads import Uploads
from core.errors import NoSuchJob, SubtitleError
from jobs.job import JobHandle
from jobs.options import JobOptions, read_options
from jobs.records import JobView
from jobs.service import JobService
from jobs.states import JobState
from model_store.store import check_offered

SUBMITTERS = 8
READERS = 16

MAX_LISTED = 200

T = TypeVar("T")


class _Calls:
    """The service, asked from the event loop."""

    def __init__(self, service: JobService) -> None:
        self.service = service
        self._submitters = anyio.CapacityLimiter(SUBMITTERS)
        self._readers = anyio.CapacityLimiter(READERS)

    async def change(self, call: Callable[[], T]) -> T:
        return await anyio.to_thread.run_sync(call, limiter=self._submitters)

    async def read(self, call: Callable[[], T]) -> T:
        return await anyio.to_thread.run_sync(call, limiter=self._readers)

    # In a thread.

    def job(self, job_id: str) -> JobHandle:
        job = self.service.get(job_id)
        if job is None:
            raise NoSuchJob(f"There is no job {job_id}.")
        return job

    def view(self, job_id: str, text: bool) -> JobView:
        return self.job(job_id).view(text=text)

    def check_owner(self, job_id: str, who: Identity) -> None:
        if not who.may_change(self.job(job_id).request.owner):
            raise Refused(
                403,
                "NotYours",
                "Only the person who started a job may change it.",
                "You can run it again as a job of your own.",
            )

    def submit(self, fields: Mapping[str, Any], upload: Upload, who: Identity) -> JobView:
        wanted = read_options(fields, Submission)
        path, name = upload.path or Path(), wanted.name or upload.name or None
        request = request_of(wanted, path, name, who, self.service.settings)
        if upload.path is None:
            request = replace(request, url=wanted.url)
        return self.service.submit(request).view(text=False)

    def rerun(self, job_id: str, options: JobOptions, who: Identity) -> JobView:
        old = self.job(job_id).request
        request = request_of(options, old.path, old.title, who, self.service.settings)
        return self.service.rerun(job_id, request).view(text=False)

    def cancel(self, job_id: str, who: Identity) -> JobView:
        self.check_owner(job_id, who)
        self.service.cancel(job_id)
        return self.view(job_id, False)

    def delete(self, job_id: str, who: Identity) -> None:
        self.check_owner(job_id, who)
        self.service.delete(job_id)

    def retry_gaps(self, job_id: str, options: GapOptions, who: Identity) -> JobView:
        self.check_owner(job_id, who)
        if options.model is not None:
            check_offered(options.model, self.service.settings)
        job = self.service.retry_gaps(job_id, model=options.model, device=options.device)
        return job.view(text=False)


def jobs_router(service: JobService, uploads: Uploads) -> APIRouter:
    """The routes; ``uploads`` takes the recordings."""
    router = APIRouter(prefix="/api/jobs", tags=["jobs"])
    calls = _Calls(service)
    _add_submit(router, calls, uploads)
    _add_questions(router, calls)
    _add_changes(router, calls)
    return router


def _add_submit(router: APIRouter, calls: _Calls, uploads: Uploads) -> None:
    @router.post("")
    async def submit(request: Request) -> Response:
        """A recording, or the link of one, becomes a job. It is stored when this answers."""
        who, query = identity_of(request), dict(request.query_params)
        options = {name: value for name, value in query.items() if name != "name"}
        try:
            # Before gigabytes are sent in vain. No links: addresses of requests stand in logs.
            read_options(options, JobOptions)
            await calls.change(partial(calls.service.admit, who.client))
            async with uploads.receive(request) as upload:
                fields = {**query, **upload.fields}
                view = await calls.change(partial(calls.submit, fields, upload, who))
        except SubtitleError as error:
            return EarlyAnswer(answer(error))
        except Refused as refused:
            return EarlyAnswer(refused.answer())
        except ClientDisconnect:
            # The client has gone and does not see this.
            return Response(status_code=400)
        return _accepted(view, request)


def _add_questions(router: APIRouter, calls: _Calls) -> None:
    @router.get("")
    async def jobs(
        request: Request,
        text: Annotated[str, Query(max_length=200)] = "",
        state: Annotated[list[JobState] | None, Query()] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_LISTED)] = 50,
        offset: Annotated[int, Query(ge=0)] = 0,
    ) -> JSONResponse:
        """The caller's own jobs, newest first; ``total`` counts all that fit."""
        owner, root = identity_of(request).owner, _root(request)
        find = partial(calls.service.find, owner, text, state or (), limit, offset)
        found, total = await calls.read(find)
        return _json({"jobs": [record_json(record, root) for record in found], "total": total})

    @router.get("/{job_id}")
    async def job(request: Request, job_id: str, text: bool = False) -> JSONResponse:
        """One job; with ``text=1`` also what was said so far."""
        view = await calls.read(partial(calls.view, job_id, text))
        return _json(job_json(view, _root(request), text=text))

    @router.get("/{job_id}/history")
    async def history(job_id: str) -> JSONResponse:
        """What happened to a job, oldest first."""
        await calls.read(partial(calls.job, job_id))
        entries = await calls.read(partial(calls.service.history, job_id))
        return _json({"history": [history_json(entry) for entry in entries]})


def _add_changes(router: APIRouter, calls: _Calls) -> None:
    @router.post("/{job_id}/cancel")
    async def cancel(request: Request, job_id: str) -> JSONResponse:
        """Stop a job; it ends within two seconds. Nothing happens to one that has ended."""
        view = await calls.change(partial(calls.cancel, job_id, identity_of(request)))
        return _json(job_json(view, _root(request)))

    @router.delete("/{job_id}")
    async def delete(request: Request, job_id: str) -> Response:
        """Remove a job with its recording and its files; one that runs is cancelled first."""
        await calls.change(partial(calls.delete, job_id, identity_of(request)))
        return Response(status_code=204)

    @router.post("/{job_id}/rerun")
    async def rerun(
        request: Request, job_id: str, options: JobOptions | None = None
    ) -> JSONResponse:
        """A new job over the same recording, with other options and no upload."""
        wanted = options or JobOptions()
        view = await calls.change(partial(calls.rerun, job_id, wanted, identity_of(request)))
        return _accepted(view, request)

    @router.post("/{job_id}/retry-gaps")
    async def retry_gaps(
        request: Request, job_id: str, options: GapOptions | None = None
    ) -> JSONResponse:
        """Decode the gaps of a finished job again, and nothing else."""
        wanted = options or GapOptions()
        view = await calls.change(partial(calls.retry_gaps, job_id, wanted, identity_of(request)))
        return _accepted(view, request)


def _accepted(view: JobView, request: Request) -> JSONResponse:
    root = _root(request)
    answer = _json(job_json(view, root), 202)
    answer.headers["Location"] = f"{root}/api/jobs/{view.id}"
    return answer


def _json(body: dict[str, Any], status: int = 200) -> JSONResponse:
    return JSONResponse(body, status, headers={"Cache-Control": "no-store"})


def _root(request: Request) -> str:
    root: str = request.scope.get("root_path", "")
    return root
