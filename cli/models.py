"""``models``: what can be named with ``--model``, what each can do and where it is."""

from __future__ import annotations

from cli.options import build_settings
from core.model_store import available_models
from core.models import ALIASES, MODELS, ModelInfo

HEADS = ("MODEL", "LANGUAGES", "TRANSLATES", "PARAMETERS", "DOWNLOAD", "WHERE")


def show_models() -> int:
    settings = build_settings({})
    found = available_models(settings.models_dir)
    rows = [HEADS, *(_row(info, found.get(info.name, "")) for info in MODELS.values())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
    others = ", ".join(f"{alias} is {name}" for alias, name in ALIASES.items())
    print(f"\n{others}.")
    print("auto (the default) is large-v3-turbo on a GPU, if it can be had; otherwise base.")
    print("A model without a place is downloaded when it is first asked for.")
    return 0


def _row(info: ModelInfo, where: str) -> tuple[str, ...]:
    languages = "English" if info.only_language else str(len(info.languages))
    return (
        info.name,
        languages,
        "yes" if info.can_translate else "no",
        f"{info.parameters_m} M" if info.parameters_m else "",
        f"{info.download_mib} MiB" if info.download_mib else "",
        where,
    )
