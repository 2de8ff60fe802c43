"""The database away, locked, full or damaged: what that is called, and that nothing is lost."""

from __future__ import annotations

import logging
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import jobs.database
from core.errors import DatabaseUnavailable, DiskFull
from core.settings import Settings
from jobs import schema
from jobs.database import Database
from jobs.outbox import Outbox
from jobs.records import HistoryEntry
from jobs.store import JobStore
from tests.jobs.recordings import small_disk
from tests.jobs.test_store import record
from tests.postgres import PostgresServer
from tests.waiting import PATIENCE_S


def on_sqlite(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data")


def sqlite_file(tmp_path: Path) -> Path:
    return tmp_path / "data" / "jobs.sqlite3"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk") as path:
        yield path


@pytest.fixture
def running(postgres: PostgresServer) -> Iterator[PostgresServer]:
    """The server for tests that stop it."""
    yield postgres
    if not postgres.running:
        postgres.start()


def test_a_database_that_is_locked_too_long_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(jobs.database, "BUSY_S", 0.05)
    database = Database.open(on_sqlite(tmp_path))
    store = JobStore(database)
    other = sqlite3.connect(sqlite_file(tmp_path), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseUnavailable) as caught:
        store.insert(record("a"))
    assert not database.answers
    # Where it lies is said to the operator alone.
    assert str(tmp_path) not in caught.value.explain()
    assert f"{sqlite_file(tmp_path)} does not answer: database is locked" in caplog.text
    assert store.get("a") is None
    assert database.answers
    other.execute("ROLLBACK")
    other.close()
    store.insert(record("a"))
    held, go = threading.Event(), threading.Event()

    def hold() -> None:
        with database.write():
            held.set()
            assert go.wait(PATIENCE_S)

    with ThreadPoolExecutor(1) as thread:
        holding = thread.submit(hold)
        assert held.wait(PATIENCE_S)
        with pytest.raises(DatabaseUnavailable, match="busy"):
            store.insert(record("b"))
        go.set()
        holding.result(PATIENCE_S)
    database.close()


def test_a_full_disk_is_called_so_and_is_survived(small: Path) -> None:
    database = Database.open(Settings(data_dir=small))
    store = JobStore(database)
    store.insert(record("a"))
    ballast = small / "ballast"
    ballast.write_bytes(b"x" * (shutil.disk_usage(small).free - 100_000))
    written: list[int] = []

    def fill() -> None:
        for number in range(100):
            store.record_segment("a", number, "key", "x" * 20_000)
            written.append(number)

    with pytest.raises(DiskFull, match="no space left"):
        fill()
    assert sorted(store.segments("a")) == written
    ballast.unlink()
    store.record_segment("a", 100, "key", "payload")
    assert store.segments("a")[100] == ("key", "payload")
    database.close()


def test_no_room_for_a_new_database_is_called_so(small: Path) -> None:
    ballast = small / "ballast"
    ballast.write_bytes(b"x" * shutil.disk_usage(small).free)
    with pytest.raises(DiskFull, match="No space left"):
        Database.open(Settings(data_dir=small))
    ballast.unlink()
    Database.open(Settings(data_dir=small)).close()
    # There now, but SQLite needs some room beside it; it calls that an error of the disk.
    ballast.write_bytes(b"x" * shutil.disk_usage(small).free)
    with pytest.raises(DiskFull, match="No space left"):
        Database.open(Settings(data_dir=small))


def test_a_file_that_is_no_database_is_refused_with_a_way_out(tmp_path: Path) -> None:
    sqlite_file(tmp_path).parent.mkdir()
    sqlite_file(tmp_path).write_bytes(b"not a database" * 1000)
    with pytest.raises(DatabaseUnavailable, match=r"jobs\.sqlite3") as caught:
        Database.open(on_sqlite(tmp_path))
    assert "backup" in caught.value.hint


def test_no_server_is_said_with_its_place(tmp_path: Path) -> None:
    url = "postgresql://someone:hunter2@127.0.0.1:1/jobs"
    with pytest.raises(DatabaseUnavailable, match=r"127\.0\.0\.1") as caught:
        Database.open(Settings(data_dir=tmp_path, database_url=url))
    assert "hunter2" not in caught.value.explain()


def test_a_database_that_goes_away_for_a_while_loses_nothing(
    running: PostgresServer,
    postgres_url: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    database = Database.open(Settings(data_dir=tmp_path, database_url=postgres_url))
    store, outbox = JobStore(database), Outbox()
    store.insert(record("a"))
    running.stop()
    for number in range(3):
        outbox.put(lambda n=number: store.record_segment("a", n, "key", f"payload {n}"))  # type: ignore[misc]
        outbox.put(lambda n=number: store.add_history("a", HistoryEntry(n, "note", "x")))  # type: ignore[misc]
    for _ in range(3):
        with pytest.raises(DatabaseUnavailable):
            store.get("a")
    assert not database.answers
    assert outbox.backlog() == 6
    running.start()
    assert outbox.flush(PATIENCE_S)
    assert store.segments("a") == {n: ("key", f"payload {n}") for n in range(3)}
    assert [entry.at for entry in store.history("a")] == [0.0, 1.0, 2.0]
    assert database.answers
    assert outbox.close(0.0)
    database.close()
    lines = [line.levelname for line in caplog.records if line.name == "jobs.database"]
    assert lines == ["ERROR", "INFO"]


def test_connections_that_are_cut_are_made_again(
    postgres: PostgresServer, postgres_url: str, tmp_path: Path
) -> None:
    database = Database.open(Settings(data_dir=tmp_path, database_url=postgres_url))
    store = JobStore(database)
    store.insert(record("a"))
    cut_connections(postgres)
    assert store.get("a") is not None

    def lose() -> None:
        with database.write() as connection:
            cut_connections(postgres)
            connection.execute(schema.runners.select())

    with pytest.raises(DatabaseUnavailable):
        lose()
    assert store.get("a") is not None
    database.close()


def cut_connections(postgres: PostgresServer) -> None:
    with postgres.connect() as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'whisper-for-subs'"
        )
