"""``/metrics``: what the service has counted, and how it is now, as Prometheus reads it.

Whatever may wait (the driver of a card, a disk) is asked in a thread, and the driver in one that
nobody waits for long.
"""

from __future__ import annotations

import shutil
import time
from asyncio import CancelledError
from collections.abc import Iterator

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from api.asgi import Application, Message, Receive, Scope, Send, in_threads
from api.schemas import refusals
from core.events import WORKER_INCIDENTS
from core.version import version
from jobs.health import Health
from jobs.service import JobService
from telemetry.cards import CardMetrics
from telemetry.metrics import REGISTRY, http_answered

METRICS_PATH = "/metrics"

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

_CLOSED_EARLY = 499
"""Counted for a client that went before its answer began, as nginx does."""


def metrics_router(service: JobService) -> APIRouter:
    router = APIRouter(tags=["monitoring"])
    collectors: tuple[Collector, ...] = (REGISTRY, ServiceMetrics(service), CardMetrics())

    @in_threads(1)
    def read() -> bytes:
        return b"".join(generate_latest(collector) for collector in collectors)

    @router.get(
        METRICS_PATH,
        response_class=PlainTextResponse,
        responses=refusals(),
    )
    async def metrics() -> Response:
        """Metrics in Prometheus' text format; docs/operations.md explains them."""
        headers = {"Cache-Control": "no-store"}
        return Response(await read(), media_type=CONTENT_TYPE_LATEST, headers=headers)

    return router


class ServiceMetrics(Collector):
    """What is read when it is asked for."""

    def __init__(self, service: JobService) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        health = self._service.health()
        yield GaugeMetricFamily(
            "whisper_database_up", "1: the job database answers.", health.database
        )
        yield GaugeMetricFamily(
            "whisper_outbox_backlog",
            "Writes to the job database that are not done.",
            self._service.maintenance.outbox.backlog(),
        )
        yield from _workers(health)
        incidents = CounterMetricFamily(
            "whisper_incidents", "Faults of workers that were dealt with.", labels=["kind"]
        )
        for kind in sorted({*WORKER_INCIDENTS, *health.incidents}):
            incidents.add_metric([kind], health.incidents.get(kind, 0))
        yield incidents
        disk = shutil.disk_usage(self._service.settings.data_dir)
        text = "Disk of the data directory: its size, and what is free there for the service."
        yield GaugeMetricFamily("whisper_disk_total_bytes", text, disk.total)
        yield GaugeMetricFamily("whisper_disk_free_bytes", text, disk.free)
        info = GaugeMetricFamily(
            "whisper_build_info", "1 for the running version.", None, ["version"]
        )
        info.add_metric([version()], 1)
        yield info


def _workers(health: Health) -> tuple[Metric, ...]:
    up = GaugeMetricFamily("whisper_worker_up", "1: the device has a worker.", None, ["device"])
    out = GaugeMetricFamily("whisper_device_out", "1: it was taken out.", None, ["device"])
    starts = CounterMetricFamily("whisper_worker_starts", "Workers started.", None, ["device"])
    loads = CounterMetricFamily("whisper_model_loads", "Models loaded.", None, ["device"])
    for worker in health.workers:
        device, retired = [worker.label], worker.state == "retired"
        up.add_metric(device, worker.alive and not retired)
        out.add_metric(device, retired)
        starts.add_metric(device, worker.starts)
        loads.add_metric(device, worker.loads)
    return up, out, starts, loads


class HttpMetrics:
    """ASGI middleware that counts every answer, and times it to its first line: what follows may be
    a stream that lasts for hours."""

    def __init__(self, app: Application) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun_s, elapsed_s, code = time.monotonic(), 0.0, 0

        async def watched_send(message: Message) -> None:
            nonlocal elapsed_s, code
            if message["type"] == "http.response.start":
                elapsed_s, code = time.monotonic() - begun_s, message["status"]
            await send(message)

        failed = 500
        try:
            await self._app(scope, receive, watched_send)
        except CancelledError:
            failed = _CLOSED_EARLY
            raise
        finally:
            http_answered(
                scope["method"] if scope["method"] in _METHODS else "other",
                _route_of(scope),
                code or failed,
                elapsed_s if code else time.monotonic() - begun_s,
            )


def _route_of(scope: Scope) -> str:
    """The template of the route that answered; none did where the request was refused before."""
    return getattr(scope.get("route"), "path", None) or "none"
