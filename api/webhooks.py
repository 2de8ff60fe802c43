"""What a webhook is told: the job as ``GET /api/jobs/ID`` shows it."""

from __future__ import annotations

import json

from api.job_views import job_json
from core.settings import root_path_of
from jobs.service import JobService
from jobs.webhook_store import WebhookStore
from jobs.webhooks import Webhooks


def webhooks_of(service: JobService) -> Webhooks:
    """Calls the webhooks of a service's jobs while it is entered. Raises InvalidOption for settings
    that cannot be used."""
    root = root_path_of(service.settings)

    def body(job_id: str) -> bytes | None:
        job = service.get(job_id)
        if job is None:
            return None
        return json.dumps(job_json(job.view(text=False), root), allow_nan=False).encode()

    calls, runner = WebhookStore(service.database), service.runner
    return Webhooks(service.settings, service.store, calls, runner.storage_id, body)
