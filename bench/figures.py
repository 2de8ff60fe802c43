"""How a bench says what it found: figures against what was promised, as a table and as data."""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

NAMED = 4


@dataclass(frozen=True, slots=True)
class Check:
    """One figure and whether it is what was promised."""

    what: str
    measured: str
    promised: str
    holds: bool


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that is not under that share (0–1) of them: a value that occurred, not
    one between two. ``nan`` of none."""
    if not values:
        return math.nan
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def spread(values: Sequence[float], unit: str = "s", digits: int = 1) -> str:
    """Median, 95th percentile and largest, for a table."""
    if not values:
        return "none"
    figures = (statistics.median(values), percentile(values, 0.95), max(values))
    return " / ".join(f"{figure:.{digits}f}" for figure in figures) + f" {unit}"


def growth(before: Sequence[float], after: Sequence[float]) -> float:
    """How much the median has grown, in percent."""
    base = statistics.median(before)
    return 100 * (statistics.median(after) - base) / base


def none_of(what: str, found: int | Collection[object]) -> Check:
    """The promise that there is nothing of the kind; the first of what there is are named."""
    count = found if isinstance(found, int) else len(found)
    names = "" if isinstance(found, int) else ", ".join(map(str, islice(found, NAMED)))
    return Check(what, f"{count}: {names}" if names else str(count), "0", count == 0)


def checks_table(checks: Sequence[Check]) -> list[str]:
    """Markdown, one row a check."""
    rows = [
        f"| {check.what} | {check.measured} | {check.promised} | {'yes' if check.holds else 'NO'} |"
        for check in checks
    ]
    return ["| figure | measured | promised | kept |", "|---|---|---|---|", *rows]


def publish(
    out: Path, name: str, intro: str, checks: Sequence[Check], data: Mapping[str, Any]
) -> int:
    """Write ``name.md`` and ``name.json`` and show the table; the exit code: 1 where a promise is
    not kept."""
    text = "\n".join([intro, "", *checks_table(checks)]) + "\n"
    sys.stdout.write(text)
    (out / f"{name}.md").write_text(text, encoding="utf-8")
    (out / f"{name}.json").write_text(
        json.dumps(data, ensure_ascii=False, indent=1), encoding="utf-8"
    )
    return 0 if all(check.holds for check in checks) else 1
