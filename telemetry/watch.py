"""Who hears of everything that happens to a job: one small observer for metrics, one for traces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from core.events import Event
from core.settings import Settings
from telemetry.job_metrics import JobMetrics
from telemetry.traces import Traces


class JobWatch(Protocol):
    """Hears of one job, from the moment it is queued. Returns at once and never raises."""

    def changed(self, fields: Mapping[str, Any]) -> None:
        """Fields of the job's record have new values; ``state`` is one of them when it enters
        another state."""

    def saw(self, event: Event) -> None:
        """The job's run had this event."""


class Telemetry:
    """Of one service; thread-safe.

    Raises InvalidOption where traces are wanted and cannot be sent as the settings say.
    """

    def __init__(self, settings: Settings) -> None:
        endpoint = settings.otlp_endpoint
        self._traces = Traces(endpoint) if endpoint else None

    def watch(self, job_id: str) -> tuple[JobWatch, ...]:
        """The observers of a job that is being queued."""
        if self._traces is None:
            return (JobMetrics(),)
        return JobMetrics(), self._traces.watch(job_id)

    def close(self) -> None:
        """Send what is left; takes some seconds where nobody answers."""
        if self._traces is not None:
            self._traces.close()
