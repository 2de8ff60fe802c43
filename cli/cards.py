"""The card a plan is for: one of a given size, or those of this machine."""

from __future__ import annotations

from cli.options import build_settings
from core.errors import InvalidOption
from core.logs import one_line
from gpu.choice import Card
from gpu.nvml import read_gpus
from gpu.plan import card_of_size
from jobs.cards import gpus_here


def asked_cards(gigabytes: float | None) -> list[Card]:
    """A card of so many GB; None: those of this machine, with who else uses them.

    Raises:
        InvalidOption: no card has that size, or there is none here.
    """
    if gigabytes is not None:
        return [card_of_size(gigabytes)]
    found = list(gpus_here(build_settings({})))
    if not found:
        problem = one_line(read_gpus().problem).rstrip(".")
        raise InvalidOption(
            f"There is no GPU here to plan for{f' ({problem})' if problem else ''}.",
            hint="Say how much memory the GPU has, such as --gpu-memory 12.",
        )
    return found
