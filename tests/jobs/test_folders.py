from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.errors import InvalidOption
from core.settings import Settings
from jobs.folders import JobFolders
from jobs.job import JobState
from jobs.request import JobRequest
from jobs.service import JobService
from tests.jobs.conftest import ended

DAY_S = 86_400.0

HOLD = """
import sys
from pathlib import Path
from jobs.folders import JobFolders
with JobFolders(Path(sys.argv[1])).locked("other"):
    print("locked", flush=True)
    sys.stdin.read()
"""


def job_folder(root: Path, name: str, age_s: float = 0.0) -> Path:
    folder = root / "jobs" / name
    (folder / "spool-abc").mkdir(parents=True)
    (folder / "spool-abc" / "audio.pcm").write_bytes(b"12")
    (folder / "talk.srt").write_text("1")
    os.utime(folder, (time.time() - age_s,) * 2)
    return folder


def test_a_sweep_removes_dead_spools_and_expired_folders_only(tmp_path: Path) -> None:
    young, old = job_folder(tmp_path, "young"), job_folder(tmp_path, "old", 2 * DAY_S)
    known = job_folder(tmp_path, "known", 2 * DAY_S)
    JobFolders(tmp_path).sweep(DAY_S, ["known"])
    assert os.listdir(young) == ["talk.srt"]
    assert not old.exists()
    assert len(os.listdir(known)) == 2
    JobFolders(tmp_path / "nothing").sweep(DAY_S, [])


def test_a_folder_in_use_by_another_process_is_left_alone(tmp_path: Path, root: Path) -> None:
    folder = job_folder(tmp_path, "other", 2 * DAY_S)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        cwd=root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        JobFolders(tmp_path).sweep(DAY_S, [])
        assert len(os.listdir(folder)) == 2
        other.communicate()
    JobFolders(tmp_path).sweep(DAY_S, [])
    assert not folder.exists()


def test_a_folder_that_cannot_be_made_says_which_setting_to_change(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(InvalidOption, match="job's folder") as caught,
        JobFolders(tmp_path / "file").locked("x"),
    ):
        pass
    assert "WHISPER_DATA_DIR" in caught.value.hint


def test_jobs_are_forgotten_with_their_files_after_their_time(
    service: JobService, short: JobRequest
) -> None:
    job = service.submit(short)
    assert ended(job).state is JobState.COMPLETE
    folder = service.folders.path(job.id)
    service.forget_expired(DAY_S)
    assert folder.exists()
    service.forget_expired(0.0)
    assert not folder.exists()
    assert service.get(job.id) is None
    assert job not in service.jobs()


def test_what_an_earlier_run_left_is_swept_at_start(settings: Settings, tmp_path: Path) -> None:
    folder = job_folder(tmp_path, "left")
    service = JobService(settings.model_copy(update={"data_dir": tmp_path}))
    service.close()  # waits for the sweeper, which looks first and sleeps then
    assert os.listdir(folder) == ["talk.srt"]
