"""Services know which of them live, from real processes and from beats."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import select

from core.errors import InvalidOption
from core.settings import Settings
from jobs import schema
from jobs.database import Database
from jobs.runners import DEAD_AFTER_S, Runner
from jobs.store import JobStore

ROOT = Path(__file__).resolve().parent.parent.parent

SERVICE = """
import subprocess, sys
from core.settings import Settings
from jobs.database import Database
from jobs.runners import Runner
from jobs.store import JobStore

settings = Settings(data_dir=sys.argv[1], database_url=sys.argv[2] or None)
runner = Runner(settings.data_dir, JobStore(Database.open(settings)))
runner.start()
# A child that outlives it, as a worker process might.
child = subprocess.Popen(["sleep", "600"], close_fds=False)
print(runner.id, child.pid, flush=True)
sys.stdin.read()
runner.close()
child.kill()
child.wait()
"""


@pytest.fixture
def store(database: Database) -> JobStore:
    return JobStore(database)


@pytest.fixture
def runner(store: JobStore, database_settings: Settings) -> Iterator[Runner]:
    runner = Runner(database_settings.data_dir, store)
    runner.start()
    yield runner
    runner.close()


@contextmanager
def service(settings: Settings) -> Iterator[tuple[subprocess.Popen[str], str, int]]:
    """Another process that runs jobs: it, its id, and the process of a child of it."""
    command = [sys.executable, "-c", SERVICE, str(settings.data_dir), settings.database_url or ""]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        runner_id, child = process.stdout.readline().split()
        try:
            yield process, runner_id, int(child)
        finally:
            process.kill()


def known(database: Database) -> list[str]:
    with database.read() as connection:
        return list(connection.execute(select(schema.runners.c.id)).scalars())


def test_a_killed_service_is_dead_at_once_and_a_living_one_is_not(
    runner: Runner, database: Database, database_settings: Settings
) -> None:
    with service(database_settings) as (process, other, child):
        # However old its last beat: a busy service is not a dead one.
        assert not runner.is_dead(other, 0.0)
        assert not runner.is_dead(other, 0.0)
        process.send_signal(signal.SIGKILL)
        process.wait()
        os.kill(child, 0)
        assert runner.is_dead(other, time.time())
        assert runner.is_dead(other, time.time())
        os.kill(child, signal.SIGKILL)
    assert sorted(known(database)) == sorted([runner.id, other])


def test_a_service_that_ends_leaves_nothing_behind(
    runner: Runner, database: Database, database_settings: Settings
) -> None:
    with service(database_settings) as (process, other, _child):
        process.communicate("")
        assert process.returncode == 0
        assert runner.is_dead(other, time.time())
    assert known(database) == [runner.id]
    runner.close()
    runner.close()
    assert known(database) == []
    assert list((database_settings.data_dir / "runners").iterdir()) == []


def test_two_services_in_one_process_see_each_other(
    runner: Runner, store: JobStore, database_settings: Settings
) -> None:
    second = Runner(database_settings.data_dir, store)
    assert runner.is_dead(second.id, time.time())  # not started
    second.start()
    assert second.id != runner.id
    assert (runner.is_dead(second.id, 0.0), second.is_dead(runner.id, 0.0)) == (False, False)
    assert not second.is_dead(second.id, 0.0)
    second.close()
    assert runner.is_dead(second.id, time.time())


def test_services_elsewhere_go_by_their_beats(runner: Runner) -> None:
    place, machine, _ = runner.id.split(".")
    for elsewhere in (f"{place}.other.1", f"other.{machine}.1", "nonsense"):
        assert not runner.is_dead(elsewhere, time.time() - DEAD_AFTER_S / 2)
        assert runner.is_dead(elsewhere, time.time() - DEAD_AFTER_S - 1)


def test_beats_reach_the_database(runner: Runner, database: Database) -> None:
    def beats() -> list[float]:
        with database.read() as connection:
            return list(connection.execute(select(schema.runners.c.beat_at)).scalars())

    (first,) = beats()
    runner.beat()
    (second,) = beats()
    assert first < second <= time.time()


def test_all_who_use_a_data_directory_call_it_the_same(tmp_path: Path, store: JobStore) -> None:
    with ThreadPoolExecutor(8) as threads:
        runners = list(threads.map(lambda _: Runner(tmp_path / "shared", store), range(8)))
    assert len({runner.storage_id for runner in runners}) == 1
    assert Runner(tmp_path / "own", store).storage_id != runners[0].storage_id
    assert sorted(path.name for path in (tmp_path / "shared").iterdir()) == ["place.txt", "runners"]


def test_a_data_directory_that_cannot_be_written_is_named(tmp_path: Path, store: JobStore) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(InvalidOption, match="taken"):
        Runner(tmp_path / "taken", store)
