from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from core.errors import ClientLimit, DiskFull, QueueFull
from core.settings import Settings
from jobs.admission import MIB, Admission


def admission(tmp_path: Path, **changes: object) -> Admission:
    fields: dict[str, object] = {
        "max_running_jobs": 2,
        "max_waiting_jobs": 3,
        "max_client_jobs": 4,
        "min_free_mib": 0,
        "data_dir": tmp_path / "not" / "yet",
    }
    return Admission(Settings(**{**fields, **changes}))  # type: ignore[arg-type]


def test_places_are_those_that_run_and_those_that_wait(tmp_path: Path) -> None:
    limits = admission(tmp_path)
    limits.check(client="user:a", jobs=4, of_client=3)
    with pytest.raises(QueueFull, match="5 jobs are running or waiting"):
        limits.check(client="user:a", jobs=5, of_client=0)


def test_a_client_has_its_share_and_the_only_user_here_has_none(tmp_path: Path) -> None:
    limits = admission(tmp_path)
    with pytest.raises(ClientLimit, match="4 of your jobs") as caught:
        limits.check(client="user:a", jobs=4, of_client=4)
    assert caught.value.retry_after_s
    limits.check(client="local", jobs=4, of_client=4)
    admission(tmp_path, max_client_jobs=0).check(client="ip:10.0.0.1", jobs=4, of_client=4)


def test_too_little_disk_refuses_and_says_how_much(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free // MIB
    admission(tmp_path).check_disk()
    with pytest.raises(DiskFull, match="MiB are free"):
        admission(tmp_path, min_free_mib=free + 1024).check(client="local", jobs=0, of_client=0)
    with pytest.raises(DiskFull):
        admission(tmp_path).check_disk((free + 1024) * MIB)
