"""Stands for a test of an endpoint where only what becomes of its result is of concern."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest

from core.endpoints import Endpoint


@dataclass(frozen=True)
class Found:
    """As ``endpoints.probe`` answers."""

    checks: tuple[Any, ...]
    tested_at: float
    word_times: bool = False
    max_clip_s: float = 20.0
    speed: float = 12.5
    words_right: float = 0.97
    offset_s: float = 0.02
    formats: tuple[str, ...] = ("verbose_json",)
    models: tuple[str, ...] = ("whisper-0",)


@dataclass(frozen=True)
class Line:
    name: str
    state: str
    text: str = "It is so."
    fix: str = ""


class Probe:
    """Stands for a server's test in tests of what becomes of its result."""

    def __init__(self) -> None:
        self.asked: list[Endpoint] = []
        self.state = "ok"
        self.at = 1_795_000_000.0

    def __call__(self, endpoint: Endpoint) -> Found:
        self.asked.append(endpoint)
        lines = Line("reachable", "ok"), Line("model", self.state, fix="Load it.")
        return Found(lines, self.at)


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> Probe:
    made, module = Probe(), ModuleType("endpoints.probe")
    module.probe = made  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "endpoints", ModuleType("endpoints"))
    monkeypatch.setitem(sys.modules, "endpoints.probe", module)
    return made
