"""``doctor --bundle``: what it writes, what it must never write, and who is asked."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from cli import doctor
from cli.main import main
from core.errors import DownloadFailed
from core.settings import Settings
from doctor.diagnosis import Diagnosis, Finding, diagnosis
from jobs.database import Database
from jobs.options import JobOptions
from jobs.records import HistoryEntry, JobRecord
from jobs.request import JobRequest
from jobs.states import JobState
from jobs.store import JobStore

ID = "Yk3rT0a9QmWb_x2L"
SECRETS = {
    "WHISPER_API_KEY": "wfs_0123456789abcdef",
    "WHISPER_METRICS_TOKEN": 'quote " and \\ backslash',
    "WHISPER_OTLP_ENDPOINT": "http://me:0tlp-pass@collector:4318",
}
LINK = "https://me:l1nk-pass@media.example/watch?v=abc&token=t0ken"
NAME = "Board meeting, secret.mp4"
PROMPT, HOTWORDS = 'Zebras "and" quaggas.', "Okapi"

PRIVATE = (
    *("wfs_0123456789abcdef", "quote", "0tlp-pass", "collector:4318"),
    *("l1nk-pass", "media.example", "t0ken", "Board meeting", "Zebras", "Okapi", "anna", ID),
    *("f1rst-Passw0rd", "192.0.2.1", "unheard of"),
)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Of a service with secrets, and a job with everything that is nobody's business."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WHISPER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("WHISPER_USERS_FILE", "/srv/anna/users.txt")
    (tmp_path / "data").mkdir()

    def examine(settings: Settings, *, offline: bool, progress: object) -> Diagnosis:
        return diagnosis([Finding("ok", f"Talks to {SECRETS['WHISPER_OTLP_ENDPOINT']}.")], "head")

    monkeypatch.setattr(doctor, "examine", examine)
    settings = Settings()
    database = Database.open(settings)
    store = JobStore(database)
    options = JobOptions(initial_prompt=PROMPT, hotwords=HOTWORDS)
    request = JobRequest(path=Path(), url=LINK, name=NAME, options=options, owner="user:anna")
    store.insert(
        JobRecord(
            id=ID,
            owner="user:anna",
            client="ip:192.0.2.1",
            name=NAME,
            state=JobState.FAILED,
            request=request,
            created_at=1.0,
            storage_id="here",
            message=f"{NAME} at {LINK} cannot be had.",
            error=DownloadFailed(f"{LINK} answers 404."),
        )
    )
    store.add_history(ID, HistoryEntry(2.0, "submitted", f"Submitted: {NAME}"))
    store.add_history(ID, HistoryEntry(3.0, "segment_retried", "Trying segment 3 again."))
    database.close()
    return settings


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "app.log"
    at = "2026-11-21T04:48:00.123Z"
    path.write_text(
        f"{at} Warning:     password  f1rst-Passw0rd\n"
        f"{at} INFO anna logged in from 192.0.2.1\n"
        f"{at} INFO Started: {NAME} (job {ID})\n"
        f"{at} INFO Started: unheard of.mp3 (job abcdefghijklmnop)\n"
        f"{at} INFO [GPU 0] Processing segment 3 (12.3s) (job {ID})\n"
        f"{at} ERROR The collector refuses 0tlp-pass\n"
        f"{at} ERROR The token is {SECRETS['WHISPER_METRICS_TOKEN']}, from {LINK}\n"
    )
    return path


def contents(path: Path) -> dict[str, str]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_nothing_private_is_in_it_and_what_helps_is(
    settings: Settings, log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "report.zip"
    assert main(["doctor", "--bundle", str(path), "--log", str(log), "--yes"]) == 0
    files = contents(path)
    shown = capsys.readouterr().out
    for name, text in files.items():
        assert f"{len(text.encode()):,} bytes  {name}\n" in shown
        for private in PRIVATE:
            assert private not in text, f"{private} in {name}"
    assert "Processing segment 3" in files["log.txt"]
    (job,) = json.loads(files["jobs.json"])["jobs"]
    assert (job["id"], job["state"], job["error"]["type"]) == (
        "Yk3rT0…",
        "failed",
        "DownloadFailed",
    )
    assert job["options"]["initial_prompt"] == f"{len(PROMPT)} characters"
    assert job["history"][1]["text"] == "Trying segment 3 again."
    shown_settings = json.loads(files["settings.json"])
    assert shown_settings["api_key"] == "is set, not shown"
    assert shown_settings["database_url"] is None
    assert shown_settings["beam_size"] == 5
    assert "prometheus_client" in json.loads(files["versions.json"])["packages"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_names_and_texts_are_in_it_where_they_are_asked_for_and_secrets_are_not(
    settings: Settings, log: Path, tmp_path: Path
) -> None:
    path = tmp_path / "report.zip"
    arguments = ["doctor", "--bundle", str(path), "--log", str(log), "--yes", "--with-names"]
    assert main(arguments) == 0
    files = contents(path)
    assert json.loads(files["jobs.json"])["jobs"][0]["options"]["initial_prompt"] == PROMPT
    assert f"Started: {NAME}" in files["log.txt"]
    for name, text in files.items():
        for secret in (*PRIVATE[:7], ID, "f1rst-Passw0rd"):
            assert secret not in text, f"{secret} in {name}"


def test_nothing_is_written_without_a_yes(
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "report.zip"
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    assert main(["doctor", "--bundle", str(path)]) == 2
    assert "--yes" in capsys.readouterr().err
    answers = iter(["s", "perhaps", "n"])
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda prompt: next(answers))
    assert main(["doctor", "--bundle", str(path)]) == 0
    assert capsys.readouterr().out.count("===== settings.json =====") == 2
    assert not path.exists()
    path.write_text("mine")
    assert main(["doctor", "--bundle", str(path), "--yes"]) == 2
    assert path.read_text() == "mine"


def test_without_a_database_or_readable_settings_the_rest_is_written(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "first.zip", tmp_path / "second.zip"
    monkeypatch.setenv("WHISPER_DATA_DIR", str(tmp_path / "nowhere"))
    assert main(["doctor", "--bundle", str(first), "--yes"]) == 0
    files = contents(first)
    assert json.loads(files["jobs.json"])["problem"] == "There is no job database yet."
    assert "docker logs" in files["log.txt"]
    assert not (tmp_path / "nowhere").exists()
    monkeypatch.setenv("WHISPER_PORT", "many")
    assert main(["doctor", "--bundle", str(second), "--yes"]) == 0
    assert "WHISPER_PORT" in contents(second)["doctor.txt"]
