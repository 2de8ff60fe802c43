"""Opening, upgrading and losing the database, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import subprocess
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, text

from core.errors import DatabaseUnavailable, InvalidOption
from core.settings import Settings
from jobs import schema
from jobs.database import UPGRADE_LOCK, Database
from jobs.store import JobStore
from jobs.upgrade import downgrade, upgrade
from tests.jobs.test_store import record
from tests.postgres import PASSWORD, PostgresServer
from tests.waiting import PATIENCE_S, eventually

ROOT = Path(__file__).resolve().parent.parent.parent

OPEN = """
import sys
from core.settings import Settings
from jobs.database import Database
from jobs.store import JobStore

print("ready", flush=True)
sys.stdin.readline()
database = Database.open(Settings(data_dir=sys.argv[1], database_url=sys.argv[2] or None))
JobStore(database).beat(sys.argv[3], "here", 1.0)
database.close()
"""


def on_sqlite(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data")


def test_a_new_database_has_the_tables_of_the_schema(database: Database) -> None:
    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []


def test_what_is_stored_is_there_after_a_restart(database_settings: Settings) -> None:
    with closing(Database.open(database_settings)) as database:
        JobStore(database).insert(record("a"))
    with closing(Database.open(database_settings)) as database:
        assert JobStore(database).get("a") == record("a")


def test_going_back_to_nothing_and_up_again_works(database: Database) -> None:
    with database.write() as connection:
        downgrade(connection)
        assert set(inspect(connection).get_table_names()) == {"alembic_version"}
        upgrade(connection)
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []


@pytest.mark.process
def test_services_that_start_at_once_all_succeed(database_settings: Settings) -> None:
    where = [str(database_settings.data_dir), database_settings.database_url or ""]
    services = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", OPEN, *where, f"r{number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for number in range(2)
    ]
    for service in services:
        assert service.stdout is not None
        assert service.stdout.readline() == "ready\n"
    for service in services:
        assert service.stdin is not None
        service.stdin.write("\n")
        service.stdin.flush()
    for service in services:
        service.communicate(timeout=PATIENCE_S)
    assert [service.returncode for service in services] == [0, 0]
    with closing(Database.open(database_settings)) as database, database.read() as connection:
        assert len(connection.execute(schema.runners.select()).all()) == len(services)


def test_threads_that_open_at_once_all_succeed(database_settings: Settings) -> None:
    with ThreadPoolExecutor(4) as threads:
        opened = list(threads.map(lambda _: Database.open(database_settings), range(4)))
    for database in opened:
        JobStore(database).beat("r", "here", 1.0)
        database.close()


def test_a_service_waits_for_the_lock_of_one_that_upgrades(tmp_path: Path) -> None:
    settings = on_sqlite(tmp_path)
    Database.open(settings).close()
    with (
        ThreadPoolExecutor(1) as thread,
        (settings.data_dir / "jobs.sqlite3.lock").open() as lock,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX)
        opened = thread.submit(Database.open, settings)
        waits = re.compile(rf"-> FLOCK .*:{os.fstat(lock.fileno()).st_ino} ")
        eventually(lambda: bool(waits.search(Path("/proc/locks").read_text())), "it waits")
        assert not opened.done()
        fcntl.flock(lock, fcntl.LOCK_UN)
        opened.result(PATIENCE_S).close()


def test_databases_that_are_opened_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    settings = [Settings(data_dir=tmp_path / str(number)) for number in range(8)]
    with ThreadPoolExecutor(8) as threads:
        for database in threads.map(Database.open, settings):
            JobStore(database).beat("r", "here", 1.0)
            database.close()


def test_a_service_waits_while_another_upgrades_the_tables(
    postgres: PostgresServer, postgres_url: str, tmp_path: Path
) -> None:
    settings = Settings(data_dir=tmp_path, database_url=postgres_url)
    waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    with ThreadPoolExecutor(1) as thread, postgres.connect() as other:
        other.execute("SELECT pg_advisory_lock(%s)", [UPGRADE_LOCK])
        opened = thread.submit(Database.open, settings)
        eventually(lambda: other.execute(waits).fetchone() != (0,), "it waits")
        assert not opened.done()
        other.execute("SELECT pg_advisory_unlock(%s)", [UPGRADE_LOCK])
        opened.result(PATIENCE_S).close()


def test_a_database_of_a_newer_version_is_refused(database_settings: Settings) -> None:
    database = Database.open(database_settings)
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    with pytest.raises(DatabaseUnavailable, match="newer version") as caught:
        Database.open(database_settings)
    assert "Start that version" in caught.value.hint
    with database.read() as connection:  # and nothing of it was changed
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []
    database.close()


def test_what_fails_leaves_nothing_of_its_transaction(database: Database) -> None:
    def fail() -> None:
        with database.write() as connection:
            connection.execute(
                schema.runners.insert(), {"id": "r", "storage_id": "x", "beat_at": 1.0}
            )
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with database.read() as connection:
        assert connection.execute(schema.runners.select()).all() == []
    JobStore(database).insert(record("a"))
    assert database.answers


def test_sqlite_waits_for_no_disk_and_lets_readers_read(tmp_path: Path) -> None:
    database = Database.open(on_sqlite(tmp_path))
    with database.read() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert pragmas == {
        "journal_mode": "wal",
        "synchronous": 1,
        "foreign_keys": 1,
        "busy_timeout": 10_000,
    }
    store = JobStore(database)
    with database.write() as connection:
        connection.execute(schema.runners.insert(), {"id": "r", "storage_id": "x", "beat_at": 1.0})
        with ThreadPoolExecutor(1) as thread:
            assert thread.submit(store.get, "a").result(PATIENCE_S) is None
    database.close()


def test_a_data_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(InvalidOption, match="data directory"):
        Database.open(on_sqlite(tmp_path))


@pytest.mark.parametrize(
    "url",
    ["hunter2", "mysql://u:hunter2@h/d", "sqlite:///hunter2", "postgresql://u:hunter2@h:port/d"],
)
def test_what_is_no_address_of_a_database_is_refused_without_quoting_it(
    tmp_path: Path, url: str
) -> None:
    with pytest.raises(InvalidOption) as caught:
        Database.open(Settings(data_dir=tmp_path, database_url=url))
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
    assert "hunter2" not in caught.value.explain()


def test_the_password_is_told_to_nobody(
    postgres: PostgresServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    url = postgres.url("hunter2/x")
    with pytest.raises(DatabaseUnavailable, match="password authentication failed") as caught:
        Database.open(Settings(data_dir=tmp_path, database_url=url))
    good = Database.open(Settings(data_dir=tmp_path, database_url=postgres.url()))
    told = "".join(traceback.format_exception(caught.value)) + caplog.text + f"{good} {good!r}"
    assert "hunter2" not in told
    assert PASSWORD not in told
    good.close()


def test_the_older_name_of_the_scheme_and_own_options_are_taken(
    postgres_url: str, tmp_path: Path
) -> None:
    url = postgres_url.replace("postgresql:", "postgres:") + "?application_name=mine"
    database = Database.open(Settings(data_dir=tmp_path, database_url=url))
    with database.read() as connection:
        assert connection.execute(text("SHOW application_name")).scalar() == "mine"
        assert connection.execute(text("SHOW lock_timeout")).scalar() == "10s"
    database.close()


def test_a_user_without_rights_and_an_unknown_option_are_said(
    postgres_url: str, tmp_path: Path
) -> None:
    for url, reason in (
        (postgres_url + "?colour=red", "colour"),
        (postgres_url + "?options=-c%20default_transaction_read_only%3Don", "read-only"),
        (postgres_url + "?options=-c%20search_path%3Dnowhere", "no schema"),
    ):
        with pytest.raises(DatabaseUnavailable, match=reason) as caught:
            Database.open(Settings(data_dir=tmp_path, database_url=url))
        assert caught.value.hint
