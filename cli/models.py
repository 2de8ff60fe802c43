"""``models``: what can be named with ``--model``, what each can do and where it is."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from cli.options import build_settings
from core.models import ALIASES, MODELS, ModelInfo
from jobs.cards import model_marks
from model_store.store import available_models

HEADS = ("MODEL", "LANGUAGES", "TRANSLATES", "PARAMETERS", "DOWNLOAD", "SPEED", "QUALITY", "FITS",
         "WHERE", "GOOD FOR")  # fmt: skip


def show_models(args: argparse.Namespace) -> int:
    settings = build_settings({})
    found = available_models(settings.models_dir)
    marks = model_marks(settings)
    rows = [
        HEADS,
        *(_row(info, marks.get(info.name), found.get(info.name, "")) for info in MODELS.values()),
    ]
    print("\n".join(table(rows)))
    others = ", ".join(f"{alias} is {name}" for alias, name in ALIASES.items())
    print(f"\n{others}.")
    print(
        "auto (the default) takes the best available model that fits a GPU, mostly large-v3-turbo,"
    )
    print("and base without a GPU. FITS is about the memory of this machine; plan says more.")
    print("SPEED is relative to large-v3, as the models' makers publish it; see docs/models.md.")
    print("A model with an empty WHERE is downloaded when it is first used.")
    return 0


def _row(info: ModelInfo, mark: str | None, where: str) -> tuple[str, ...]:
    languages = "English" if info.only_language else str(len(info.languages))
    return (
        info.name,
        languages,
        "yes" if info.can_translate else "no",
        f"{info.parameters_m} M" if info.parameters_m else "",
        f"{info.download_mib} MiB" if info.download_mib else "",
        f"{info.speed:g}x",
        info.quality,
        "" if mark is None else mark or "yes",
        where,
        info.use,
    )


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """One line a row; each column as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
