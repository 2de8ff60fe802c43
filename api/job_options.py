"""What a request of the API may ask for, read from a form, an address or JSON, and checked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

from access.identity import Identity
from core.settings import Device, Settings
from jobs.options import JobOptions
from jobs.request import JobRequest
from model_store.store import check_offered


class Submission(JobOptions):
    """What comes with a recording, or instead of one."""

    name: str | None = None
    """What people call it; none: the file's name, or the title where the link leads."""
    url: Annotated[str, StringConstraints(strip_whitespace=True)] | None = None
    """Where it is to be fetched from."""


class GapOptions(BaseModel):
    """With what a job's gaps are tried again; what is left out stays as it was."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = None
    device: Device | None = None


def request_of(
    options: JobOptions, path: Path, name: str | None, who: Identity, settings: Settings
) -> JobRequest:
    """The job for a recording that the job is to take. Raises ModelError for a model that requests
    from the network may not name."""
    check_offered(options.model, settings)
    chosen = JobOptions.model_validate(options.model_dump(include=set(JobOptions.model_fields)))
    return JobRequest(
        path=path, name=name, options=chosen, adopt="move", owner=who.owner, client=who.client
    )
