"""The web server, and how it stops.

first signal    submitting answers 503 with Retry-After, pages go on showing their jobs while
                running segments are finished; jobs are paused, and the server ends
second signal   jobs are paused now, without waiting for their segments
third signal    the server ends as it stands; the journal has what was finished
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from types import FrameType

import uvicorn
from starlette.exceptions import HTTPException

from api.asgi import Application, Message, Receive, Scope, Send
from core.settings import Settings
from jobs.service import JobService

log = logging.getLogger(__name__)

ANSWERS_S = 2
"""Longest wait for answers that are being sent when the server ends."""

KEEP_ALIVE_S = 75
"""Longer than proxies keep a connection (nginx: 60 s), so that the proxy ends it and retries."""

STOP_S = 10.0
"""Longest wait for the job service when the server is forced to end."""


class Closing:
    """ASGI middleware that ends streams properly: when the server stops, and when Gradio has lost
    the session of a page that was loaded again.

    An open page holds a stream open. A stopping server waits for such
    streams, then cancels them with a traceback each. Told that their reader is gone, they end by
    themselves and at once. Call :meth:`close` in the server's event loop.
    """

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

        refused = False
        try:
            await self._app(scope, watched_receive, watched_send)
        except HTTPException as error:
            if not started:
                raise
            # Gradio says so in the stream itself, and the page opens another.
            refused = True
            log.debug("A stream ended early: %s", error.detail)
        if started and not ended and (refused or self._closed.is_set()):
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _unless_closed(self, receive: Receive) -> Message:
        message = asyncio.ensure_future(receive())
        closed = asyncio.ensure_future(self._closed.wait())
        try:
            await asyncio.wait((message, closed), return_when=asyncio.FIRST_COMPLETED)
            return message.result() if message.done() else {"type": "http.disconnect"}
        finally:
            # Not waited for: a cancellation that comes during that wait would lose its sender, and
            # the framework, which then does not know it for its own, would log a traceback.
            message.cancel()
            closed.cancel()


class Server(uvicorn.Server):
    """Serves one app over one job service, and closes the service."""

    def __init__(self, app: Application, service: JobService, settings: Settings) -> None:
        self._app = Closing(app)
        self._service = service
        self._signals = 0
        self._stopping = threading.Thread(target=self._stop, name="stop", daemon=True)
        super().__init__(
            uvicorn.Config(
                self._app,
                host=settings.host,
                port=settings.port,
                log_config=None,
                access_log=False,
                http="h11",
                # Nothing here uses it.
                ws="none",
                # Done in the app (api.proxies), where tests of the app see it too.
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=ANSWERS_S,
            )
        )

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called for a signal. It interrupts whatever the server does, so threads do the work."""
        self._signals += 1
        if self._signals == 1:
            self._stopping.start()
        elif self._signals == 2:
            threading.Thread(target=self._hurry, name="hurry", daemon=True).start()
        else:
            self.force_exit = self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.close()
        await super().shutdown(sockets)

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        super().run(sockets)
        if self._signals:
            self._stopping.join(STOP_S)

    def _stop(self) -> None:
        log.info("Stopping: no new jobs; segments in progress are finished")
        try:
            self._service.close()
        except Exception:
            log.exception("The job service did not stop cleanly")
        finally:
            self.should_exit = True

    def _hurry(self) -> None:
        log.info("Stopping now")
        self._service.hurry()
