"""What an error means over HTTP: one status for each class, one form of the answer.

    {"error": {"type": "QueueFull", "message": "…", "hint": "…"}}

Unexpected errors answer 500 without details; the log has them in full.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection

from api.asgi import EarlyAnswer
from api.openai_errors import openai_answer, speaks_openai
from core import errors
from core.errors import SubtitleError

STATUS: dict[type[SubtitleError], int] = {
    errors.SubtitleError: 500,
    errors.InputError: 400,
    errors.FileMissing: 404,
    errors.NoSuchJob: 404,
    errors.NoSuchEndpoint: 404,
    errors.UnreadableMedia: 415,
    errors.NoAudioTrack: 422,
    errors.EncryptedMedia: 422,
    errors.MediaLimitExceeded: 413,
    errors.DownloadRefused: 403,
    errors.DownloadFailed: 502,
    errors.InvalidOption: 400,
    errors.ModelError: 422,
    errors.ComputeTypeUnsupported: 422,
    errors.CapacityError: 503,
    errors.QueueFull: 503,
    errors.ClientLimit: 429,
    errors.DiskFull: 507,
    errors.DatabaseUnavailable: 503,
    # The request was good and may be sent again; 500 is kept for unexpected errors.
    errors.WorkerError: 503,
    errors.WorkerCrashed: 503,
    errors.DeviceUnavailable: 503,
    errors.EndpointFailed: 503,
    errors.EndpointBusy: 503,
    errors.EndpointRefused: 502,
    errors.OutOfMemory: 503,
    errors.Cancelled: 409,
    errors.Paused: 503,
}

PAUSED_RETRY_S = 30
"""A service that stops is usually started again at once, and then loads its model."""

WORKER_RETRY_S = 60
"""Devices that failed, or whose memory was taken, are tried again by themselves."""


class Refused(Exception):
    """A refusal that is not a job's error: missing permission, or a rule of HTTP."""

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        hint: str = "",
        *,
        param: str | None = None,
        **headers: str,
    ) -> None:
        """``param``: the field of the request that is wrong, where it is one."""
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message
        self.hint = hint
        self.param = param
        self.headers = headers

    def answer(self, request: HTTPConnection | None = None) -> JSONResponse:
        body = {"type": self.kind, "message": self.message, "hint": self.hint}
        return _answer(request, self.status, body, self.headers, self.param)


def answer(error: SubtitleError, request: HTTPConnection | None = None) -> JSONResponse:
    """The answer to a request that failed with that error."""
    wait_s = retry_after_s(error)
    headers = {} if wait_s is None else {"Retry_After": str(wait_s)}
    return _answer(request, status_of(error), error_body(error), headers)


def _answer(
    request: HTTPConnection | None,
    status: int,
    body: Mapping[str, str],
    headers: Mapping[str, str],
    param: str | None = None,
) -> JSONResponse:
    """In the form of the protocol that the request speaks; ours where there is none."""
    if request is not None and speaks_openai(request):
        status, openai_body, more = openai_answer(status, body, param)
        return json_answer(openai_body, status, **{**headers, **more})
    return json_answer({"error": body}, status, **headers)


def status_of(error: SubtitleError) -> int:
    """The status of the error's class, or of the nearest above it."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def retry_after_s(error: SubtitleError) -> int | None:
    """When it is worth trying again, if that can be said."""
    if isinstance(error, errors.Paused):
        return PAUSED_RETRY_S
    if isinstance(error, errors.EndpointRefused):
        return None
    if isinstance(error, errors.WorkerError):
        return WORKER_RETRY_S
    return getattr(error, "retry_after_s", None)


def error_body(error: SubtitleError) -> dict[str, str]:
    return {"type": type(error).__name__, "message": error.message, "hint": error.hint}


def add_handlers(app: FastAPI) -> None:
    """Let every route of the app raise errors and be answered as above."""

    @app.exception_handler(SubtitleError)
    async def known(request: Request, error: SubtitleError) -> Response:
        return EarlyAnswer(answer(error, request))

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> Response:
        return EarlyAnswer(error.answer(request))

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, __: ClientDisconnect) -> Response:
        # The client does not see this.
        return Response(status_code=400)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        wrong = [
            f"{'.'.join(map(str, one['loc'][1:])) or 'body'}: {one['msg']}"
            for one in error.errors()
        ]
        return answer(errors.InvalidOption(f"{'; '.join(wrong)}."), request)

    @app.exception_handler(HTTPException)
    async def by_the_framework(request: Request, error: HTTPException) -> Response:
        """A wrong method, or a body that is no JSON."""
        kind = HTTPStatus(error.status_code).phrase.title().replace(" ", "")
        headers = {name.replace("-", "_"): text for name, text in (error.headers or {}).items()}
        refused = Refused(error.status_code, kind, error.detail, "", **headers)
        return EarlyAnswer(refused.answer(request))

    # Starlette answers with this and then raises the error again, for the server to log.
    @app.exception_handler(Exception)
    async def unexpected(request: Request, _: Exception) -> JSONResponse:
        body = {
            "type": "InternalError",
            "message": "Something went wrong inside the service.",
            "hint": "Its log has the details.",
        }
        return _answer(request, 500, body, {})


def json_answer(body: Mapping[str, Any], status: int = 200, **headers: str) -> JSONResponse:
    """An answer that nothing between us and the client may keep. ``headers``: with ``_`` for
    ``-``."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return JSONResponse(body, status, headers={"Cache-Control": "no-store", **named})
