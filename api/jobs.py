"""``/api``: the job service for programs. The page does the same through Gradio.

    curl -H "Authorization: Bearer $KEY" -F file=@talk.mp4 -F formats=srt,vtt  …/api/jobs
    curl -H "Authorization: Bearer $KEY" --data-binary @talk.mp4  "…/api/jobs?name=talk.mp4"
    curl -H "Authorization: Bearer $KEY" -F url=https://youtu.be/ID  …/api/jobs
    curl -H "Authorization: Bearer $KEY" --json '{"url": "https://youtu.be/ID"}'  …/api/jobs
    curl -H "Authorization: Bearer $KEY"  …/api/jobs/ID        state, progress, then the files
    curl -H "Authorization: Bearer $KEY" -X POST  …/api/models/unload

Anyone who passes the access check and has a job's id sees the job. Lists hold the caller's own
jobs; only the owner may cancel or delete a job or retry its gaps (``access.identity``).

No handler blocks the event loop. Uploads, submissions, changes and questions have separate threads,
so that none holds up the others, and ``/health`` needs none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from access.identity import Identity, identity_of
from api.asgi import EarlyAnswer, in_threads, root_of
from api.errors import Refused, json_answer
from api.job_options import (
    AddressOptions,
    GapOptions,
    RerunOptions,
    Submission,
    check_allowed,
    request_of,
    submission_of,
)
from api.job_views import history_json, job_json, record_json
from api.openapi import submit_operation
from api.repeats import HEADER, REPLAYED, Repeats
from api.schemas import HistoryJson, JobJson, JobListJson, UnloadedJson, refusals
from api.upload_body import Upload
from api.uploads import Uploads
from core.errors import NoSuchJob
from jobs.idempotency import BoundKey, KeyStore
from jobs.job import JobHandle
from jobs.options import read_options
from jobs.service import JobService
from jobs.states import JobState
from model_store.store import check_offered

SUBMITTERS = 8
READERS = 16

MAX_LISTED = 200
MAX_OFFSET = 10**9


def api_router(service: JobService, uploads: Uploads) -> APIRouter:
    """The routes; ``uploads`` takes the recordings."""
    router = APIRouter(prefix="/api", tags=["jobs"])
    _add_submit(router, service, uploads)
    _add_questions(router, service)
    _add_changes(router, service)
    _add_models(router, service)
    return router


def job_of(service: JobService, job_id: str) -> JobHandle:
    """Raises NoSuchJob."""
    job = service.get(job_id)
    if job is None:
        raise NoSuchJob(f"There is no job {job_id}.")
    return job


def _check_owner(service: JobService, job_id: str, request: Request) -> None:
    if not identity_of(request).may_change(job_of(service, job_id).request.owner):
        raise Refused(
            403,
            "NotYours",
            "Only the person who started a job may change it.",
            "You can run it again as a job of your own.",
        )


def _add_submit(router: APIRouter, service: JobService, uploads: Uploads) -> None:
    in_thread = in_threads(SUBMITTERS)

    repeats = Repeats(KeyStore(service.database, service.runner.id, service.runner.is_dead))

    @in_thread
    def begin(
        fields: Mapping[str, Any], upload: Upload, who: Identity, key: BoundKey | None
    ) -> JobHandle:
        wanted = read_options(fields, Submission)
        request = submission_of(wanted, upload.path, upload.name, who, service.settings)
        return service.submit(request, key=key)

    @router.post(
        "/jobs",
        status_code=202,
        response_model=JobJson,
        responses=refusals(404, 408, 409, 413, 422, 429, 502, 507),
        openapi_extra=submit_operation(),
    )
    async def submit(request: Request) -> Response:
        """A recording, or the link of one, becomes a job. It is stored when this answers."""
        who, query = identity_of(request), dict(request.query_params)
        options = {name: value for name, value in query.items() if name != "name"}
        # Refuse before gigabytes arrive.
        check_allowed(read_options(options, AddressOptions), who)
        async with repeats.submitted(who.owner, request.headers.get(HEADER)) as submitted:
            old = submitted.job_id
            if old is None:
                await in_thread(service.admit)(who.client)
            async with uploads.receive(request, only_head=old is not None) as upload:
                fields = {**query, **upload.fields}
                if old is not None:
                    submitted.check(fields, upload)
                    job = await in_thread(job_of)(service, old)
                    return EarlyAnswer(await in_thread(_accepted)(job, request, **REPLAYED))
                job = await begin(fields, upload, who, submitted.bound(fields, upload))
                return await in_thread(_accepted)(job, request)


def _add_questions(router: APIRouter, service: JobService) -> None:
    in_thread = in_threads(READERS)

    @router.get("/jobs", response_model=JobListJson, responses=refusals())
    @in_thread
    def jobs(
        request: Request,
        text: Annotated[str, Query(max_length=200)] = "",
        state: Annotated[list[JobState] | None, Query()] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_LISTED)] = 50,
        offset: Annotated[int, Query(ge=0, le=MAX_OFFSET)] = 0,
    ) -> JSONResponse:
        """The caller's own jobs, newest first; ``total`` counts all that fit."""
        owner, root = identity_of(request).owner, root_of(request)
        found, total = service.find(owner, text, state or (), limit, offset)
        return json_answer({"jobs": [record_json(one, root) for one in found], "total": total})

    @router.get("/jobs/{job_id}", response_model=JobJson, responses=refusals(404))
    @in_thread
    def job(request: Request, job_id: str, text: bool = False) -> JSONResponse:
        """One job; with ``text=1`` also what was said so far."""
        view = job_of(service, job_id).view(text=text)
        return json_answer(job_json(view, root_of(request), text=text))

    @router.get("/jobs/{job_id}/history", response_model=HistoryJson, responses=refusals(404))
    @in_thread
    def history(job_id: str) -> JSONResponse:
        """What happened to a job, oldest first."""
        job_of(service, job_id)
        return json_answer({"history": [history_json(one) for one in service.history(job_id)]})


def _add_changes(router: APIRouter, service: JobService) -> None:
    in_thread = in_threads(SUBMITTERS)

    @router.post("/jobs/{job_id}/cancel", response_model=JobJson, responses=refusals(404))
    @in_thread
    def cancel(request: Request, job_id: str) -> JSONResponse:
        """Stop a job; it ends within two seconds. Nothing happens to one that has ended."""
        _check_owner(service, job_id, request)
        service.cancel(job_id)
        return json_answer(job_json(job_of(service, job_id).view(text=False), root_of(request)))

    @router.delete("/jobs/{job_id}", status_code=204, responses=refusals(404))
    @in_thread
    def delete(request: Request, job_id: str) -> Response:
        """Remove a job with its recording and its files; one that runs is cancelled first."""
        _check_owner(service, job_id, request)
        service.delete(job_id)
        return Response(status_code=204)

    @router.post(
        "/jobs/{job_id}/rerun",
        status_code=202,
        response_model=JobJson,
        responses=refusals(404, 415, 422, 429, 502, 507),
    )
    @in_thread
    def rerun(request: Request, job_id: str, options: RerunOptions | None = None) -> JSONResponse:
        """A new job over the same recording, with other options and no upload."""
        old, who = job_of(service, job_id).request, identity_of(request)
        wanted = request_of(options or RerunOptions(), old.path, old.title, who, service.settings)
        return _accepted(service.rerun(job_id, wanted), request)

    @router.post(
        "/jobs/{job_id}/retry-gaps",
        status_code=202,
        response_model=JobJson,
        responses=refusals(404, 415, 422, 429, 502, 507),
    )
    @in_thread
    def retry_gaps(
        request: Request, job_id: str, options: GapOptions | None = None
    ) -> JSONResponse:
        """Decode the gaps of a finished job again, and nothing else."""
        wanted = options or GapOptions()
        _check_owner(service, job_id, request)
        if wanted.model is not None:
            check_offered(wanted.model, service.settings)
        job = service.retry_gaps(job_id, model=wanted.model, device=wanted.device)
        return _accepted(job, request)


def _add_models(router: APIRouter, service: JobService) -> None:
    @router.post("/models/unload", response_model=UnloadedJson, responses=refusals())
    @in_threads(SUBMITTERS)
    def unload(request: Request) -> JSONResponse:
        """Free the memory of idle models: what became of each device's; ``devices`` is empty
        before the first job. Running work is never touched, but the next job waits for the load:
        on a service that is open to everyone only API keys may ask."""
        if identity_of(request).unknown:
            raise Refused(
                403,
                "NotAllowed",
                "Only logged-in users and programs with an API key may unload models.",
                "Send a key as: Authorization: Bearer KEY.",
            )
        devices = [asdict(each) for each in service.engines.unload()]
        freed_mib = sum(each["freed_mib"] or 0.0 for each in devices)
        return json_answer({"devices": devices, "freed_mib": freed_mib})


def _accepted(job: JobHandle, request: Request, **headers: str) -> JSONResponse:
    root = root_of(request)
    body = job_json(job.view(text=False), root)
    return json_answer(body, 202, Location=f"{root}/api/jobs/{job.id}", **headers)
