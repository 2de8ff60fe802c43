"""Users and keys on the disk: nothing to read there, and changes are noticed."""

from __future__ import annotations

import stat
from pathlib import Path
from threading import Thread

import pytest

from access.credentials import ApiKeys, NamedLines, Users
from core.errors import InvalidOption
from core.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


def test_a_password_is_checked_and_cannot_be_read(settings: Settings) -> None:
    users = Users(settings)
    assert users.add("alice", "correct horse")
    assert users.verify("alice", "correct horse")
    assert not users.verify("alice", "correct hors")
    assert not users.verify("alice", "correct horse" * 100)
    assert not users.verify("bob", "correct horse")
    written = users.file.path
    assert "horse" not in written.read_text()
    assert written.read_text().startswith("alice:$argon2id$")
    assert stat.S_IMODE(written.stat().st_mode) == 0o600


def test_a_running_service_notices_changes_of_another_process(settings: Settings) -> None:
    service, command = Users(settings), Users(settings)
    command.add("alice", "first password")
    before = service.fingerprint("alice")
    assert service.verify("alice", "first password")
    assert not command.add("alice", "second password"), "the name is not new"
    assert not service.verify("alice", "first password")
    assert service.fingerprint("alice") != before
    assert command.remove("alice")
    assert service.fingerprint("alice") is None
    assert not service.verify("alice", "second password")
    assert not command.remove("alice")


@pytest.mark.parametrize("name", ["", "a:b", "a\nb", "../x", "-x", "a b", "ä", "x" * 65])
def test_names_that_could_break_the_file_are_refused(settings: Settings, name: str) -> None:
    with pytest.raises(InvalidOption, match="is not a valid name"):
        Users(settings).add(name, "long enough")
    with pytest.raises(InvalidOption, match="is not a valid name"):
        ApiKeys(settings).add(name)


@pytest.mark.parametrize("password", ["", "short", "x" * 1001])
def test_passwords_that_are_too_short_or_endless_are_refused(
    settings: Settings, password: str
) -> None:
    with pytest.raises(InvalidOption, match="characters"):
        Users(settings).add("alice", password)


def test_a_key_is_known_by_its_hash_alone(settings: Settings) -> None:
    keys = ApiKeys(settings)
    first, second = keys.add("bot"), keys.add("other")
    assert len({first, second}) == 2
    assert first not in keys.file.path.read_text()
    assert (keys.name_of(first), keys.name_of(second)) == ("bot", "other")
    assert keys.name_of(first[:-1]) is None
    assert keys.name_of("") is None
    with pytest.raises(InvalidOption, match="already"):
        keys.add("bot")
    assert keys.remove("bot")
    assert keys.name_of(first) is None


def test_only_one_of_two_services_makes_the_first_user(settings: Settings) -> None:
    made: list[bool] = []
    starts = [
        Thread(target=lambda n=n: made.append(Users(settings).add_first("admin", f"password {n}")))
        for n in range(4)
    ]
    for start in starts:
        start.start()
    for start in starts:
        start.join()
    assert sorted(made) == [False, False, False, True]


def test_a_slip_in_the_file_locks_nobody_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "users.txt"
    path.write_text("# people\n\nalice:hash\nthis is no line\nbob:other\n")
    assert dict(NamedLines(path).read()) == {"alice": "hash", "bob": "other"}
    assert "line 4 is not name:hash" in caplog.text
    assert "this is no line" not in caplog.text, "it might be a password"


def test_a_hash_of_another_kind_lets_nobody_in(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    users = Users(settings)
    users.file.path.write_text("alice:5f4dcc3b5aa765d61d8327deb882cf99\n")
    assert not users.verify("alice", "password")
    assert "no argon2 hash" in caplog.text


def test_a_folder_in_place_of_the_file_is_explained(tmp_path: Path) -> None:
    settings = Settings(users_file=tmp_path)
    with pytest.raises(InvalidOption, match="cannot be used") as caught:
        Users(settings).names()
    assert "readable and writable" in caught.value.hint
