"""What workers measured outlives the service, on SQLite and on PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.settings import Settings
from gpu.manager import gpu_manager
from gpu.peaks import Peak
from jobs.database import Database
from jobs.outbox import Outbox
from jobs.peaks import PeakStore, learn, load_learned


def peak(mib: float, device: str = "NVIDIA L4", batch_size: int = 8, runs: int = 1) -> Peak:
    return Peak(
        device=device, model="base", compute_type="float16", batch_size=batch_size,
        beam_size=5, peak_mib=mib, runs=runs,
    )  # fmt: skip


def test_highest_measurement_of_a_set_up_stays(database: Database) -> None:
    store = PeakStore(database)
    for mib in (900.5, 1000.25, 950.0):
        store.record(peak(mib))
    store.record(peak(700.0, batch_size=1))
    found = {each.batch_size: each for each in store.all()}
    assert found[8] == peak(1000.25, runs=3)
    assert found[1] == peak(700.0, batch_size=1)


def test_what_workers_report_is_kept_until_learning_ends(database: Database) -> None:
    outbox = Outbox()
    end = learn(database, outbox)
    try:
        gpu_manager.peaks.add(peak(1234.0, device="card of this test"))
        end()
        gpu_manager.peaks.add(peak(5678.0, device="card of this test"))
    finally:
        assert outbox.close(10)
    assert PeakStore(database).all() == [peak(1234.0, device="card of this test")]


def test_next_service_begins_with_what_was_learned(database: Database) -> None:
    PeakStore(database).record(peak(4321.0, device="card of another life"))
    outbox = Outbox()
    learn(database, outbox)()
    outbox.close(10)
    assert list(gpu_manager.peaks.of_device("card of another life").values()) == [
        peak(4321.0, device="card of another life")
    ]


def test_commands_read_what_services_learned(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(data_dir=tmp_path)
    load_learned(settings)
    assert list(tmp_path.iterdir()) == []
    database = Database.open(settings)
    PeakStore(database).record(peak(99.0, device="card of a service"))
    database.close()
    load_learned(settings)
    assert gpu_manager.peaks.of_device("card of a service")
    (tmp_path / "jobs.sqlite3").write_bytes(b"no database at all" * 1000)
    load_learned(settings)
    assert "What was measured earlier cannot be read" in caplog.text
