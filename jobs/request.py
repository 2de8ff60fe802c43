"""What a front asks for: one recording, its options, and where its subtitles go."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from core.endpoints import LOCAL as HERE
from core.errors import FileMissing, InvalidOption, ModelError, UnreadableMedia
from core.logs import one_line, without_secrets
from core.models import AUTO, check_request, find_model, unknown_model
from core.planning import SegmentPlanner
from core.settings import Settings
from gpu.support import check_compute_type, runs_on_cpus
from jobs.links import check_link
from jobs.options import JobOptions, read_options
from jobs.webhook_rules import check_webhook
from subtitles.formats import FORMATS, get_format
from subtitles.sanitize import safe_stem

Adoption = Literal["no", "link", "move"]
Priority = Literal["low", "normal", "high"]

LOCAL = "local"
"""The only user of a service on this machine, who has no name and no limits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """One recording and what is to be made of it."""

    path: Path
    """The recording; it must stay until the job has ended."""
    options: JobOptions = field(default_factory=JobOptions)
    url: str | None = field(default=None, repr=False)
    """Link that the recording is still to be fetched from; then there is no ``path`` yet. None as
    soon as the job has it: a link may hold a password."""
    name: str | None = None
    """Its name as people know it: outputs are named after its stem. None: the path's own."""
    output_dir: Path | None = None
    """None: the job's own folder, which is removed some time after the job."""
    output_stem: str | None = None
    """Name of the outputs where it is not to come from ``name``; used as it is."""
    adopt: Adoption = "no"
    """Who keeps the recording while the job is kept: ``no``: it stays where it is, and must;
    ``link``: the job has a hard link or a copy of its own; ``move``: the job takes it."""
    owner: str = LOCAL
    """Who may list it: ``local``, ``user:NAME``, ``key:NAME`` or ``visitor:COOKIE``."""
    client: str = LOCAL
    """Whom limits count: as ``owner``, or ``ip:ADDRESS``."""
    webhook: str | None = field(default=None, repr=False)
    """Address that is told when the job has ended; it may hold a password."""
    only_gaps: bool = False
    """Decode only what an earlier run of the same job left as gaps."""
    priority: Priority = "normal"
    """Which jobs begin first; it changes nothing for those that run already."""

    def choosing(self, **options: Any) -> JobRequest:
        """The same request with other options. Raises InvalidOption."""
        return replace(
            self, options=read_options({**self.options.model_dump(), **options}, JobOptions)
        )

    @property
    def title(self) -> str:
        if self.name is not None:
            return self.name
        return self.path.name if self.url is None else without_secrets(self.url)

    @property
    def stem(self) -> str:
        """Name of the outputs, without extension."""
        return safe_stem(self.title) if self.output_stem is None else self.output_stem


MAX_NAME = 255
"""Characters of a recording's name that are kept: the longest file systems have."""


def kept_name(title: str) -> str:
    """A name of the job's own, because the stored file's says nothing; and one that no control
    character or half a surrogate of the upload's makes unreadable anywhere."""
    return one_line(title)[:MAX_NAME]


def with_defaults(options: JobOptions, settings: Settings) -> JobOptions:
    """The options with what the settings say where they leave something open.

    A compute type that only GPUs can do does not count for a job that is to run on the CPU.
    """
    decode, compute_type = options.decode(settings), options.compute_type.lower() or AUTO
    if compute_type == AUTO and (options.device != "cpu" or runs_on_cpus(settings.compute_type)):
        compute_type = settings.compute_type
    return options.model_copy(
        update={
            "model": settings.model if options.model.lower() in ("", AUTO) else options.model,
            "compute_type": compute_type,
            "beam_size": decode.beam_size,
            "batch_size": decode.batch_size,
            "where": options.where or (HERE if settings.endpoints == "off" else settings.where),
        }
    )


def check(request: JobRequest, settings: Settings) -> None:
    """Refuse what cannot work, without loading or decoding anything.

    Raises:
        FileMissing, UnreadableMedia: there is no such recording.
        DownloadRefused: its link is not fetched here.
        InvalidOption: an unknown option, one out of range, or a malformed link.
        ModelError: an unknown model, or one that cannot do the language or task.
    """
    if request.url is None:
        _check_recording(request)
    check_options(request, settings)
    if request.url is not None:
        check_link(request.url, settings)
    if request.webhook is not None:
        check_webhook(request.webhook, settings)
    _check_not_replaced(request)


def check_options(request: JobRequest, settings: Settings) -> None:
    """As :func:`check`, all but the recording, which may still have to be fetched.

    Raises InvalidOption, ModelError.
    """
    options = with_defaults(request.options, settings)
    _check_model(options.model, settings)
    check_request(options.model, options.language, options.task)
    check_compute_type(options.compute_type)
    # Raises: the durations contradict each other.
    SegmentPlanner(options.min_segment_duration, options.max_segment_duration)
    if not options.formats:
        raise InvalidOption("No subtitle format was chosen.", hint=f"One of: {', '.join(FORMATS)}.")
    for name in options.formats:
        get_format(name)  # raises
    if request.output_dir is not None:
        _check_folder(request.output_dir)


def _check_recording(request: JobRequest) -> None:
    try:
        mode = request.path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileMissing(f"{request.title} does not exist.") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UnreadableMedia(f"{request.title} cannot be opened: {reason}.", hint="") from error
    if stat.S_ISDIR(mode):
        raise UnreadableMedia(f"{request.title} is a folder.", hint="Choose a recording.")


def _check_model(name: str, settings: Settings) -> None:
    known = name.lower() == AUTO or find_model(name) is not None
    local = Path(name).expanduser().is_dir() or (settings.models_dir / name).is_dir()
    if known or local or name in settings.allowed_hub_models:
        return
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        raise ModelError(
            f"The hub model {name!r} is not allowed here.",
            hint="Add it to WHISPER_ALLOWED_HUB_MODELS, or choose a model of the list.",
        )
    raise unknown_model(name)


def targets(request: JobRequest) -> tuple[Path, ...]:
    """The files the request asks for in a folder of its choice."""
    if request.output_dir is None:
        return ()
    endings = [get_format(name).extension for name in request.options.formats]
    return tuple(request.output_dir / f"{request.stem}{ending}" for ending in endings)


def _check_not_replaced(request: JobRequest) -> None:
    for target in targets(request):
        if request.url is None and target.exists() and target.samefile(request.path):
            raise InvalidOption(
                f"The output {target.name} would replace the recording itself.",
                hint="Choose another folder for the output.",
            )


def nearest(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    return next(place for place in (path, *path.parents) if place.exists())


def _check_folder(folder: Path) -> None:
    """Raise InvalidOption for a folder that cannot be written, before hours of work are spent."""
    there = nearest(folder)
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise InvalidOption(
            f"Subtitles cannot be written to {folder}.",
            hint="Choose a folder that exists or can be created, and that you may write to.",
        )
