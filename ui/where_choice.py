"""The control "Where": what it offers while endpoints are active, and what each choice means for
the audio."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from core.endpoints import LOCAL, REMOTE, SHARED, Endpoint

STAYS = "The audio stays on this machine."


def where_choices(active: Sequence[Endpoint]) -> list[tuple[str, str]]:
    """Label and value of each."""
    return [
        ("This machine", LOCAL),
        ("This machine and endpoints", SHARED),
        ("Endpoints only", REMOTE),
        *((f"Only {each.name}", each.id) for each in active),
    ]


def where_info(where: str | None, active: Sequence[Endpoint]) -> str:
    """Where the audio goes, in a plain sentence."""
    if where in (None, LOCAL):
        return STAYS
    hosts = [each.host for each in active if where in (SHARED, REMOTE, each.id)]
    places = " and ".join(filter(None, [", ".join(hosts[:-1]), *hosts[-1:]]))
    if where == SHARED:
        return f"Parts of the audio are sent to {places}."
    if where == REMOTE and len(hosts) > 1:
        return f"The audio is sent to {hosts[0]}; while that fails, to {', '.join(hosts[1:])}."
    return f"The audio is sent to {places}."


def where_update(active: Sequence[Endpoint], wanted: str | None) -> Any:
    """The control as it is to be now: hidden where there is nothing to choose. It then says
    nothing, and the setting decides."""
    if not active:
        return gr.update(choices=where_choices(()), value=None, visible=False)
    choices = where_choices(active)
    value = wanted if wanted in {each for _, each in choices} else LOCAL
    info = where_info(value, active)
    return gr.update(choices=choices, value=value, info=info, visible=True)
