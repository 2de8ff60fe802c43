"""What memory is made of, as lines of text with bars: for the commands that plan."""

from __future__ import annotations

from collections.abc import Mapping

WIDTH = 40


def part_bars(parts: Mapping[str, float], free_mib: float, whole_mib: float) -> list[str]:
    """One line a part, and one for what is left of ``free_mib`` or is missing; bars are shares of
    the whole card, or of the sum where that is more."""
    rest = free_mib - sum(parts.values())
    rows = {name: mib for name, mib in parts.items() if mib >= 0.5}
    rows["free" if rest >= 0 else "too much"] = abs(rest)
    longest = max(whole_mib, sum(parts.values()), 1.0)
    names = max(map(len, rows))
    return [
        f"  {name:{names}}  {mib:>9,.0f} MiB  {'█' * round(WIDTH * mib / longest) or '▏'}".rstrip()
        for name, mib in rows.items()
    ]
