"""Which of Gradio's routes can be reached: those that our page and ``gradio_client`` use.

Gradio brings dozens of routes: a proxy for other servers, a video converter, an editor of the app's
own source, dashboards. Most are off or safe in the pinned version; here they do not exist, whatever
a later version adds or enables.

Uploads to the page are accepted only while the disk has space. Gradio itself stops a file that is
too large, but leaves the parts of a broken upload behind unless it sees an error of its own kind.
"""

from __future__ import annotations

import re

import anyio.to_thread
from fastapi.responses import PlainTextResponse, Response
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartException
from starlette.requests import HTTPConnection

from api.asgi import Application, Message, Receive, Scope, Send, answer_early, path_of
from api.errors import Refused, status_of
from api.uploads import LOOK_AT_DISK_BYTES, declared_bytes
from core.errors import SubtitleError
from jobs.admission import Admission

UPLOAD = "/gradio_api/upload"

_OURS = re.compile(
    r"/(health|ready|login|logout|api/(jobs|endpoints)(/.*)?|api/models/unload|api/openapi\.json"
    r"|jobs/.+|v1/.+|asr|detect-language|metrics|mcp)"
)

_PAGE = re.compile(
    r"/|/config/?|/theme\.css|/favicon\.ico|/manifest\.json|/robots\.txt"
    r"|/(assets|static|svelte)/.+"
)

_GRADIO_API = re.compile(
    r"/gradio_api/("
    r"upload|upload_progress|info/?|app_id/?|login_check/?|user/?|startup-events|theme\.css"
    r"|queue/(join|data|status)|call/(v2/)?process_audio(/.*)?|heartbeat/[^/]+|cancel|reset/?"
    # Not an address of another server: Gradio would fetch it for any client.
    r"|file=(?!\w+:).+"
    r")"
)


class PageGuard:
    """ASGI middleware between the access check and the routes."""

    def __init__(self, app: Application, admission: Admission) -> None:
        self._app = app
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        path = path_of(connection)
        if not any(known.fullmatch(path) for known in (_OURS, _PAGE, _GRADIO_API)):
            nothing = Refused(404, "NotFound", "There is nothing at this address.")
            await answer_early(nothing.answer(connection), scope, receive, send)
        elif path == UPLOAD:
            await self._upload(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        expected = declared_bytes(Headers(scope=scope).get("content-length"))
        refused = await self._no_room(expected)
        if refused is not None:
            await answer_early(refused, scope, receive, send)
            return
        received = looked_at = 0

        async def watched_receive() -> Message:
            nonlocal received, looked_at, refused
            message = await receive()
            if message["type"] == "http.disconnect":
                raise MultiPartException("The upload was interrupted.")
            received += len(message.get("body", b""))
            if received - looked_at >= LOOK_AT_DISK_BYTES:
                looked_at = received
                refused = await self._no_room(0)
                if refused is not None:
                    raise MultiPartException("There is not enough disk space for the upload.")
            return message

        async def watched_send(message: Message) -> None:
            if refused is None:
                await send(message)

        await self._app(scope, watched_receive, watched_send)
        if refused is not None:
            await answer_early(refused, scope, receive, send)

    async def _no_room(self, expected: int) -> Response | None:
        """Why the upload cannot go on, in the plain text that Gradio's page shows."""
        try:
            await anyio.to_thread.run_sync(self._admission.check_disk, expected)
        except SubtitleError as error:
            return PlainTextResponse(error.explain(), status_of(error))
        return None
