from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from core.files import create_file, disk_is_full, replace_file


def test_a_file_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "a.srt"
    for content in (b"old and long", b"new"):
        replace_file(target, content)
        assert target.read_bytes() == content
    assert list(tmp_path.iterdir()) == [target]
    assert stat.S_IMODE(target.stat().st_mode) & stat.S_IRUSR


def test_a_private_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    replace_file(tmp_path / "keys", b"secret", private=True)
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o600


def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "a.srt"
    replace_file(target, b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space") as caught:
        replace_file(target, b"new")
    assert disk_is_full(caught.value)
    assert list(tmp_path.iterdir()) == [target]
    assert target.read_bytes() == b"old"


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(errno.EDQUOT, "quota"), True),
        (OSError(errno.EACCES, "denied"), False),
        (ValueError(errno.ENOSPC), False),
    ],
)
def test_a_full_disk_and_a_used_up_quota_count_as_full(error: Exception, full: bool) -> None:
    assert disk_is_full(error) is full


def test_of_two_that_create_a_file_the_first_wins(tmp_path: Path) -> None:
    target = tmp_path / "secret"
    assert create_file(target, b"first", private=True)
    assert not create_file(target, b"second", private=True)
    assert target.read_bytes() == b"first"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [target]
