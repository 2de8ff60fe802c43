"""The web app: the Gradio page, the API, health routes and files of jobs on one port.

python app.py                 settings from the environment, http://127.0.0.1:7860
"""

from __future__ import annotations

import gc
import logging
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from access.credentials import ApiKeys, Users
from api.access import Access, policy_of
from api.asr import asr_router
from api.browser_headers import BrowserHeaders
from api.endpoints import endpoints_router
from api.errors import add_handlers
from api.events import events_router
from api.files import files_router
from api.health import health_router
from api.job_answers import JobAnswers
from api.jobs import api_router
from api.login import ensure_somebody, login_router
from api.metrics import HttpMetrics, metrics_router
from api.openai import openai_router
from api.openapi import openapi_router
from api.page_guard import PageGuard
from api.page_streams import PageStreams
from api.proxies import Proxies
from api.server import Server
from api.sessions import Cookies
from api.tools import tools_route
from api.uploads import Uploads, page_uploads
from api.webhooks import webhooks_of
from core.errors import SubtitleError
from core.logs import setup_logging
from core.settings import Settings, root_path_of
from core.version import version
from jobs.service import JobService

if TYPE_CHECKING:  # imported where it can be told what to load
    import gradio as gr

log = logging.getLogger("app")

_NEVER_SERVED = (
    *("jobs", "incoming", "runners", "secret", "endpoint_secret", "users.txt", "api_keys.txt"),
)
"""In the data directory. Gradio serves only its uploads folder; this holds even if it errs."""

QUEUE_EVERY_S = 0.02
"""Between two looks at what pages have sent; nobody notices so short a wait."""


def create_app(settings: Settings, service: JobService) -> FastAPI:
    """The app. The caller owns the service.

    Raises InvalidOption where users, keys or the data directory cannot be used.
    """
    users, keys = Users(settings), ApiKeys(settings)
    cookies, uploads = Cookies(settings, users), Uploads(settings, service.admission)
    uploads.sweep()
    ensure_somebody(settings, users, keys)
    app = FastAPI(title="Whisper for Subs", docs_url=None, redoc_url=None, openapi_url=None)
    add_handlers(app)
    app.include_router(health_router(service, version()))
    app.include_router(metrics_router(service))
    app.include_router(login_router(settings, users, cookies))
    app.include_router(api_router(service, uploads))
    app.include_router(endpoints_router(service))
    app.include_router(events_router(service))
    app.include_router(files_router(service))
    answers = JobAnswers(service, uploads)
    app.include_router(openai_router(answers))
    app.include_router(asr_router(answers))
    app.include_router(openapi_router(app, version()))
    app.router.routes.append(tools_route(service))
    page = _page(settings, service)
    waiting = page._queue.pending_event_ids_session
    # The last one added sees a request first. Without a CORS policy of ours Gradio adds its own,
    # which lets pages of every site read answers.
    app.add_middleware(PageStreams, waits=lambda session: bool(waiting.get(session)))
    app.add_middleware(CORSMiddleware, allow_origins=())
    app.add_middleware(PageGuard, admission=service.admission)
    app.add_middleware(Access, settings=settings, users=users, keys=keys, cookies=cookies)
    app.add_middleware(Proxies, settings=settings)
    app.add_middleware(BrowserHeaders)
    app.add_middleware(HttpMetrics)
    _mount_page(app, page, settings)
    return app


def _page(settings: Settings, service: JobService) -> gr.Blocks:
    # Gradio reads these where it is imported: uploads into the data directory, no calls home.
    os.environ["GRADIO_TEMP_DIR"] = str(page_uploads(settings))
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    # Gradio would load what its own tool server needs, which is off: api/tools.py is ours.
    unused = sys.modules.setdefault("mcp", None)  # type: ignore[arg-type]
    from ui.page import build_page

    if unused is None:
        del sys.modules["mcp"]
    page = build_page(settings, service, login=policy_of(settings) == "login")
    # Gradio looks for events of pages a thousand times a second, which costs 7 % of a core that
    # workers could use.
    page._queue.sleep_when_free = QUEUE_EVERY_S
    return page


def _mount_page(app: FastAPI, page: gr.Blocks, settings: Settings) -> None:
    import gradio as gr

    from ui.theme import CSS, theme

    data = settings.data_dir.resolve()
    no_pages_of_its_own: dict[str, Any] = dict.fromkeys(("docs_url", "redoc_url", "openapi_url"))
    gr.mount_gradio_app(
        app,
        page,
        path="/",
        root_path=root_path_of(settings) or None,
        server_name=settings.host,
        server_port=settings.port,
        theme=theme(),
        css_paths=CSS,
        max_file_size=f"{settings.max_upload_mib}mb",
        # Details of unexpected errors stay in the log; our own errors are shown by themselves.
        show_error=False,
        app_kwargs=no_pages_of_its_own,
        allowed_paths=[],
        blocked_paths=[str(data / name) for name in _NEVER_SERVED],
        ssr_mode=False,
        enable_monitoring=False,
        mcp_server=False,
        pwa=False,
        run_history=False,
        footer_links=["api", "settings"],
    )
    # Gradio opens an event loop for each of its locks and drops it: close their descriptors now.
    gc.collect()


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; returns when no process of ours is left.

    Raises InvalidOption, DatabaseUnavailable where it cannot start.
    """
    with JobService(settings) as service, webhooks_of(service):
        server = Server(create_app(settings, service), service, settings)
        if settings.preload_model:
            threading.Thread(target=service.preload, name="preload", daemon=True).start()
        server.run()
    log.info("Stopped")


def main() -> int:
    settings = Settings()
    setup_logging(settings.log_level, log_format=settings.log_format)
    try:
        serve(settings)
    except SubtitleError as error:
        log.error("Cannot start: %s", error.explain())
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
