"""Keys of submissions: one job each, also among threads, services and crashes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from core.errors import CapacityError
from jobs.database import Database
from jobs.idempotency import BoundKey, Fingerprint, KeyHolder, KeyStore
from jobs.store import JobStore
from tests.jobs.test_store import record

PRINT = Fingerprint.of({"model": "base", "file": "talk.mp3"}, "head")
BUSY = KeyHolder(None)


def keys_of(database: Database, runner: str, *dead: str) -> KeyStore:
    JobStore(database).beat(runner, "here", 1.0)
    return KeyStore(database, runner, lambda other, _: other in dead)


def test_a_key_belongs_to_its_job_until_that_is_deleted(database: Database) -> None:
    store, keys = JobStore(database), keys_of(database, "r1")
    job = replace(record("a"), owner="user:alice", runner="r1")
    assert keys.claim("user:alice", "k") is None
    assert keys.claim("user:alice", "k") == BUSY
    assert keys.claim("user:bob", "k") is None
    store.insert(job, BoundKey("k", PRINT))
    keys.release("user:alice", "k")
    assert keys.claim("user:alice", "k") == KeyHolder("a", PRINT)
    assert keys_of(database, "r2").claim("user:alice", "k") == KeyHolder("a", PRINT)
    store.delete("a")
    assert keys.claim("user:alice", "k") is None


def test_a_submission_that_failed_leaves_its_key_free(database: Database) -> None:
    keys = keys_of(database, "r1")
    assert keys.claim("o", "k") is None
    keys.release("o", "k")
    assert keys.claim("o", "k") is None


def test_of_many_at_once_one_gets_the_key(database: Database) -> None:
    services = [keys_of(database, f"r{number}") for number in range(4)]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda number: services[number % 4].claim("o", "k"), range(8)))
    assert sorted(map(str, found)) == ["KeyHolder(job_id=None, fingerprint=None)"] * 7 + ["None"]


def test_the_key_of_a_service_that_died_is_taken_over_and_never_bound_twice(
    database: Database,
) -> None:
    store = JobStore(database)
    assert keys_of(database, "r1").claim("o", "k") is None
    assert keys_of(database, "r2").claim("o", "k") == BUSY
    assert keys_of(database, "r3", "r1").claim("o", "k") is None
    with pytest.raises(CapacityError, match="taken over"):
        store.insert(replace(record("late"), owner="o", runner="r1"), BoundKey("k", PRINT))
    assert store.get("late") is None
    store.insert(replace(record("b"), owner="o", runner="r3"), BoundKey("k", PRINT))


def test_what_has_arrived_is_compared_and_all_of_it_at_the_end() -> None:
    begun = Fingerprint.of({"model": "base"}, "head")
    assert begun.fits(PRINT, whole=False)
    assert not begun.fits(PRINT, whole=True)
    assert not Fingerprint.of({"model": "tiny"}, "head").fits(PRINT, whole=False)
    assert not replace(PRINT, head="other").fits(PRINT, whole=True)
    assert PRINT.fits(PRINT, whole=True)
