"""Answers that wait: a request brings a recording, and what its job makes of it is the answer.

    request ─► JobAnswers.answer ─► uploaded, submitted ─► JobAnswer ─► follows the job to its end

It is a job like any other, named in the header ``X-Job-Id``. A client that hangs up cancels it
unless it has asked for it to go on.

An error is a status as long as nothing was sent. Some answers begin before their job has ended,
because programs and proxies give up on a server that is silent for long; what fails after that
breaks the answer off, so that the client sees an error and never takes a part for the whole.
"""

from __future__ import annotations

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import aclosing

from fastapi import Request
from fastapi.responses import Response
from starlette.requests import HTTPConnection

from access.identity import identity_of
from api.asgi import Receive, Scope, Send, in_threads
from api.errors import Refused, answer
from api.following import follow
from api.job_options import RerunOptions, request_of
from api.upload_body import Upload
from api.uploads import Uploads
from core.errors import (
    Cancelled,
    DeviceUnavailable,
    FileMissing,
    Paused,
    SubtitleError,
    WorkerError,
)
from jobs.job import JobHandle
from jobs.records import JobView
from jobs.service import JobService
from jobs.states import JobState

log = logging.getLogger(__name__)

JOB_ID = "X-Job-Id"
ON_DISCONNECT = "X-Job-On-Disconnect"
"""A request's header: ``cancel`` or ``continue``."""

QUIET_S = 10.0
"""An answer that may begin early begins after this time, and then sends something as often."""

SUBMITTERS = 8


class JobBody(ABC):
    """What the answer says of the job. One object for one answer."""

    media_type = "text/plain"
    padding = b""
    """Sent while there is nothing to say; empty: the answer waits for the job's end."""
    needs_text = False
    """Whether :meth:`part` and :meth:`end` look at what was said so far."""
    keeps_job = True
    """Off: the job was only a means, and is deleted."""

    def begin(self) -> bytes:
        """What an answer that begins early begins with; called once."""
        return b""

    def part(self, view: JobView) -> bytes:
        """What is new while the job runs."""
        return b""

    def enough(self, view: JobView) -> bool:
        """Whether the rest can be said now."""
        return not view.state.active

    @abstractmethod
    def end(self, view: JobView) -> bytes:
        """What is still to be said. It may read files. Raises SubtitleError."""

    def failed(self, error: SubtitleError) -> bytes | None:
        """How an answer that has begun says that the job failed; None: it is broken off."""
        return None


def output_of(view: JobView, format_name: str) -> bytes:
    """A finished job's file. Raises FileMissing."""
    try:
        return view.outputs[format_name].read_bytes()
    except (KeyError, FileNotFoundError) as error:
        raise FileMissing("The subtitles have been removed.") from error


def error_of(view: JobView) -> SubtitleError | None:
    """Why the job gave no result; None while it runs, and where it gave one."""
    if view.state.active or view.state in (JobState.COMPLETE, JobState.COMPLETE_WITH_GAPS):
        return None
    if view.state is JobState.PAUSED:
        return Paused()
    return view.error or (
        Cancelled() if view.state is JobState.CANCELLED else WorkerError(view.message)
    )


class JobAnswers:
    """Makes jobs of requests, and answers of jobs."""

    def __init__(self, service: JobService, uploads: Uploads) -> None:
        self.service = service
        self._uploads = uploads
        self.in_thread = in_threads(SUBMITTERS)

    def no_device(self) -> DeviceUnavailable | None:
        """Why nothing works on jobs now, though they may wait; None while something does, or will
        at the first job. Cheap."""
        health = self.service.health()
        if health.workers and all(worker.state == "retired" for worker in health.workers):
            return DeviceUnavailable(health.reason, hint="Devices are tried again by themselves.")
        return None

    def forget(self, job: JobHandle) -> None:
        """Delete a job that nobody needs any more."""
        try:
            self.service.delete(job.id)
        except SubtitleError as error:
            # It ends like any other, and is removed with the old ones.
            log.info("The job is not deleted: %s", error.message, extra={"job": job.id})

    async def answer(
        self,
        request: Request,
        wanted: Callable[[Upload], tuple[RerunOptions, JobBody]],
        *,
        prefix: bytes = b"",
        name: str | None = None,
    ) -> JobAnswer:
        """Take the recording of a request and begin its job.

        Args:
            wanted: the job that the fields of the form ask for, and its answer; on a thread.
            prefix: what the recording lacks at its beginning.
            name: the recording's name; None: as in the form.

        Raises whatever refuses the request.
        """
        goes_on = _goes_on(request)
        who, settings = identity_of(request), self.service.settings

        def begin(upload: Upload) -> tuple[JobHandle, JobBody]:
            if upload.path is None:
                raise Refused(400, "InvalidOption", "No recording was sent.", param="file")
            options, body = wanted(upload)
            title = name or upload.name or None
            job = request_of(options, upload.path, title, who, settings)
            return self.service.submit(job), body

        # Refuse before gigabytes arrive.
        await self.in_thread(self.service.admit)(who.client)
        if (error := self.no_device()) is not None:
            raise error
        async with self._uploads.receive(request, prefix=prefix) as upload:
            job, body = await self.in_thread(begin)(upload)
        return JobAnswer(self, job, body, goes_on=goes_on)


class JobAnswer(Response):
    """The answer to a request whose job has just begun."""

    def __init__(
        self, answers: JobAnswers, job: JobHandle, body: JobBody, *, goes_on: bool
    ) -> None:
        headers = {JOB_ID: job.id, "Cache-Control": "no-store"}
        super().__init__(headers=headers, media_type=body.media_type)
        self._answers = answers
        self._job = job
        self._body = body
        self._goes_on = goes_on
        self._begun = False
        """Something was sent, and what fails now is no status any more."""
        self._gone = False
        """Nobody listens."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        listening = None
        if not self._goes_on:
            listening = asyncio.ensure_future(self._cancel_on_hang_up(receive))
        try:
            await self._answer(scope, receive, send)
        finally:
            if listening is not None:
                listening.cancel()
            if not self._body.keeps_job:
                await self._answers.in_thread(self._answers.forget)(self._job)

    async def _cancel_on_hang_up(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        log.info("The client has gone: the job is cancelled", extra={"job": self._job.id})
        await self._answers.in_thread(self._job.cancel)()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            view = await self._follow(send)
            rest = await self._answers.in_thread(self._body.end)(view)
        except SubtitleError as error:
            await self._fail(error, scope, receive, send)
            return
        if self._begun:
            await send({"type": "http.response.body", "body": rest, "more_body": False})
            return
        self.headers["Content-Length"] = str(len(rest))
        self.body = rest
        await super().__call__(scope, receive, send)

    async def _follow(self, send: Send) -> JobView:
        """Send what can be sent before the end; the job as it is when the rest can be said.

        Raises the SubtitleError for which there is none.
        """
        body, spoke_s = self._body, time.monotonic()
        followed = follow(self._job, text=body.needs_text, quiet_s=QUIET_S / 2)
        async with aclosing(followed) as views:
            async for view in views:
                if body.enough(view):
                    break
                if not self._begun and (error := self._answers.no_device()) is not None:
                    if not self._goes_on:
                        await self._answers.in_thread(self._job.cancel)()
                    raise error
                part = body.part(view)
                if not part and time.monotonic() - spoke_s >= QUIET_S:
                    part = body.padding
                if part:
                    await self._send_part(part, send)
                    spoke_s = time.monotonic()
        if (failure := error_of(view)) is not None:
            raise failure
        return view

    async def _send_part(self, part: bytes, send: Send) -> None:
        if not self._begun:
            self._begun = True
            del self.headers["Content-Length"]
            # A proxy that collects what is sent would make a silence of it.
            self.headers["X-Accel-Buffering"] = "no"
            headers = self.raw_headers
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            part = self._body.begin() + part
        await send({"type": "http.response.body", "body": part, "more_body": True})

    async def _fail(self, error: SubtitleError, scope: Scope, receive: Receive, send: Send) -> None:
        if self._gone:
            return
        if not self._begun:
            made = answer(error, HTTPConnection(scope))
            made.headers[JOB_ID] = self._job.id
            await made(scope, receive, send)
            return
        about = {"job": self._job.id}
        log.warning("The answer is broken off: %s", error.explain(), extra=about)
        last = self._body.failed(error)
        if last is not None:
            await send({"type": "http.response.body", "body": last, "more_body": False})
        # Without this end the server closes the connection in the middle of the answer.


def _goes_on(request: Request) -> bool:
    asked = request.headers.get(ON_DISCONNECT, "cancel").strip().lower()
    if asked not in ("cancel", "continue"):
        raise Refused(
            400,
            "InvalidOption",
            f"{ON_DISCONNECT} must be cancel or continue, not {asked!r}.",
            param=ON_DISCONNECT,
        )
    return asked == "continue"
