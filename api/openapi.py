"""``/api/openapi.json``: what the API takes and answers, for programs that write clients.

FastAPI makes it of the routes, whoever adds them; Gradio's are not among them. What a route reads
by itself from a stream stands here: the options come from their models.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from api.asgi import root_of
from api.errors import json_answer
from api.job_answers import JOB_ID
from api.job_options import AddressOptions, Submission
from api.schemas import EXAMPLE_JOB
from jobs.endpoint_rows import AsrConfig

_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "A request that is sent again with the same key makes no second job, and is"
    " answered with the first one's; a random UUID is best.",
    "schema": {"type": "string", "pattern": "^[!-~]{1,200}$"},
    "example": "4f6c1f5e-5d3c-4a7e-9a53-0a8f1a7f7c11",
}

_RECORDING = {
    "type": "string",
    "contentMediaType": "application/octet-stream",
    "description": "The recording.",
}

_SPOKEN = {
    "type": "object",
    "properties": {"text": {"type": "string"}},
    "required": ["text"],
    "description": "verbose_json adds task, language, duration, words and segments.",
}


def option_properties(kind: type[BaseModel]) -> dict[str, Any]:
    """The options as JSON Schema, each once: an option that is left open is left out."""
    found: dict[str, Any] = kind.model_json_schema()["properties"]
    for name, option in found.items():
        choices = option.pop("anyOf", [])
        for choice in choices:
            if choice.get("type") != "null":
                option.update(choice)
        if option.get("default") is None:
            option.pop("default", None)
        option["description"] = option.get("description", "").replace("\n", " ")
        if name == "formats":
            # As an address and a form say it.
            option.pop("items")
            option.update(type="string", default="srt", examples=["srt,vtt"])
    return found


def submit_operation() -> dict[str, Any]:
    """Parameters and bodies of ``POST /api/jobs``."""
    options, fields = option_properties(AddressOptions), option_properties(Submission)
    query = {**options, "name": fields["name"]}
    form = {
        "type": "object",
        "properties": {"file": _RECORDING, **fields},
        "additionalProperties": False,
        "anyOf": [{"required": ["file"]}, {"required": ["url"]}],
    }
    link = {
        "type": "object",
        "properties": fields,
        "required": ["url"],
        "additionalProperties": False,
    }
    return {
        "parameters": [
            _KEY,
            *(
                {
                    "name": name,
                    "in": "query",
                    "description": option["description"],
                    "schema": {k: v for k, v in option.items() if k != "description"},
                }
                for name, option in query.items()
            ),
        ],
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": form},
                "application/json": {
                    "schema": link,
                    "example": {"url": "https://youtu.be/ID", "formats": "srt,vtt"},
                },
                "application/octet-stream": {"schema": _RECORDING},
            },
        },
        "responses": {
            "202": {
                "headers": {
                    "Location": {"schema": {"type": "string"}, "description": "Of the job."},
                    "Idempotency-Replayed": {
                        "schema": {"type": "string", "const": "true"},
                        "description": "An earlier request with this key has made the job.",
                    },
                }
            }
        },
    }


def speech_operation(form: type[BaseModel]) -> dict[str, Any]:
    """Body and answer of OpenAI's routes, for a recording and the fields of the form."""
    fields = {
        f"{name}[]" if field["type"] == "array" else name: field
        for name, field in option_properties(form).items()
    }
    body = {
        "type": "object",
        "properties": {"file": _RECORDING, **fields},
        "required": ["file", "model"],
    }
    example = {"model": "whisper-1", "response_format": "srt"}
    text = {"type": "string"}
    return {
        "requestBody": {
            "required": True,
            "content": {"multipart/form-data": {"schema": body, "example": example}},
        },
        "responses": {
            "200": {
                "description": "In the format that was asked for.",
                "headers": {JOB_ID: {"schema": text, "description": "Id of the request's job."}},
                "content": {
                    "application/json": {"schema": _SPOKEN, "example": {"text": "Good evening."}},
                    "text/plain": {"schema": text},
                    "text/event-stream": {"schema": text},
                },
            }
        },
    }


def media_operation(*types: str) -> dict[str, Any]:
    """Body of the media servers' routes, and the types of their answers."""
    body = {
        "type": "object",
        "properties": {"audio_file": _RECORDING},
        "required": ["audio_file"],
    }
    content = {kind: {"schema": {"type": "string"}} for kind in types if kind != "application/json"}
    if "application/json" in types:
        content["application/json"] = {"schema": {"type": "object"}}
    return {
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": body}}},
        "responses": {"200": {"content": content}},
    }


def endpoint_fields(*, new: bool) -> dict[str, Any]:
    """The body by which a speech endpoint is set up or changed."""
    properties = AsrConfig.model_json_schema()["properties"]
    for field in properties.values():
        field["description"] = field.get("description", "").replace("\n", " ")
    example: dict[str, Any] = {
        "api_url": "http://10.0.5.4:8000/v1/audio/transcriptions",
        "model_name": "whisper-0",
    }
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if new:
        about = "By which jobs choose it; left out, it is made of the name."
        properties["id"] = {"type": "string", "description": about}
        schema["required"] = ["api_url"]
    else:
        example = {"is_active": True}
    content = {"schema": {**schema, "additionalProperties": False}, "example": example}
    return {"requestBody": {"required": True, "content": {"application/json": content}}}


def openapi_router(app: FastAPI, version: str) -> APIRouter:
    """The document of all routes that the app has when it is first asked for."""
    router = APIRouter()
    made: dict[str, Any] = {}

    @router.get("/api/openapi.json", include_in_schema=False)
    async def openapi(request: Request) -> JSONResponse:
        if not made:
            made.update(document(app, version))
        return json_answer({**made, "servers": [{"url": root_of(request) or "/"}]})

    return router


def document(app: FastAPI, version: str) -> dict[str, Any]:
    """The OpenAPI document of the app's own routes."""
    found = get_openapi(
        title="Whisper for Subs",
        version=version,
        description="Speech in, subtitles out. Every error has the same form, with a hint.",
        routes=app.routes,
    )
    for operations in found["paths"].values():
        for operation in operations.values():
            # The framework would answer so; here it is a 400 like every other wrong option.
            if "HTTPValidationError" in str(operation["responses"].get("422")):
                del operation["responses"]["422"]
            for status, answer in operation["responses"].items():
                if status in ("429", "503"):
                    answer["headers"] = {"Retry-After": {"schema": {"type": "string"}}}
    schemas = found["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    found["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    # Without a key where the service asks for no login.
    found["security"] = [{"key": []}, {}]
    found["webhooks"] = {"job.ended": {"post": _webhook()}}
    return found


def _webhook() -> dict[str, Any]:
    headers = {
        "X-Whisper-Event": "job.ended",
        "X-Whisper-Delivery": "The same however often the call is repeated.",
        "X-Whisper-Timestamp": "Seconds since 1970.",
        "X-Whisper-Signature": "sha256=, then HMAC-SHA256 of timestamp, full stop and body.",
    }
    reference = {"$ref": "#/components/schemas/JobJson"}
    return {
        "summary": "A job has ended",
        "operationId": "job_ended",
        "parameters": [
            {"name": name, "in": "header", "description": text, "schema": {"type": "string"}}
            for name, text in headers.items()
        ],
        "requestBody": {
            "content": {"application/json": {"schema": reference, "example": EXAMPLE_JOB}}
        },
        "responses": {
            "200": {"description": "Any 2xx: delivered."},
            "410": {"description": "So and with most other 4xx: not called again."},
        },
    }
