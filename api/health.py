"""``/health`` and ``/ready``: what the container's check and a load balancer ask.

They read what the service remembers and wait for nothing, so that no work can delay them, and they
need no login.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from api.errors import json_answer
from api.schemas import HealthJson, ReadyJson
from jobs.health import Health
from jobs.service import JobService


def health_router(service: JobService, version: str) -> APIRouter:
    router = APIRouter(tags=["health"])

    @router.get("/health", response_model=HealthJson, responses={503: {"model": HealthJson}})
    async def health() -> JSONResponse:
        """200 while the service works or can start working, 503 when no worker lives."""
        now = service.health()
        fault = _fault(now)
        body = {
            "alive": not fault,
            "reason": fault,
            "degraded": bool(now.degraded),
            "degraded_reason": now.degraded,
            "database": now.database,
            "version": version,
            "incidents": dict(now.incidents),
            "workers": _workers(now),
        }
        return json_answer(body, 503 if fault else 200)

    @router.get("/ready", response_model=ReadyJson, responses={503: {"model": ReadyJson}})
    async def ready() -> JSONResponse:
        """200 once a worker has made a real inference, 503 with the reasons before."""
        now = service.health()
        reasons = [reason for reason in (_fault(now), now.reason) if reason]
        if not reasons and not any(worker.proven for worker in now.workers):
            reasons.append("No worker has loaded a model yet.")
        if not now.database:
            reasons.append("The job database does not answer.")
        reason = " ".join(dict.fromkeys(reasons))
        return json_answer({"ready": not reason, "reason": reason}, 503 if reason else 200)

    return router


def _fault(health: Health) -> str:
    """Why the service cannot work; empty while it can."""
    if not health.alive:
        return health.reason
    # A slot without a process whose workers never died is about to start its first.
    lost = [w for w in health.workers if not w.alive and (w.deaths or w.state == "retired")]
    if health.workers and len(lost) == len(health.workers):
        return health.reason or "No worker is alive."
    return ""


def _workers(health: Health) -> list[dict[str, Any]]:
    return [
        {
            "label": worker.label,
            "state": worker.state,
            "model": worker.model,
            "compute_type": worker.compute_type,
            "unloaded": worker.unloaded,
            "reason": worker.reason,
            "heartbeat_age_s": None
            if worker.last_heard_s is None
            else round(worker.last_heard_s, 1),
        }
        for worker in health.workers
    ]
