"""Gradio's stream of events to a page, which ends a little later than Gradio would end it.

Gradio ends the stream when the page's last event has been answered, and the page opens another with
its next event. An event that is sent at just that moment belongs to neither: the page believes the
stream open, and waits for its answer for ever. So the end is held back; where an event comes
meanwhile, the stream goes on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from urllib.parse import parse_qs

from starlette.requests import HTTPConnection

from api.asgi import Application, Message, Receive, Scope, Send, path_of

STREAM = "/gradio_api/queue/data"

HOLD_S = 2.0
"""A page's events come in bursts; the next one after that is hardly sent at that very moment."""

LOOK_EVERY_S = 0.05

_END = b'data: {"msg":"close_stream"'


class PageStreams:
    """ASGI middleware."""

    def __init__(self, app: Application, waits: Callable[[str], bool]) -> None:
        """``waits``: whether an event of the session with that id has not been answered."""
        self._app = app
        self._waits = waits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or path_of(HTTPConnection(scope)) != STREAM:
            await self._app(scope, receive, send)
            return
        session = parse_qs(scope["query_string"].decode("latin-1")).get("session_hash", [""])[0]
        begun = False
        end: Message | None = None

        async def pass_on(message: Message) -> None:
            nonlocal begun, end
            if message.get("body", b"").startswith(_END):
                end = message
            elif message["type"] == "http.response.start" and begun:
                return
            elif end is None:
                begun = True
                await send(message)

        while True:
            await self._app({**scope}, receive, pass_on)
            if end is None:
                return
            if not await self._goes_on(session):
                await send({**end, "more_body": False})
                return
            end = None

    async def _goes_on(self, session: str) -> bool:
        until = time.monotonic() + HOLD_S
        while not self._waits(session):
            if time.monotonic() >= until:
                return False
            await asyncio.sleep(LOOK_EVERY_S)
        return True
