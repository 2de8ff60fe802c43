"""Which of the waiting jobs is next."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from jobs.database import Database
from jobs.job import Job
from jobs.outbox import Outbox
from jobs.queue import JobQueue
from jobs.recorder import Recorder
from jobs.request import JobRequest, Priority
from jobs.store import JobStore
from tests.jobs.test_store import record
from tests.waiting import PATIENCE_S

ORDER: tuple[Priority, ...] = ("low", "normal", "high", "normal", "high")


@pytest.fixture
def outbox() -> Iterator[Outbox]:
    outbox = Outbox()
    yield outbox
    assert outbox.close(PATIENCE_S)


def test_higher_priority_goes_first_and_then_who_came_first(
    database: Database, outbox: Outbox
) -> None:
    store = JobStore(database)
    # Nothing runs, so everything waits.
    queue = JobQueue(0, cast(Any, None), lambda: None)
    for number, priority in enumerate(ORDER):
        request = JobRequest(path=Path("talk.mp3"), priority=priority)
        store.insert(record(f"{number} {priority}", request=request))
        kept = store.get(f"{number} {priority}")
        assert kept is not None
        queue.put(Job(kept, Recorder(store, outbox, kept.id), queue.stopped))
    waiting = sorted(queue.jobs(), key=lambda job: job.view(text=False).message)
    places = ["Waiting for a free place"]
    places += [f"Waiting for a free place ({ahead} before it)" for ahead in range(1, 5)]
    assert [job.view(text=False).message for job in waiting] == places
    assert [job.id for job in waiting] == ["2 high", "4 high", "1 normal", "3 normal", "0 low"]
