"""The page's own markup and JavaScript, as Gradio's component takes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr


def _read(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


COPY = _read("copy.js")
"""Buttons that copy something."""
ACTIONS = COPY + _read("actions.js")
"""Buttons and links of jobs, and what they may copy."""
PLAYER = _read("player.js")
PAGE = _read("page.js")


def html(elem_id: str, script: str | None, content: str = "", **options: Any) -> gr.HTML:
    """A part of the page with our own markup, and the script that runs in it."""
    return gr.HTML(content, elem_id=elem_id, apply_default_css=False, js_on_load=script, **options)
