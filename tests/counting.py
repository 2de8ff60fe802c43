"""Count work instead of timing it: the same number on every machine."""

from __future__ import annotations

from collections.abc import Callable

import pytest


def reads_of(kind: type, work: Callable[[], object]) -> int:
    """How often ``work`` reads an attribute of instances of ``kind``."""
    count = 0

    def counted(self: object, name: str) -> object:
        nonlocal count
        count += 1
        return object.__getattribute__(self, name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, "__getattribute__", counted)
        work()
    return count


def growth(kind: type, work: Callable[[int], object], size: int) -> float:
    """How many times the reads of ``work(size)`` a task of four times the size takes: 4 where the
    work grows with the size, 16 where it grows with its square."""
    return reads_of(kind, lambda: work(4 * size)) / reads_of(kind, lambda: work(size))
