"""Which recordings a command is to transcribe: files, folders, and lists in a manifest.

A manifest has a recording a line: its path or link as it is, or as a JSON object with ``path`` and
whatever is different for this recording: ``name`` (of the subtitles, without extension),
``output_dir`` and options by their names in the API.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.errors import InvalidOption
from jobs.options import OPTIONS

STANDARD_INPUT = "-"

SUFFIXES = (
    *(".3gp", ".aac", ".ac3", ".aif", ".aiff", ".amr", ".asf", ".avi", ".caf"),
    *(".flac", ".flv", ".m2ts", ".m4a", ".m4b", ".m4v", ".mka", ".mkv", ".mov"),
    *(".mp2", ".mp3", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".oga", ".ogg"),
    *(".ogv", ".opus", ".ts", ".vob", ".wav", ".weba", ".webm", ".wma", ".wmv"),
)
"""What of a folder is a recording. A file that is named may end as it likes."""

OF_ALL = frozenset({"model", "compute_type", "device", "multi_gpu", "where"})
"""Options that the command's workers have in common."""

OWN_OPTIONS = tuple(name for name in OPTIONS if name not in OF_ALL)


@dataclass(frozen=True, slots=True)
class Source:
    """A file that is to be transcribed, and what is its own."""

    path: Path
    name: str | None = None
    """Of its subtitles; None: the path's stem."""
    output_dir: Path | None = None
    """None: as the command says."""
    below: Path = Path()
    """Where it lies in a folder that was given: its subtitles lie there in the output folder."""
    options: Mapping[str, Any] = field(default_factory=dict)


def recording(text: str) -> Path | str:
    """A file's path, or a link as it is: a path would lose one of its slashes."""
    return text if re.match(r"https?://", text, re.IGNORECASE) else Path(text)


def sources_of(args: argparse.Namespace) -> tuple[list[Source], list[str]]:
    """The files and the links of a command, each in order; links of ``--url`` come last.

    Raises InvalidOption: there is none, or a line of the manifest is wrong.
    """
    files: list[Source] = []
    links: list[str] = []
    found: Iterable[Source | str] = (
        given if isinstance(given, str) else Source(given) for given in args.files
    )
    for each in [*found, *(_manifest(args.manifest) if args.manifest is not None else ())]:
        if isinstance(each, str):
            links.append(each)
        elif each.path.is_dir():
            files += _folder(each)
        else:
            files.append(each)
    links += args.urls
    if not files and not links:
        raise InvalidOption(
            "No recording was given.",
            hint="Name a FILE (or --input FILE), a folder, a --manifest or a link with --url URL.",
        )
    return files, links


def _folder(folder: Source) -> Iterator[Source]:
    """All recordings in it and below, by name; hidden ones are left out."""
    count = 0
    for place, folders, names in os.walk(folder.path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(place, name)
            if not name.startswith(".") and path.suffix.lower() in SUFFIXES:
                count += 1
                below = path.parent.relative_to(folder.path)
                yield Source(
                    path, output_dir=folder.output_dir, below=below, options=folder.options
                )
    if not count:
        raise InvalidOption(
            f"There is no recording in the folder {folder.path}.",
            hint=f"It is searched for files ending in {', '.join(SUFFIXES)}.",
        )


def _manifest(path: str) -> Iterator[Source | str]:
    try:
        if path == STANDARD_INPUT:
            yield from _lines("standard input", sys.stdin.buffer)
        else:
            with open(path, "rb") as file:
                yield from _lines(path, file)
    except OSError as error:
        raise InvalidOption(
            f"The manifest {path} cannot be read: {error.strerror}.", hint="Check the path."
        ) from error


def _lines(name: str, lines: Iterable[bytes]) -> Iterator[Source | str]:
    for number, line in enumerate(lines, 1):
        # File names may not be Unicode.
        text = os.fsdecode(line.rstrip(b"\r\n"))
        try:
            if text.startswith("{"):
                yield _entry(json.loads(text))
            elif text.strip():
                given = recording(text)
                yield given if isinstance(given, str) else Source(given)
        except (ValueError, InvalidOption) as error:
            why = error.message if isinstance(error, InvalidOption) else f"{error}."
            raise InvalidOption(
                f"Line {number} of {name}: {why}",
                hint="A line is a path, or a JSON object with path, name, output_dir and options:"
                f" {', '.join(OWN_OPTIONS)}.",
            ) from error


def _entry(given: dict[str, Any]) -> Source:
    """Raises InvalidOption, ValueError."""
    texts = {key: given.pop(key, None) for key in ("path", "name", "output_dir")}
    wrong = [key for key, value in texts.items() if not isinstance(value, str | None)]
    if wrong or not texts["path"]:
        raise InvalidOption(f"{(wrong or ['path'])[0]} must be a text.")
    for key in given:
        if key in OF_ALL:
            raise InvalidOption(f"{key} is the same for all recordings: give it as a flag.")
        if key not in OPTIONS:
            raise InvalidOption(f"There is no option {key!r}.")
    name, output_dir = texts["name"], texts["output_dir"]
    if name is not None and (not name or Path(name).name != name):
        raise InvalidOption("name must be a file's name, without a folder.")
    return Source(
        Path(texts["path"]), name, None if output_dir is None else Path(output_dir), options=given
    )
