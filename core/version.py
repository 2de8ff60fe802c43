"""The version of the app, from pyproject.toml: the one place it is written."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import metadata

from core.settings import PROJECT


@cache
def version() -> str:
    """As of the folder the app runs from, or of the installed package where there is none."""
    try:
        text = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
    except FileNotFoundError:
        return metadata.version("whisper-for-subs")
    return str(tomllib.loads(text)["project"]["version"])
