"""The web app: the Gradio page, health routes and files of jobs on one port.

    python app.py                 settings from the environment, http://127.0.0.1:7860

A spawned worker imports this file again as its main module, so nothing heavy is imported at the
top: Gradio and FastAPI cost a process seconds and 130 MB.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from typing import TYPE_CHECKING

from core.logs import setup_logging
from core.settings import Settings

if TYPE_CHECKING:
    from fastapi import FastAPI

    from jobs.service import JobService

log = logging.getLogger("app")

SHUTDOWN_GRACE_S = 2
"""Longest wait for answers that are being sent."""


def create_app(settings: Settings, service: JobService) -> FastAPI:
    """The app. The caller owns the service and closes it after the server has stopped."""
    # Gradio reads these where it is imported: uploads into the data directory, no calls home.
    uploads = settings.data_dir.resolve() / "uploads"
    uploads.mkdir(parents=True, exist_ok=True)
    os.environ["GRADIO_TEMP_DIR"] = str(uploads)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    import gradio as gr
    from fastapi import FastAPI

    from api.files import files_router
    from api.health import health_router
    from ui.page import build_page
    from ui.theme import CSS, theme

    app = FastAPI(title="Whisper for Subs", docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(health_router(service))
    app.include_router(files_router(service))
    gr.mount_gradio_app(
        app,
        build_page(settings, service),
        path="/",
        server_name=settings.host,
        server_port=settings.port,
        theme=theme(),
        css_paths=CSS,
        max_file_size=f"{settings.max_upload_mib}mb",
        # Details of unexpected errors stay in the log; our own errors are shown by themselves.
        show_error=False,
        app_kwargs={"docs_url": None, "redoc_url": None, "openapi_url": None},
        allowed_paths=[],
        ssr_mode=False,
        enable_monitoring=False,
        mcp_server=False,
        run_history=False,
        footer_links=["api", "settings"],
    )
    return app


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; returns when no process of ours is left."""
    import uvicorn

    from api.closing import Closing
    from jobs.service import JobService

    with JobService(settings) as service:
        app = Closing(create_app(settings, service))

        class Server(uvicorn.Server):
            async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
                app.close()
                await super().shutdown(sockets)

        server = Server(
            uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=SHUTDOWN_GRACE_S,
            )
        )
        if settings.preload_model:
            threading.Thread(target=service.preload, name="preload", daemon=True).start()
        # uvicorn hands the signal on when it has stopped: to this, not to one that kills.
        previous = signal.signal(signal.SIGTERM, lambda *_: None)
        try:
            server.run()
        except KeyboardInterrupt:
            log.info("Interrupted")
        finally:
            signal.signal(signal.SIGTERM, previous)
    log.info("Stopped")


def main() -> int:
    settings = Settings()
    setup_logging(settings.log_level)
    serve(settings)
    return 0


if __name__ == "__main__":
    sys.exit(main())
