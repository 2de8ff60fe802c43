"""``users`` and ``keys`` as they are typed."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from access.credentials import ApiKeys, Users
from cli.main import main
from core.settings import Settings


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("WHISPER_DATA_DIR", str(tmp_path))
    return Settings()


def typed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_a_user_is_added_changed_listed_and_removed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed(monkeypatch, "first password\n")
    assert main(["users", "add", "alice"]) == 0
    typed(monkeypatch, "second password\n")
    assert main(["users", "add", "alice"]) == 0
    assert Users(settings).verify("alice", "second password")
    assert main(["users", "list"]) == 0
    assert main(["users", "remove", "alice"]) == 0
    assert main(["users", "remove", "alice"]) == 2
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        "Added alice.",
        "Changed the password of alice.",
        "alice",
        "Removed alice, who is logged out everywhere.",
    ]
    assert "There is no user 'alice'." in said.err
    assert "password" not in said.err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_in_a_terminal_the_password_is_asked_for_twice(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal())
    answers = iter(["first password", "another one", "the same one", "the same one"])
    monkeypatch.setattr("getpass.getpass", lambda _: next(answers))
    assert main(["users", "add", "alice"]) == 2
    assert "differ" in capsys.readouterr().err
    assert Users(settings).names() == []
    assert main(["users", "add", "alice"]) == 0
    assert Users(settings).verify("alice", "the same one")


def test_a_bad_password_or_name_changes_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed(monkeypatch, "short\n")
    assert main(["users", "add", "alice"]) == 2
    typed(monkeypatch, "long enough\n")
    assert main(["users", "add", "a:b"]) == 2
    assert Users(settings).names() == []
    assert "8 to 1000 characters" in capsys.readouterr().err


def test_a_key_is_printed_once_alone_on_standard_output(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["keys", "add", "bot"]) == 0
    said = capsys.readouterr()
    key = said.out.strip()
    assert ApiKeys(settings).name_of(key) == "bot"
    assert key not in said.err
    assert main(["keys", "list"]) == 0
    assert capsys.readouterr().out == "bot\n"
    assert main(["keys", "add", "bot"]) == 2
    assert main(["keys", "remove", "bot"]) == 0
    assert main(["keys", "remove", "bot"]) == 2
    assert "There are none yet." in capsys.readouterr().err
