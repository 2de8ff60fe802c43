"""The table of a job's options in docs/api.md: ``python -m scripts.option_table`` prints it."""

from __future__ import annotations

import sys

from jobs.options import OPTIONS, bounds, help_of, shown


def table() -> str:
    """A Markdown table with a row for each option."""
    rows = ["| option | flag | default | bounds | what it does |", "|---|---|---|---|---|"]
    for name, field in OPTIONS.items():
        flag, limits = shown(name).flag, [n for n in bounds(field) if n is not None]
        cells = (
            f"`{name}`",
            f"`{flag}`" if flag else "",
            "" if field.default is None else _written(field.default),
            "–".join(f"{limit:g}" for limit in limits) + (" or more" if len(limits) == 1 else ""),
            help_of(name),
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _written(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.stdout.write(table())
