"""The web server, and how it stops: no new jobs at once, then the work, then itself.

first signal    submitting answers 503 with Retry-After, pages go on showing their jobs while
                running segments are finished; jobs are paused, and the server ends
second signal   jobs are paused now, without waiting for their segments
third signal    the server ends as it stands; the journal has what was finished
"""

from __future__ import annotations

import logging
import socket
import threading
from types import FrameType

import uvicorn

from api.asgi import Application
from api.closing import Closing
from core.settings import Settings
from jobs.service import JobService

log = logging.getLogger(__name__)

ANSWERS_S = 2
"""Longest wait for answers that are being sent when the server ends."""

KEEP_ALIVE_S = 75
"""Longer than proxies keep a connection (nginx: 60 s), so that the proxy ends it and retries."""

STOP_S = 10.0
"""Longest wait for the service of a server that was told to end at once."""


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
        """A signal. The work is done in threads: this interrupts whatever the server does."""
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
