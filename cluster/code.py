"""What a machine decodes with, to be compared: two machines that differ in it may give one
recording two kinds of text."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]

PACKAGES = ("cluster", "core", "decoding", "gpu", "workers")
"""What runs on a node, and what is sent there and back."""

LIBRARIES = ("ctranslate2", "faster-whisper", "numpy", "tokenizers")

OURS = "whisper-for-subs"


def code_here() -> dict[str, str]:
    """Name and version of everything that decodes on this machine; of our own code a hash."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        for file in sorted((PROJECT / package).rglob("*.py")):
            digest.update(file.relative_to(PROJECT).as_posix().encode())
            digest.update(file.read_bytes())
    found = {OURS: digest.hexdigest()[:12], "Python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return found


def difference(here: Mapping[str, str], there: Mapping[str, str]) -> str:
    """In what two machines differ, for people; empty where they decode alike. Python counts by its
    minor version, which is what pickled data depends on."""

    def seen(name: str, code: Mapping[str, str]) -> str:
        text = code.get(name, "none")
        return text.rpartition(".")[0] if name == "Python" else text

    return ", ".join(
        f"{name} {there.get(name, 'none')} instead of {here[name]}"
        for name in here
        if seen(name, here) != seen(name, there)
    )
