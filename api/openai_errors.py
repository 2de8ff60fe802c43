"""Errors as OpenAI's clients read them: one form of the body, and the statuses they know.

{"error": {"message": "…", "type": "invalid_request_error", "param": null, "code": "…"}}
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from starlette.requests import HTTPConnection

from api.asgi import path_of

_STATUS = {415: 400, 422: 400, 507: 503}
"""Statuses that OpenAI does not use, and what it says instead."""

_TYPE = {429: "rate_limit_error"}

_CODE = {"LoginNeeded": "invalid_api_key", "ClientLimit": "rate_limit_exceeded"}
"""Names of OpenAI's for kinds of ours; others are ours: ``UnreadableMedia`` is
``unreadable_media``."""


def speaks_openai(request: HTTPConnection) -> bool:
    """Whether the request is one of OpenAI's protocol."""
    return path_of(request).startswith("/v1/")


def openai_error(status: int, body: Mapping[str, str], param: str | None = None) -> dict[str, Any]:
    """The value of ``error``, from the body that ``api.errors`` gives other programs."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    code = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", body["type"]).lower()
    return {
        "message": f"{body['message']} {body['hint']}".strip(),
        "type": _TYPE.get(status, kind),
        "param": param,
        "code": _CODE.get(body["type"], code),
    }


def openai_answer(
    status: int, body: Mapping[str, str], param: str | None
) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Status, body and further headers (with ``_`` for ``-``) of an answer."""
    # Its clients send what answers 409 again; a job that was cancelled must stay so.
    headers = {"X_Should_Retry": "false"} if status == 409 else {}
    status = _STATUS.get(status, status)
    return status, {"error": openai_error(status, body, param)}, headers
