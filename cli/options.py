"""From arguments to settings and requests: flag before environment before .env before default."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import SettingsError

from cli.sources import Source
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


def requests_of(sources: Sequence[Source], common: JobRequest, beside: bool) -> list[JobRequest]:
    """One request for each file; none writes over another's outputs.

    Args:
        common: what all have in common, with the folder of the command.
        beside: no folder was named: subtitles lie beside each recording.

    Raises InvalidOption: an option of one of them is wrong.
    """
    folders = [_folder_of(source, common, beside) for source in sources]
    stems = unique_stems([source.name or source.path.stem for source in sources], folders)
    chosen = common.options.model_dump()
    return [
        replace(
            common,
            path=source.path,
            options=_own_options(source, chosen) if source.options else common.options,
            output_dir=folder,
            output_stem=stem,
        )
        for source, folder, stem in zip(sources, folders, stems, strict=True)
    ]


def _own_options(source: Source, chosen: dict[str, Any]) -> JobOptions:
    try:
        return read_options({**chosen, **source.options}, JobOptions)
    except InvalidOption as error:
        message = f"{source.path} in the manifest: {error.message}"
        raise InvalidOption(message, hint=error.hint) from error


def _folder_of(source: Source, common: JobRequest, beside: bool) -> Path:
    if source.output_dir is not None:
        return source.output_dir / source.below
    return source.path.parent if beside else (common.output_dir or Path()) / source.below


def unique_stems(wanted: Sequence[str], folders: Sequence[Path]) -> list[str]:
    """A name for the outputs of each file: the wanted one, with ``-2`` where another has taken
    that.

    Letter case does not make names different: on some disks it is the same file.
    """
    # Thousands of recordings lie in few folders, and may all have one name.
    places = {folder: folder.resolve() for folder in set(folders)}
    keys = [(places[folder], stem.casefold()) for stem, folder in zip(wanted, folders, strict=True)]
    asked, taken = set(keys), set[tuple[Path, str]]()
    numbers: dict[tuple[Path, str], int] = {}
    stems = []
    for stem, key in zip(wanted, keys, strict=True):
        found, number = key, numbers.get(key, 1)
        while found in taken or (number > 1 and found in asked):
            number += 1
            found = (key[0], f"{key[1]}-{number}")
        numbers[key] = number
        taken.add(found)
        stems.append(stem if number == 1 else f"{stem}-{number}")
    return stems
