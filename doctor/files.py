"""Whether a folder can be written to, asked in the one way that is sure: by writing."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path


def standing(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    path = path.absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def why_not_writable(path: Path) -> str:
    """Empty where files can be made there, or where the folder could be; else the reason."""
    place = standing(path)
    if not place.is_dir():
        return f"{place} is not a folder"
    if place != path.absolute():
        # Making and removing the whole way would leave traces; the permission has to do.
        return "" if os.access(place, os.W_OK | os.X_OK) else f"{place} is not writable"
    try:
        with tempfile.TemporaryFile(dir=place):
            return ""
    except OSError as error:
        return error.strerror or str(error)


def free_mib(path: Path) -> int:
    """Free space for this user where the path lies or would lie."""
    return shutil.disk_usage(standing(path)).free >> 20
