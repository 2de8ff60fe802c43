from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.gpu.fake_nvml import Card, FakeNvml

Machine = Callable[..., FakeNvml]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine with these cards: ``machine(Card(), Card(), errors={…})``."""

    def build(*cards: Card, **described: object) -> FakeNvml:
        return FakeNvml(list(cards), **described).install(monkeypatch)  # type: ignore[arg-type]

    return build
