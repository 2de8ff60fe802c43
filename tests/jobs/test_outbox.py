"""Writes wait for the database, in order, and hold nobody up."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from core.errors import DatabaseUnavailable, DiskFull, NoSuchJob, SubtitleError
from jobs.outbox import Outbox
from tests.waiting import PATIENCE_S


class Away:
    """A database that is away until ``back`` is set; the calls it took, in order."""

    def __init__(self, error: SubtitleError) -> None:
        self.back = threading.Event()
        self.asked = threading.Semaphore(0)
        self.taken: list[int] = []
        self._error = error

    def take(self, number: int) -> None:
        self.asked.release()
        if not self.back.is_set():
            raise self._error
        self.taken.append(number)


@pytest.fixture
def outbox() -> Iterator[Outbox]:
    outbox = Outbox()
    yield outbox
    outbox.close(0.0)


def test_calls_are_made_in_order(outbox: Outbox) -> None:
    taken: list[int] = []
    for number in range(100):
        outbox.put(lambda number=number: taken.append(number))  # type: ignore[misc]
    assert outbox.flush(PATIENCE_S)
    assert taken == list(range(100))
    assert outbox.backlog() == 0


@pytest.mark.parametrize("error", [DatabaseUnavailable("Away."), DiskFull("Full.")])
def test_nothing_is_lost_while_the_database_is_away(outbox: Outbox, error: SubtitleError) -> None:
    away = Away(error)
    for number in range(3):
        outbox.put(lambda number=number: away.take(number))  # type: ignore[misc]
    for _ in range(3):  # asked again and again
        assert away.asked.acquire(timeout=PATIENCE_S)
    assert not outbox.flush(0.0)
    assert outbox.backlog() == 3
    away.back.set()
    assert outbox.flush(PATIENCE_S)
    assert away.taken == [0, 1, 2]


def test_putting_does_not_wait(outbox: Outbox) -> None:
    held, go = threading.Event(), threading.Event()

    def slow() -> None:
        held.set()
        assert go.wait(PATIENCE_S)

    outbox.put(slow)
    assert held.wait(PATIENCE_S)
    outbox.put(lambda: None)
    assert outbox.backlog() == 2
    go.set()
    assert outbox.flush(PATIENCE_S)


def test_a_call_that_can_never_work_is_logged_and_holds_no_other_up(
    outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    taken: list[int] = []

    def wrong() -> None:
        raise KeyError("nonsense")

    def late() -> None:
        raise NoSuchJob("There is no job x.")

    for call in (wrong, late, lambda: taken.append(1)):
        outbox.put(call)
    assert outbox.flush(PATIENCE_S)
    assert taken == [1]
    unexpected, expected = caplog.records
    assert unexpected.exc_info is not None
    assert (expected.getMessage(), expected.exc_info) == ("Not written: There is no job x.", None)


def test_flush_waits_only_for_what_was_put_before(outbox: Outbox) -> None:
    away = Away(DatabaseUnavailable("Away."))
    outbox.put(lambda: None)
    assert outbox.flush(PATIENCE_S)
    outbox.put(lambda: away.take(1))
    assert not outbox.flush(0.01)
    away.back.set()
    assert outbox.flush(PATIENCE_S)


def test_closing_finishes_what_is_left() -> None:
    outbox = Outbox("closing")
    taken: list[int] = []
    for number in range(100):
        outbox.put(lambda number=number: taken.append(number))  # type: ignore[misc]
    assert outbox.close(PATIENCE_S)
    assert len(taken) == 100
    assert outbox.close(0.0)
    with pytest.raises(RuntimeError, match="closed"):
        outbox.put(lambda: None)


def test_closing_without_a_database_says_what_was_lost(caplog: pytest.LogCaptureFixture) -> None:
    outbox = Outbox("giving up")
    away = Away(DatabaseUnavailable("Away."))
    outbox.put(lambda: away.take(1))
    outbox.put(lambda: away.take(2))
    assert away.asked.acquire(timeout=PATIENCE_S)
    assert not outbox.close(0.01)
    assert "2 entries were not written" in caplog.text
    for thread in [thread for thread in threading.enumerate() if thread.name == "giving up"]:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    assert away.taken == []
