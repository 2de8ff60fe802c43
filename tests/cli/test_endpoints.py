"""The command ``endpoints``, and ``transcribe --where``."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from cli.main import main
from tests.probes import Probe
from tests.probes import probe as probe

URL = "http://10.0.5.4:8000/v1/audio/transcriptions"
SECRET = "sk-do-not-tell-0123456789"


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WHISPER_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def run(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert main(["endpoints", *arguments]) == code
    told = capsys.readouterr()
    assert SECRET not in told.out + told.err
    return told.out + told.err


def test_the_whole_way(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, probe: Probe
) -> None:
    assert "No speech endpoint" in run(capsys, "list")
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{SECRET}\n"))
    added = run(capsys, "add", "--name", "Office GPU", "--url", URL, "--key")
    assert "endpoints activate office-gpu" in added
    run(capsys, "edit", "office-gpu", "--model", "whisper-0", "--parallel", "4")
    run(capsys, "activate", "office-gpu")
    run(capsys, "default", "office-gpu")
    (row,) = json.loads(run(capsys, "list", "--json"))
    assert (row["model_name"], row["parallel"], row["is_active"], row["is_default"]) == (
        "whisper-0", 4, True, True,
    )  # fmt: skip
    assert (row["key"], row["problem"], row["test"]) == ("set", "", None)
    tested = run(capsys, "test", "office-gpu")
    assert "ok       reachable: It is so." in tested
    assert probe.asked[0].api_key == SECRET
    probe.state = "failed"
    assert "FAILED   model" in run(capsys, "test", "office-gpu", code=1)
    listed = run(capsys, "list")
    assert all(word in listed for word in ("office-gpu", "active", "default", "key set", "failed"))
    run(capsys, "deactivate", "office-gpu")
    run(capsys, "edit", "office-gpu", "--no-key")
    (row,) = json.loads(run(capsys, "list", "--json"))
    assert (row["is_active"], row["key"]) == (False, "not set")
    run(capsys, "edit", "office-gpu", "--key-from", "OFFICE_API_KEY")
    assert "OFFICE_API_KEY, which is not set here" in run(capsys, "list")
    run(capsys, "remove", "office-gpu")
    assert json.loads(run(capsys, "list", "--json")) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["add", "--url", "nonsense"], "no full address"),
        (["add", "--url", URL, "--id", "remote"], "No endpoint can have the id"),
        (["add", "--url", URL, "--parallel", "0"], "parallel must be"),
        (["add", "--url", URL, "--key-from", "PATH"], "cannot hold"),
        (["edit", "nobody", "--name", "x"], "There is no endpoint 'nobody'"),
        (["test", "nobody"], "There is no endpoint 'nobody'"),
        (["remove", "nobody"], "There is no endpoint 'nobody'"),
    ],
)
def test_wrong_use_is_told(
    capsys: pytest.CaptureFixture[str], probe: Probe, arguments: list[str], message: str
) -> None:
    assert message in run(capsys, *arguments, code=2)


def test_transcribe_knows_only_what_is_active(
    capsys: pytest.CaptureFixture[str], data: Path, tmp_path: Path
) -> None:
    recording = tmp_path / "talk.wav"
    recording.write_bytes(b"RIFF")
    wanted = ["transcribe", str(recording), "--where", "office"]
    assert main(wanted) == 2
    assert "No speech endpoint is set up in" in capsys.readouterr().err
    assert not data.exists()
    run(capsys, "add", "--url", URL, "--id", "other")
    run(capsys, "activate", "other")
    assert main(wanted) == 2
    told = capsys.readouterr().err
    assert "There is no active speech endpoint 'office'." in told
    assert "Active: other." in told
