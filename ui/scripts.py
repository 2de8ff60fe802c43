"""The page's own JavaScript, as the components that run it take it."""

from __future__ import annotations

from pathlib import Path


def _read(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


COPY = _read("copy.js")
"""Buttons that copy something."""
ACTIONS = COPY + _read("actions.js")
"""Buttons and links of jobs, and what they may copy."""
PLAYER = _read("player.js")
PAGE = _read("page.js")
