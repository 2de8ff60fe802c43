"""What a request of the API may ask for, read from a form, an address or JSON, and checked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

from access.identity import Identity
from api.errors import Refused
from core.settings import Device, Settings
from jobs.options import JobOptions
from jobs.request import JobRequest, Priority
from model_store.store import check_offered

Link = Annotated[str, StringConstraints(strip_whitespace=True)]


class AddressOptions(JobOptions):
    """What may stand in a request's address. No links: addresses end up in logs."""

    priority: Priority = "normal"
    """Jobs of high priority begin before all others that wait, those of low priority after them."""


class RerunOptions(AddressOptions):
    """With what a recording is transcribed again."""

    webhook: Link | None = None
    """Address that is told when the job has ended."""


class Submission(RerunOptions):
    """What comes with a recording, or instead of one."""

    name: str | None = None
    """What people call it; left out: the file's name, or the title where the link leads."""
    url: Link | None = None
    """Where the recording is to be fetched from."""


class GapOptions(BaseModel):
    """With what a job's gaps are tried again; what is left out stays as it was."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    model: str | None = None
    """Name of another model."""
    device: Device | None = None
    """Another device."""


def check_allowed(options: AddressOptions, who: Identity) -> None:
    """Raises Refused: strangers may not push in, nor have this machine call others."""
    high = options.priority == "high"
    if who.unknown and (high or (isinstance(options, RerunOptions) and options.webhook)):
        raise Refused(
            403,
            "NotAllowed",
            f"Only logged-in users and programs with an API key may ask for"
            f" {'high priority' if high else 'a webhook'}.",
            "Send a key as: Authorization: Bearer KEY.",
        )


def submission_of(
    wanted: Submission, path: Path | None, name: str | None, who: Identity, settings: Settings
) -> JobRequest:
    """The job of a submission: for a recording that has arrived, or without one for its link.
    ``name``: where the submission has none. Raises as :func:`request_of`."""
    request = request_of(wanted, path or Path(), wanted.name or name or None, who, settings)
    return request if path is not None else replace(request, url=wanted.url)


def request_of(
    options: RerunOptions, path: Path, name: str | None, who: Identity, settings: Settings
) -> JobRequest:
    """The job for a recording that the job is to take. Raises ModelError for a model that requests
    from the network may not name; Refused."""
    check_offered(options.model, settings)
    check_allowed(options, who)
    chosen = JobOptions.model_validate(options.model_dump(include=set(JobOptions.model_fields)))
    return JobRequest(
        path=path,
        name=name,
        options=chosen,
        adopt="move",
        owner=who.owner,
        client=who.client,
        priority=options.priority,
        webhook=options.webhook,
    )
