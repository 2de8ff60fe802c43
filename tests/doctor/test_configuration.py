"""Settings: contradictions, names nobody reads, strangers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from access.identity import open_to_strangers
from core.settings import Settings, library_variables
from doctor.configuration import changed, contradictions, unknown, without_effect
from tests.doctor.conftest import Built, only, severities

Chosen = Callable[..., Settings]


def test_names_that_no_setting_has_are_told_with_the_nearest(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("WHISPER_BATCHSIZE=4\nWHISPER_MODEL=base\nOTHER=1\n")
    monkeypatch.setitem(Settings.model_config, "env_file", tmp_path / ".env")
    monkeypatch.setenv("WHISPER_DEVISE", "s3cr3t")
    monkeypatch.setenv("WHISPER_PORT", "7860")
    first, second = unknown()
    assert first.text == "WHISPER_BATCHSIZE is set, but no setting has this name."
    assert first.fix == "Did you mean `WHISPER_BATCH_SIZE`?"
    assert second.fix == "Did you mean `WHISPER_DEVICE`?"
    assert first.severity == "warning"
    assert "s3cr3t" not in second.text


def test_what_is_changed_is_listed_without_the_database(settings: Chosen) -> None:
    found = only(changed(settings(beam_size=1, database_url="postgresql://me:s3cr3t@db/x")))
    assert "beam_size=1" in found.text
    assert "database_url=***" in found.text
    assert "s3cr3t" not in found.text


@pytest.mark.parametrize(
    ("chosen", "has_gpu", "severity", "fix"),
    [
        ({"compute_type": "flaot16"}, True, "error", "WHISPER_COMPUTE_TYPE=float16"),
        ({"compute_type": "float16"}, False, "error", "WHISPER_COMPUTE_TYPE=auto"),
        ({"compute_type": "float16", "device": "cpu"}, False, "error", "=auto"),
        ({"device": "cpu", "cuda_visible_devices": "0"}, True, "hint", "WHISPER_DEVICE=auto"),
        ({"device": "cpu"}, True, "hint", "WHISPER_DEVICE=auto"),
        ({"workers": 2}, True, "hint", ""),
        ({"download_cookies": Path("/nowhere/cookies.txt")}, False, "error", "Export it"),
        ({"access": "open", "host": "0.0.0.0"}, False, "warning", "WHISPER_ACCESS=login"),
    ],
)
def test_contradictions_are_told(
    chosen: dict[str, object], has_gpu: bool, severity: str, fix: str, settings: Chosen
) -> None:
    found = only(contradictions(settings(**chosen), has_gpu))
    assert found.severity == severity
    assert fix in found.fix


def test_links_for_strangers_are_told(settings: Chosen) -> None:
    _, found = contradictions(settings(access="open", host="0.0.0.0", links="on"), False)
    assert (found.severity, found.fix) == ("warning", "`WHISPER_LINKS=auto`")
    assert severities(contradictions(settings(host="0.0.0.0", links="on"), False)) == []


@pytest.mark.parametrize(
    ("chosen", "has_gpu"),
    [({}, False), ({}, True), ({"compute_type": "float16"}, True), ({"host": "0.0.0.0"}, False)],
)
def test_usual_settings_are_in_order(
    chosen: dict[str, object], has_gpu: bool, settings: Chosen
) -> None:
    assert severities(contradictions(settings(**chosen), has_gpu)) == []


@pytest.mark.parametrize("name", ["PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF"])
def test_advice_for_pytorch_that_does_nothing_here_is_told(
    name: str, build: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert severities(without_effect(build())) == []
    monkeypatch.setenv(name, "expandable_segments:True")
    found = only(without_effect(build(variables=library_variables())))
    assert found.severity == "hint"
    assert found.text.startswith(f"{name} is set but does nothing here")
    assert "WHISPER_BATCH_SIZE" in found.fix


@pytest.mark.parametrize(
    ("access", "host", "strangers"),
    [
        ("open", "0.0.0.0", True),
        ("open", "192.168.1.5", True),
        ("open", "127.0.0.1", True),
        ("auto", "127.0.0.1", False),
        ("login", "0.0.0.0", False),
        ("auto", "0.0.0.0", False),
    ],
)
def test_strangers_come_in_where_it_is_open(
    access: str, host: str, strangers: bool, settings: Chosen
) -> None:
    assert open_to_strangers(settings(access=access, host=host)) is strangers
