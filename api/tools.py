"""``/mcp``: the job service as tools of the Model Context Protocol, for assistants.

    transcribe   a link, or a short recording, becomes a job
    job          how it is doing, waited for on request
    subtitles    what was said, in any format

Behind the same login as everything else: each request is one session of its own, with the identity
that the access check has found. Gradio has a switch for this, which is off. It would call the app
back at an address that the first caller's headers name, as one client for everybody, and send along
the API keys of all later callers; and it fetches files from wherever a tool's argument says.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
import secrets
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.routing import Route

from access.identity import Identity, identity_of
from api.asgi import Receive, Scope, Send, in_threads, root_of
from api.errors import Refused
from api.following import ended
from api.job_options import Submission, submission_of
from api.job_views import job_json
from api.jobs import job_of
from api.openapi import option_properties
from api.upload_body import recording_name
from core.errors import InvalidOption, SubtitleError
from jobs.folders import in_use
from jobs.folders import recording_name as stored_name
from jobs.options import read_options
from jobs.results import subtitles_of
from jobs.service import JobService

if TYPE_CHECKING:
    from mcp import types
    from mcp.server.lowlevel import Server

log = logging.getLogger(__name__)

THREADS = 8
LONGEST_WAIT_S = 60

_JOB = {"type": "string", "description": "The id of a job."}


def tools_route(service: JobService) -> Route:
    return Route("/mcp", endpoint=ToolServer(service), methods=["POST"], include_in_schema=False)


class ToolServer:
    """ASGI application. The protocol's package is loaded with the first request: it takes a second,
    which no start has to wait for."""

    def __init__(self, service: JobService) -> None:
        self._service = service
        self._server: Server[Any, Any] | None = None
        self._in_thread = in_threads(THREADS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._server is None:
            self._server = await self._in_thread(self._made)()
        from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

        manager = StreamableHTTPSessionManager(self._server, json_response=True, stateless=True)
        async with manager.run():
            await manager.handle_request(scope, receive, send)

    def _made(self) -> Server[Any, Any]:
        from mcp import types
        from mcp.server.lowlevel import Server

        server: Server[Any, Any] = Server("whisper-for-subs")

        @server.list_tools()  # type: ignore[no-untyped-call, untyped-decorator]
        async def tools() -> list[types.Tool]:
            return [types.Tool(**tool) for tool in descriptions()]

        @server.call_tool()  # type: ignore[untyped-decorator]
        async def call(name: str, arguments: dict[str, Any]) -> types.CallToolResult:
            request = server.request_context.request
            assert isinstance(request, Request)
            text, failed = await self._call(name, arguments, request)
            content = types.TextContent(type="text", text=text)
            return types.CallToolResult(content=[content], isError=failed)

        return server

    async def _call(
        self, name: str, arguments: dict[str, Any], request: Request
    ) -> tuple[str, bool]:
        """The text of the answer, and whether it is an error."""
        try:
            if name == "transcribe":
                who, root = identity_of(request), root_of(request)
                return await self._in_thread(self._transcribe)(arguments, who, root), False
            if name == "job":
                return await self._job(arguments, root_of(request)), False
            if name == "subtitles":
                return await self._in_thread(self._subtitles)(arguments), False
            raise InvalidOption(f"There is no tool {name!r}.")
        except SubtitleError as error:
            return error.explain(), True
        except Refused as refused:
            return f"{refused.message} {refused.hint}".strip(), True
        except Exception:
            # The protocol would send the details to the caller.
            log.exception("The tool %s failed", name)
            return "Something went wrong inside the service. Its log has the details.", True

    def _transcribe(self, arguments: dict[str, Any], who: Identity, root: str) -> str:
        audio = arguments.pop("audio", None)
        wanted = read_options(arguments, Submission)
        if (audio is None) == (wanted.url is None):
            raise InvalidOption("Send either url or audio.")
        service = self._service
        service.admit(who.client)
        if audio is None:
            job = service.submit(submission_of(wanted, None, None, who, service.settings))
        else:
            name = recording_name(wanted.name or "recording")
            folder = service.folders.incoming / secrets.token_hex(12)
            try:
                folder.mkdir(parents=True)
                with in_use(folder):
                    path = folder / stored_name(name)
                    path.write_bytes(_decoded(audio))
                    job = service.submit(submission_of(wanted, path, name, who, service.settings))
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        return json.dumps(job_json(job.view(text=False), root))

    async def _job(self, arguments: dict[str, Any], root: str) -> str:
        job = await self._in_thread(job_of)(self._service, arguments["id"])
        with suppress(TimeoutError):
            async with asyncio.timeout(arguments.get("wait_s", 0)):
                await ended(job)
        view = await self._in_thread(lambda: job.view(text=False))()
        return json.dumps(job_json(view, root))

    def _subtitles(self, arguments: dict[str, Any]) -> str:
        job = job_of(self._service, arguments["id"])
        found = subtitles_of(job, self._service.folders, arguments.get("format", "srt"))
        return found.content.decode()


def _decoded(audio: str) -> bytes:
    try:
        return base64.b64decode(audio, validate=True)
    except binascii.Error as error:
        raise InvalidOption(f"The audio is not base64: {error}.") from error


def descriptions() -> list[dict[str, Any]]:
    """The tools as the protocol describes them."""
    audio = {
        "type": "string",
        "contentEncoding": "base64",
        "description": "A recording of at most 3 MB in base64, instead of url. Larger ones are"
        " uploaded to POST /api/jobs.",
    }
    wait = {
        "type": "number",
        "minimum": 0,
        "maximum": LONGEST_WAIT_S,
        "description": "Longest time in seconds to wait for the job's end.",
    }
    format_name = {
        "type": "string",
        "enum": ["srt", "vtt", "txt", "tsv", "json"],
        "description": "srt if left out.",
    }
    return [
        _tool(
            "transcribe",
            "Make subtitles of a recording: a link to audio or video, or a short recording itself."
            " Answers at once with the job, whose id the other tools take.",
            {**option_properties(Submission), "audio": audio},
        ),
        _tool(
            "job",
            "How a job is doing: its state, progress, gaps and error.",
            {"id": _JOB, "wait_s": wait},
            "id",
        ),
        _tool(
            "subtitles",
            "The subtitles of a job that has ended.",
            {"id": _JOB, "format": format_name},
            "id",
        ),
    ]


def _tool(name: str, description: str, properties: Any, *required: str) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }
    return {"name": name, "description": description, "inputSchema": schema}
