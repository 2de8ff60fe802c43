"""Cores, memory and disks against the settings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from core.settings import Settings
from doctor.resources import cores, data, disks, memory, models_folder, why_not_writable
from parallel_transcriber import CPU_WORKER_MIB
from tests.doctor.conftest import only, severities

Chosen = Callable[..., Settings]


def test_more_workers_than_cores_are_told(settings: Chosen) -> None:
    assert only(cores(settings(), 8)).text == "8 cores are available."
    found = only(cores(settings(workers=4, threads=4), 8))
    assert found.severity == "warning"
    assert "`WHISPER_WORKERS=2`" in found.fix
    found = only(cores(settings(threads=16), 8))
    assert "`WHISPER_THREADS=8`" in found.fix


def test_workers_have_to_fit_into_memory(settings: Chosen) -> None:
    assert only(memory(settings(workers=2), 4000, 8000)).severity == "ok"
    found = only(memory(settings(workers=8), 2000, 8000))
    assert found.severity == "warning"
    assert f"`WHISPER_WORKERS={2000 // CPU_WORKER_MIB}`" in found.fix
    assert only(memory(settings(), 100, 8000)).severity == "warning"
    assert only(memory(settings(), None, None)).severity == "hint"


def test_disks_with_room_are_in_order(settings: Chosen) -> None:
    assert severities(disks(settings(), lambda path: 50_000)) == ["ok"] * 3


def test_a_full_disk_is_an_error_before_jobs_are_refused(settings: Chosen) -> None:
    chosen = settings(min_free_mib=512)
    assert only(data(chosen, lambda path: 400)).severity == "error"
    assert only(data(chosen, lambda path: 1000)).severity == "warning"
    assert "WHISPER_DATA_DIR" in only(data(chosen, lambda path: 1000)).fix
    assert only(models_folder(chosen, lambda path: 1000)).severity == "warning"
    _, _, temporary = disks(chosen, lambda path: 100)
    assert temporary.severity == "warning"


def test_a_folder_that_cannot_be_written_is_told_with_its_setting(
    settings: Chosen, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    chosen = settings(data_dir=tmp_path / "file" / "data", models_dir=tmp_path / "file")
    found = only(data(chosen, lambda path: 50_000))
    assert (found.severity, "WHISPER_DATA_DIR" in found.fix) == ("error", True)
    found = only(models_folder(chosen, lambda path: 50_000))
    assert (found.severity, "WHISPER_MODELS_DIR" in found.fix) == ("warning", True)


def test_writing_is_tried_and_not_believed() -> None:
    # Also an administrator, who may do anything, can make no file there.
    assert why_not_writable(Path("/proc")) != ""


def test_looking_makes_no_folder(settings: Chosen, tmp_path: Path) -> None:
    chosen = settings()
    disks(chosen, lambda path: 50_000)
    assert not chosen.data_dir.exists()
    assert not chosen.models_dir.exists()
