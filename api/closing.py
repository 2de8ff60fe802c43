"""Let go of open pages when the server stops.

A page holds a stream open for as long as it is looked at. A stopping server waits for such
streams, then cancels them with a traceback each. Told that their reader is gone, they end by
themselves and at once.
"""

from __future__ import annotations

import asyncio

from api.asgi import Application, Message, Receive, Scope, Send


class Closing:
    """An ASGI application around another one. Call :meth:`close` in the server's event loop."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._closed = asyncio.Event()

    def close(self) -> None:
        """From now on every reader is gone."""
        self._closed.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Streams are read with GET; an upload is left alone, and as fast as before.
        if scope["type"] != "http" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        started = ended = False

        async def watched_send(message: Message) -> None:
            nonlocal started, ended
            started = started or message["type"] == "http.response.start"
            ended = message["type"] == "http.response.body" and not message.get("more_body")
            await send(message)

        async def watched_receive() -> Message:
            return await self._unless_closed(receive)

        await self._app(scope, watched_receive, watched_send)
        if started and not ended and self._closed.is_set():
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _unless_closed(self, receive: Receive) -> Message:
        message = asyncio.ensure_future(receive())
        closed = asyncio.ensure_future(self._closed.wait())
        try:
            await asyncio.wait((message, closed), return_when=asyncio.FIRST_COMPLETED)
            return message.result() if message.done() else {"type": "http.disconnect"}
        finally:
            for task in (message, closed):
                task.cancel()
            await asyncio.gather(message, closed, return_exceptions=True)
