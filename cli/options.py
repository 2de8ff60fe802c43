"""From arguments to settings and requests: flag before environment before .env before default."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import SettingsError

from core.errors import InvalidOption
from core.settings import Settings
from jobs.options import OPTIONS, JobOptions, read_options, shown
from jobs.request import JobRequest, with_defaults

SETTINGS = {*OPTIONS, "workers", "threads"} & Settings.model_fields.keys()
"""Flags of ``transcribe`` that are settings: they go before the environment."""


def build_settings(flags: dict[str, Any]) -> Settings:
    """Settings with the flags that were given. Raises InvalidOption for a value that cannot be,
    whether it came from a flag, the environment or .env."""
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise InvalidOption(
            f"Wrong settings: {'; '.join(wrong)}.",
            hint="Check the options, the environment (WHISPER_…) and the file .env.",
        ) from error
    except SettingsError as error:
        raise InvalidOption(
            f"Wrong settings: {error}.",
            hint="Check the environment (WHISPER_…) and the file .env; lists are JSON.",
        ) from error


def settings_of(args: argparse.Namespace) -> Settings:
    """Settings of a ``transcribe`` command."""
    return build_settings({name: getattr(args, name) for name in SETTINGS})


def gpus_of(args: argparse.Namespace) -> list[str] | None:
    """GPUs that were asked for; None: as the settings say."""
    if args.gpus is None:
        return None
    gpus = [gpu for gpu in (part.strip() for part in args.gpus.split(",")) if gpu]
    if not gpus or args.device == "cpu":
        raise InvalidOption(
            "--gpus names no GPU." if not gpus else "--gpus and --device cpu contradict each other."
        )
    return gpus


def common_request(args: argparse.Namespace, settings: Settings) -> JobRequest:
    """What all recordings of the command have in common; outputs go to the folder it names, or to
    the current one."""
    chosen = {name: getattr(args, name) for name in OPTIONS if shown(name).flag}
    options = with_defaults(read_options(chosen, JobOptions), settings)
    return JobRequest(path=Path(), options=options, output_dir=args.output_dir or Path())


def requests_of(args: argparse.Namespace, settings: Settings) -> list[JobRequest]:
    """One request for each file; none writes over another's outputs."""
    common = common_request(args, settings)
    folders = [args.output_dir or path.parent for path in args.files]
    stems = unique_stems(args.files, folders)
    return [
        replace(common, path=path, output_dir=folder, output_stem=stem)
        for path, folder, stem in zip(args.files, folders, stems, strict=True)
    ]


def unique_stems(paths: Sequence[Path], folders: Sequence[Path]) -> list[str]:
    """A name for the outputs of each file: its stem, with ``-2`` where another has taken that.

    Letter case does not make names different: on some disks it is the same file.
    """

    def key(folder: Path, stem: str) -> tuple[Path, str]:
        return folder.resolve(), stem.casefold()

    wanted = {key(folder, path.stem) for path, folder in zip(paths, folders, strict=True)}
    taken: set[tuple[Path, str]] = set()
    stems = []
    for path, folder in zip(paths, folders, strict=True):
        stem, number = path.stem, 1
        while key(folder, stem) in taken or (number > 1 and key(folder, stem) in wanted):
            number += 1
            stem = f"{path.stem}-{number}"
        taken.add(key(folder, stem))
        stems.append(stem)
    return stems
