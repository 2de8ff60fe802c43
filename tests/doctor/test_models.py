"""Models: here, chosen, or to be fetched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from core.settings import Settings
from doctor import models
from doctor.models import NEVER_ASKED, NOT_ASKED, choice, hub, hub_finding, installed, smallest
from gpu.choice import Card
from tests.doctor.conftest import only, severities

Chosen = Callable[..., Settings]

LARGE = Card(label="GPU 0", free_mib=24_000, total_mib=24_576, capability=(8, 6))
SMALL = Card(label="GPU 1", free_mib=150, total_mib=8192, capability=(8, 6))


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Models that are here; a test may change it."""
    found = {"tiny.en": "installed", "base": "installed"}
    monkeypatch.setattr(models, "available_models", lambda folder: found)
    return found


def test_what_is_here_is_listed(settings: Chosen, here: dict[str, str]) -> None:
    assert only(installed(settings())).text == "Models here: tiny.en (installed), base (installed)."
    here.clear()
    found = only(installed(settings()))
    assert (found.severity, found.fix) == ("error", "`make setup` installs base and tiny.en.")


def test_auto_on_the_cpu_is_resolved(settings: Chosen, models_dir: Path, base: Path) -> None:
    found = only(choice(settings(models_dir=models_dir), (), ""))
    assert found.severity == "ok"
    assert found.text.startswith("auto uses base (auto on the CPU")


def test_auto_on_a_gpu_downloads_the_best_or_says_why_not(
    settings: Chosen, here: dict[str, str]
) -> None:
    fetched, takes = choice(settings(), [LARGE], "")
    assert fetched.text == "auto downloads large-v3-turbo at first use (1,546 MiB)."
    assert takes.text.startswith("GPU 0: auto uses large-v3-turbo in float16, ")
    missed, takes = choice(settings(), [LARGE], "no answer within 5 s")
    assert (missed.severity, takes.severity) == ("hint", "ok")
    assert str(settings().models_dir / "large-v3-turbo") in missed.fix
    assert "auto uses base" in takes.text
    here["large-v3-turbo"] = "in the hub's cache"
    assert "large-v3-turbo" in only(choice(settings(), [LARGE], "closed")).text


def test_each_card_is_told_what_it_gets(settings: Chosen, here: dict[str, str]) -> None:
    here["large-v3-turbo"] = "installed"
    large, small = choice(settings(), [LARGE, SMALL], "")
    assert (large.severity, small.severity) == ("ok", "warning")
    assert small.text == "GPU 1: large-v3-turbo does not fit; 150 MiB are free."


@pytest.mark.parametrize(
    ("model", "closed", "severity", "words"),
    [
        ("larg", "", "error", "Did you mean 'large'?"),
        ("large-v3", "", "hint", "downloaded at first use, 2,948 MiB"),
        ("large-v3", "no answer", "error", "cannot be reached"),
        ("who/whisper", "", "error", "WHISPER_ALLOWED_HUB_MODELS"),
    ],
)
def test_a_model_that_is_not_here_is_told(
    model: str, closed: str, severity: str, words: str, settings: Chosen, here: dict[str, str]
) -> None:
    found = only(choice(settings(model=model), (), closed))
    assert found.severity == severity
    assert words in found.text + found.fix


def test_the_hub_is_asked_with_the_settings_patience(settings: Chosen) -> None:
    asked: list[float] = []

    def reachable(timeout_s: float) -> str | None:
        asked.append(timeout_s)
        return None

    assert hub(settings(hub_timeout_s=2.5), False, reachable) == ""
    assert hub(settings(offline=True), False, reachable) == NEVER_ASKED
    assert hub(settings(), True, reachable) == NOT_ASKED
    assert asked == [2.5]


def test_an_unreachable_hub_matters_where_a_model_is_missing() -> None:
    assert severities(hub_finding("", "https://hub", False)) == ["ok"]
    assert severities(hub_finding(NOT_ASKED, "https://hub", True)) == ["ok"]
    assert severities(hub_finding("no route", "https://hub", False)) == ["hint"]
    found = only(hub_finding("no route", "https://hub", True))
    assert found.severity == "warning"
    assert "WHISPER_OFFLINE=1" in found.fix


def test_the_smallest_model_is_tried() -> None:
    assert smallest({"base": "", "tiny.en": "", "large-v3": ""}) == "tiny.en"
    assert smallest({}) is None
