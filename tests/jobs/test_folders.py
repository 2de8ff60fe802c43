from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import InvalidOption
from core.settings import Settings
from jobs.folders import JobFolders, recording_name
from jobs.request import JobRequest
from jobs.service import JobService
from tests.jobs.conftest import ended
from tests.waiting import PATIENCE_S, eventually

DAY_S = 86_400.0

HOLD = """
import sys
from pathlib import Path
from jobs.folders import JobFolders
with JobFolders(Path(sys.argv[1])).locked("other"):
    print("locked", flush=True)
    sys.stdin.read()
"""


def nobody(name: str) -> bool:
    return False


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
    JobFolders(tmp_path).sweep(DAY_S, lambda name: name == "known")
    assert os.listdir(young) == ["talk.srt"]
    assert not old.exists()
    assert os.listdir(known) == ["talk.srt"]
    JobFolders(tmp_path / "nothing").sweep(DAY_S, nobody)


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
        # What was there before the lock was of a run that is dead.
        assert os.listdir(folder) == ["talk.srt"]
        (folder / "spool-new").mkdir()
        os.utime(folder, (time.time() - 2 * DAY_S,) * 2)
        JobFolders(tmp_path).sweep(DAY_S, nobody)
        assert len(os.listdir(folder)) == 2
        other.communicate()
    JobFolders(tmp_path).sweep(DAY_S, nobody)
    assert not folder.exists()


def test_a_folder_that_cannot_be_made_says_which_setting_to_change(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(InvalidOption, match="job's folder") as caught,
        JobFolders(tmp_path / "file").locked("x"),
    ):
        pass
    assert "WHISPER_DATA_DIR" in caught.value.hint


def test_expired_jobs_are_removed_with_their_files(settings: Settings, short: JobRequest) -> None:
    changed = settings.model_copy(update={"keep_jobs_hours": 24.0})
    with JobService(changed) as service:
        job = service.submit(replace(short, adopt="link"))
        ended_at = ended(job).ended_at
        assert ended_at is not None
        folder = service.folders.path(job.id)
        service.maintenance.sweep()
        assert sorted(os.listdir(folder)) == [
            "LJ001-0002.srt",
            "recording.flac",
            "transcript.json.gz",
        ]
        assert service.maintenance.outbox.flush(PATIENCE_S)
        service.store.update(job.id, ended_at=ended_at - DAY_S - 1.0)
        service.maintenance.sweep()
        assert not folder.exists()
        assert service.get(job.id) is None
        assert job not in service.jobs()


def test_what_an_earlier_run_left_is_swept_at_start(settings: Settings, tmp_path: Path) -> None:
    folder = job_folder(tmp_path, "left")
    with JobService(settings.model_copy(update={"data_dir": tmp_path})):
        eventually(lambda: os.listdir(folder) == ["talk.srt"], "the spool is gone")


def test_a_recording_is_kept_under_a_name_of_ours(tmp_path: Path) -> None:
    folders = JobFolders(tmp_path)
    source = tmp_path / "upload"
    source.write_bytes(b"x")
    kept = folders.adopt("a", source, "../../evil\u202e<b>.MP3", "link")
    assert kept == tmp_path / "jobs" / "a" / "recording.mp3"
    assert kept.samefile(source)
    assert recording_name("a.b/../c") == "recording"
    assert recording_name("x.mp4; rm -rf") == "recording"
    upload = folders.incoming / "random" / "recording.wav"
    upload.parent.mkdir(parents=True)
    upload.write_bytes(b"y")
    moved = folders.adopt("b", upload, "talk.wav", "move")
    assert moved.read_bytes() == b"y"
    assert list(folders.incoming.iterdir()) == []


def test_a_linked_recording_is_kept_itself_and_not_what_it_points_to(tmp_path: Path) -> None:
    target = tmp_path / "target.wav"
    target.write_bytes(b"sound")
    link = tmp_path / "link.wav"
    link.symlink_to(target)
    kept = JobFolders(tmp_path).adopt("a", link, "link.wav", "link")
    target.unlink()
    assert not kept.is_symlink()
    assert kept.read_bytes() == b"sound"


def test_a_transcript_is_kept_whole_or_not_at_all(tmp_path: Path) -> None:
    folders = JobFolders(tmp_path)
    folders.path("a").mkdir(parents=True)
    assert folders.transcript("a") is None
    folders.keep_transcript("a", "Grüße")
    assert folders.transcript("a") == "Grüße"
    assert os.listdir(folders.path("a")) == ["transcript.json.gz"]
