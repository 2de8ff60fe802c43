"""The control that says which GPU is meant: one of this machine, a usual size, or a typed one."""

from __future__ import annotations

from typing import Any

import gradio as gr

from core.errors import DeviceUnavailable, InvalidOption
from core.settings import Settings
from gpu.choice import Card
from gpu.plan import card_of_size
from jobs.cards import gpus_here

SIZES_GB = (4, 6, 8, 10, 11, 12, 16, 24, 32, 40, 48, 80)
HERE = "here:"


def card_dropdown(settings: Settings, usual_gb: int, elem_id: str) -> gr.Dropdown:
    """Draws itself; its value is what :func:`card_of_choice` reads."""
    here = [
        (f"{card.label}: {card.name}, {card.total_mib:,.0f} MiB", f"{HERE}{place}")
        for place, card in enumerate(_here(settings))
    ]
    options: dict[str, Any] = {
        "label": "GPU memory",
        "info": "Choose a size, or type gigabytes",
        "allow_custom_value": True,
        "min_width": 160,
    }
    return gr.Dropdown(
        [*here, *((f"{gb} GB", str(gb)) for gb in SIZES_GB)],
        value=here[0][1] if here else str(usual_gb),
        elem_id=elem_id,
        **options,
    )


def card_of_choice(value: str | None, settings: Settings) -> Card:
    """The card that was chosen or typed, as it is now.

    Raises:
        InvalidOption: it is not there, or no card.
    """
    asked = (value or "").strip()
    if asked.startswith(HERE):
        seen, place = _here(settings), asked.removeprefix(HERE)
        if place.isdecimal() and int(place) < len(seen):
            return seen[int(place)]
        raise InvalidOption("This GPU is no longer there.", hint="Choose another.")
    number = asked.lower().removesuffix("gb").strip().replace(",", ".")
    try:
        gigabytes = float(number)
    except ValueError:
        raise InvalidOption(
            f"{asked!r} is not an amount of GPU memory.", hint="Type gigabytes, such as 12."
        ) from None
    return card_of_size(gigabytes)


def _here(settings: Settings) -> tuple[Card, ...]:
    try:
        return gpus_here(settings)
    except DeviceUnavailable:
        # A plan for a card of another machine does not need the one that is missing here.
        return ()
