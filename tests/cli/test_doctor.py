"""``doctor`` on the command line: exit codes, text and JSON."""

from __future__ import annotations

import json

import pytest

from cli import doctor
from cli.main import main
from core.settings import Settings
from doctor.diagnosis import Diagnosis, Finding, diagnosis


@pytest.mark.parametrize(
    ("severity", "code"), [("ok", 0), ("hint", 0), ("warning", 3), ("error", 1)]
)
def test_the_exit_code_follows_the_worst_finding(
    severity: str,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[bool] = []

    def examine(settings: Settings, *, offline: bool, progress: object) -> Diagnosis:
        asked.append(offline)
        finding = Finding(severity, "The disk.", "`rm old`", "Disk")  # type: ignore[arg-type]
        return diagnosis([Finding("ok", "A card.", area="GPUs"), finding], "head")

    monkeypatch.setattr(doctor, "examine", examine)
    assert main(["doctor"]) == code
    text = capsys.readouterr().out
    assert "Disk\n" in text
    assert "    Fix: `rm old`\n" in text
    assert main(["doctor", "--json", "--offline"]) == code
    data = json.loads(capsys.readouterr().out)
    assert (data["worst"], len(data["findings"])) == (severity, 2)
    assert asked == [False, True]


def test_settings_that_cannot_be_read_are_the_finding(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WHISPER_PORT", "many")
    assert main(["doctor", "--json"]) == 1
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    assert "WHISPER_PORT" in finding["text"]
    assert "WHISPER_…" in finding["fix"]
