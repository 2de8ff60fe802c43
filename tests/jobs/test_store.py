"""What is stored of jobs, on SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from core.errors import NoSuchJob, UnreadableMedia
from core.settings import Settings
from core.types import Gap, JobReport, SegmentReport
from jobs import schema
from jobs.database import Database
from jobs.options import JobOptions
from jobs.records import HistoryEntry, JobRecord
from jobs.request import JobRequest
from jobs.states import JobState
from jobs.store import JobStore
from tests.waiting import PATIENCE_S

NASTY = "a\x00b\ud800c\U0001f600\u202ed\r\n'; DROP TABLE jobs; --"
REPORT = JobReport(
    audio_s=1 / 3,
    speech_s=0.1,
    load_s=1e-17,
    elapsed_s=2.0,
    decode_s=0.0,
    vad_s=0.0,
    transcribe_s=1.0,
    speed=float("inf"),
    model="tiny.en",
    language="en",
    devices=("CPU 0",),
    segments=(
        SegmentReport(
            index=0, start_s=0.0, end_s=9.9, windows=1, device="CPU 0", texts=1, elapsed_s=1.0
        ),
    ),
    gaps=(Gap(1.0, 2.5, "noise"),),
)


@pytest.fixture
def store(database: Database) -> JobStore:
    return JobStore(database)


def record(job_id: str, **fields: Any) -> JobRecord:
    made = JobRecord(
        id=job_id,
        origin="service",
        owner="local",
        client="local",
        name="talk.mp4",
        state=JobState.QUEUED,
        request=JobRequest(path=Path("/data/talk.mp4")),
        created_at=1.0,
        storage_id="here",
    )
    return replace(made, **fields)


def found(store: JobStore, **wanted: Any) -> list[str]:
    records, total = store.find(**wanted)
    assert total == len(records)
    return [entry.id for entry in records]


def test_a_job_comes_back_as_it_was(store: JobStore) -> None:
    job = record(
        "a",
        origin="cli",
        owner="user:ann",
        client="ip:::1",
        state=JobState.COMPLETE_WITH_GAPS,
        request=JobRequest(
            path=Path("/data/not-utf8-\udcff.wav"), options=JobOptions(formats=("srt", "vtt"))
        ),
        created_at=1_795_161_600.123456,
        started_at=1_795_161_601.1,
        ended_at=1_795_161_602.7,
        runner="r1",
        cancel_wanted=True,
        fraction=1 / 3,
        done_s=0.1 + 0.2,
        total_s=5e-324,
        message="«done»",
        language="en",
        language_probability=0.7,
        model="tiny.en",
        gaps=REPORT.gaps,
        report=REPORT,
        outputs={"srt": Path("/data/jobs/a/talk.srt")},
        source_id="b",
        resumes=3,
    )
    store.insert(job)
    assert store.get("a") == job
    assert store.get("b") is None


def test_the_error_of_a_job_is_kept(store: JobStore) -> None:
    store.insert(record("a", error=UnreadableMedia("Not a recording.")))
    job = store.get("a")
    assert job is not None
    assert isinstance(job.error, UnreadableMedia)
    assert job.error.explain() == UnreadableMedia("Not a recording.").explain()


def test_fields_are_changed_one_by_one(store: JobStore) -> None:
    store.insert(record("a"))
    store.insert(record("b"))
    assert store.update("a", state=JobState.RUNNING, fraction=0.5, gaps=(Gap(1.0, 2.0, "x"),))
    changed = record("a", state=JobState.RUNNING, fraction=0.5, gaps=(Gap(1.0, 2.0, "x"),))
    assert store.get("a") == changed
    assert store.update("a", runner="r", report=REPORT)
    assert store.update("a", runner=None, report=None)
    assert store.get("a") == changed
    assert store.get("b") == record("b")
    assert not store.update("c", fraction=0.5)
    assert store.update("a")
    assert not store.update("c")


def test_a_field_that_is_none_is_refused(store: JobStore) -> None:
    with pytest.raises(TypeError, match="colour"):
        store.update("a", colour="red")
    with pytest.raises(ValueError, match="sleeping"):
        store.update("a", state="sleeping")


def test_deleting_takes_journal_and_history_along(store: JobStore) -> None:
    for job_id in ("a", "b"):
        store.insert(record(job_id))
        store.record_segment(job_id, 0, "key", "payload")
        store.add_history(job_id, HistoryEntry(1.0, "queued", "Waits."))
    store.delete("a")
    store.delete("a")
    assert (store.get("a"), store.segments("a"), store.history("a")) == (None, {}, [])
    assert (len(store.segments("b")), len(store.history("b"))) == (1, 1)


def test_jobs_are_listed_newest_first_page_by_page(store: JobStore) -> None:
    for number in range(5):
        store.insert(record(f"j{number}", created_at=float(number)))
    assert found(store) == ["j4", "j3", "j2", "j1", "j0"]
    page, total = store.find(limit=2, offset=1)
    assert ([job.id for job in page], total) == (["j3", "j2"], 5)
    assert store.find(offset=9) == ([], 5)


def test_jobs_are_chosen_by_owner_state_and_origin(store: JobStore) -> None:
    store.insert(record("a", owner="user:ann"))
    store.insert(record("b", owner="user:bob", state=JobState.FAILED))
    store.insert(record("c", owner="user:bob", origin="cli"))
    assert found(store, owner="user:ann") == ["a"]
    assert found(store, owner="user:bob") == ["b"]
    assert found(store, owner="user:bob", origin=None) == ["c", "b"]
    assert found(store, origin="cli") == ["c"]
    assert found(store, states=(JobState.FAILED, JobState.RUNNING)) == ["b"]
    assert found(store, states=(JobState.RUNNING,)) == []


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("", ["e", "d", "c", "b", "a"]),
        ("  interview ", ["a"]),
        ("100%", ["b"]),
        ("%", ["b"]),
        ("_", ["c"]),
        ("\\", ["d"]),
        ("ÜBER", ["e"]),
        ("u\u0308ber", ["e"]),
        ("STRASSE", ["e"]),
        ("c", ["d", "c"]),
        ("'", []),
        ("\x00", ["e", "d", "c", "b", "a"]),
        ("\ud800", []),
        ("x" * 20_000, []),
    ],
)
def test_search_is_literal_and_ignores_case(store: JobStore, text: str, ids: list[str]) -> None:
    for job_id, name in zip(
        "abcde",
        ["Interview.mp3", "100% sure.wav", "snake_.ogg", "back\\slash", "Über Straße.mp4"],
        strict=True,
    ):
        store.insert(record(job_id, name=name, created_at=float(ord(job_id))))
    assert found(store, text=text) == ids


def test_search_finds_the_beginning_of_an_id(store: JobStore) -> None:
    store.insert(record("Zq_7-x"))
    store.insert(record("ZqX7-x", created_at=2.0))
    assert found(store, text="Zq_7") == ["Zq_7-x"]
    assert found(store, text="7-x") == []


def test_names_and_messages_may_hold_anything(store: JobStore) -> None:
    store.insert(record("a", name=NASTY, message=NASTY * 1000))
    store.update("a", name=NASTY + "!")
    store.add_history("a", HistoryEntry(1.0, NASTY, NASTY))
    job = store.get("a")
    assert job is not None
    assert job.name == NASTY.replace("\x00", "").replace("\ud800", "\ufffd") + "!"
    assert len(job.message) <= schema.MAX_TEXT
    assert store.history("a")[0].text == job.name[:-1]
    assert found(store, text=NASTY) == ["a"]


def test_strange_ids_are_looked_up_and_never_taken_for_another(store: JobStore) -> None:
    for owner in ("user:a", "user:a\x00", "u" * 5000 + "1", "u" * 5000 + "2", "user:\ud800"):
        assert found(store, owner=owner) == []
        store.insert(record(f"of {owner}", owner=owner, client=owner))
        (mine,) = found(store, owner=owner)
        assert store.get(f"of {owner}") == store.get(mine)
    for job_id in ("", NASTY, "x" * 100_000):
        assert store.get(job_id) is None
        assert not store.update(job_id, fraction=0.1)


def test_old_jobs_are_the_ended_ones_of_a_place(store: JobStore) -> None:
    store.insert(record("new", state=JobState.COMPLETE, ended_at=10.0))
    store.insert(record("old", state=JobState.FAILED, ended_at=9.0))
    store.insert(record("older", state=JobState.CANCELLED, ended_at=8.0, origin="cli"))
    store.insert(record("elsewhere", state=JobState.COMPLETE, ended_at=1.0, storage_id="there"))
    store.insert(record("open", state=JobState.RUNNING, ended_at=1.0))
    assert store.ended_before(10.0, "here") == ["older", "old"]


def test_history_keeps_its_order_and_says_nothing_twice(store: JobStore) -> None:
    store.insert(record("a"))
    lines = [HistoryEntry(at, "worker_lost", f"at {at}") for at in (2.0, 1.0, 1.5)]
    for line in [*lines, lines[0]]:
        store.add_history("a", line)
    assert store.history("a") == lines
    assert store.history("b") == []


def test_the_journal_keeps_the_last_word_on_each_segment(store: JobStore) -> None:
    store.insert(record("a"))
    store.insert(record("b"))
    payload = '{"text":"\\u4f60\\u0000","x":[1.1]}' * 10_000
    for job_id, index, key in (("a", 7, "k0"), ("a", 0, "k1"), ("a", 7, "k2"), ("b", 7, "k3")):
        store.record_segment(job_id, index, key, payload)
    assert store.segments("a") == {0: ("k1", payload), 7: ("k2", payload)}
    store.forget_segments("a", [7, 99])
    assert list(store.segments("a")) == [0]
    store.forget_segments("a", [])
    assert list(store.segments("a")) == [0]
    store.forget_segments("a")
    assert store.segments("a") == {}
    assert list(store.segments("b")) == [7]


def test_a_deleted_job_gets_neither_journal_nor_history(store: JobStore) -> None:
    with pytest.raises(NoSuchJob):
        store.record_segment("gone", 0, "key", "payload")
    with pytest.raises(NoSuchJob):
        store.add_history("gone", HistoryEntry(1.0, "queued", "Waits."))


def test_a_service_hears_which_of_its_jobs_are_to_end(store: JobStore) -> None:
    store.insert(record("a", runner="r1", cancel_wanted=True))
    store.insert(record("b", runner="r1"))
    store.insert(record("c", runner="r2", cancel_wanted=True))
    store.insert(record("d", runner="r1", cancel_wanted=True, state=JobState.CANCELLED))
    assert store.wanted_cancels("r1") == ["a"]


def test_orphans_are_open_jobs_here_whose_service_is_gone(store: JobStore) -> None:
    asked: dict[str, float] = {}

    def dead(runner: str, beat_s: float) -> bool:
        asked[runner] = beat_s
        return runner in ("dead", "left")

    for runner, at in (("dead", 1.0), ("alive", 2.0), ("dead", 3.0), ("left", 4.0)):
        store.beat(runner, "here", at)
    store.leave("left")
    jobs: list[tuple[str, dict[str, Any]]] = [
        ("e", {"runner": "dead", "state": JobState.RUNNING}),
        ("d", {"runner": "left", "state": JobState.PAUSED}),
        ("c", {"runner": None}),
        ("alive", {"runner": "alive", "state": JobState.RUNNING}),
        ("ended", {"runner": "dead", "state": JobState.COMPLETE}),
        ("cli", {"runner": "dead", "origin": "cli"}),
        ("elsewhere", {"runner": None, "storage_id": "there"}),
    ]
    for number, (job_id, fields) in enumerate(jobs):
        store.insert(record(job_id, created_at=float(-number), **fields))
    assert [job.id for job in store.waiting_orphans("here", dead)] == ["c", "d", "e"]
    assert asked == {"dead": 3.0, "alive": 2.0, "left": 0.0}


@pytest.mark.parametrize("seen", [None, "dead"])
def test_only_one_of_several_services_takes_a_job_over(
    database_settings: Settings, seen: str | None
) -> None:
    services = [Database.open(database_settings) for _ in range(4)]
    stores = [JobStore(service) for service in services]
    stores[0].insert(record("a", runner=seen))
    together = threading.Barrier(len(stores))

    def claim(number: int) -> bool:
        together.wait(PATIENCE_S)
        return stores[number].claim("a", seen, f"r{number}")

    with ThreadPoolExecutor(len(stores)) as threads:
        won = list(threads.map(claim, range(len(stores))))
    assert won.count(True) == 1
    job = stores[0].get("a")
    assert job is not None
    assert job.runner == f"r{won.index(True)}"
    for service in services:
        service.close()


def test_an_ended_job_is_not_taken_over(store: JobStore) -> None:
    store.insert(record("a", runner="r1", state=JobState.CANCELLED))
    assert not store.claim("a", "r1", "r2")


def test_two_services_write_at_the_same_time(database_settings: Settings) -> None:
    services = [Database.open(database_settings) for _ in range(2)]
    stores = [JobStore(service) for service in services]
    stores[0].insert(record("a"))

    def write(number: int) -> None:
        store = stores[number % 2]
        store.record_segment("a", number, "key", "payload")
        store.add_history("a", HistoryEntry(float(number), "note", "x"))
        store.update("a", fraction=number / 100)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write, range(80)))
    assert sorted(stores[1].segments("a")) == list(range(80))
    assert len(stores[0].history("a")) == 80
    for service in services:
        service.close()


def test_a_row_that_cannot_be_read_hides_no_other(
    store: JobStore, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    store.insert(record("a"))
    store.insert(record("b"))
    with database.write() as connection:
        connection.execute(update(schema.jobs).where(schema.jobs.c.id == "a").values(request="{"))
    assert [job.id for job in store.find()[0]] == ["b"]
    assert store.get("a") is None
    assert "Job a cannot be read" in caplog.text
