"""``/api/models/unload``: free the memory of idle models.

    curl -X POST -H "Authorization: Bearer $KEY"  …/api/models/unload

Running work is never touched, but the next job waits for the load: on a service that is open to
everybody only API keys may ask.
"""

from __future__ import annotations

from dataclasses import asdict

import anyio.to_thread
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from access.identity import identity_of
from api.errors import Refused
from jobs.service import JobService


def models_router(service: JobService) -> APIRouter:
    router = APIRouter(prefix="/api/models", tags=["models"])

    @router.post("/unload")
    async def unload(request: Request) -> JSONResponse:
        """What became of each device's model; ``devices`` is empty before the first job."""
        if identity_of(request).unknown:
            raise Refused(
                403,
                "NotAllowed",
                "Only logged-in users and programs with an API key may unload models.",
                "Send a key as: Authorization: Bearer KEY.",
            )
        found = await anyio.to_thread.run_sync(service.engines.unload)
        body = {
            "devices": [asdict(each) for each in found],
            "freed_mib": sum(each.freed_mib or 0.0 for each in found),
        }
        return JSONResponse(body, headers={"Cache-Control": "no-store"})

    return router
