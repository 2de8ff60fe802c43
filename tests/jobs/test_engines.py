"""The pools of a service hear which endpoints jobs may use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from core.endpoints import Endpoint
from core.settings import Settings
from jobs.engines import Engines
from workers.pool import WorkerPool

ONE = Endpoint(id="a", name="A", api_url="http://a/v1", model_name="", kind="openai")


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[WorkerPool, Sequence[Endpoint]]]:
    calls: list[tuple[WorkerPool, Sequence[Endpoint]]] = []

    def note(pool: WorkerPool, endpoints: Sequence[Endpoint]) -> None:
        calls.append((pool, endpoints))

    monkeypatch.setattr(WorkerPool, "set_endpoints", note, raising=False)
    return calls


@pytest.fixture
def engines(models_dir: Path) -> Iterator[Engines]:
    settings = Settings(model="tiny.en", device="cpu", workers=1, models_dir=models_dir)
    made = Engines(settings, None, True)
    yield made
    made.close()


Told = list[tuple[WorkerPool, Sequence[Endpoint]]]


def test_every_pool_hears_of_a_change_and_a_later_one_of_what_is(
    engines: Engines, told: Told
) -> None:
    engines.set_endpoints((ONE,))
    assert told == [], "no pool is made for it"
    shared = engines.pool()
    assert told == [(shared, (ONE,))]
    with engines.lent("tiny.en", "int8", "cpu") as own:
        assert told[1:] == [(own.pool, (ONE,))]
        engines.set_endpoints(())
        assert sorted(told[2:], key=lambda call: id(call[0])) == sorted(
            [(shared, ()), (own.pool, ())], key=lambda call: id(call[0])
        )
    engines.set_endpoints((ONE,))
    assert told[4:] == [(shared, (ONE,))], "the other one is gone"
    engines.set_endpoints((ONE,))
    assert len(told) == 5, "nothing has changed"


def test_without_a_device_of_its_own_a_job_shares(engines: Engines, told: Told) -> None:
    with (
        engines.lent("tiny.en", "int8", "auto") as one,
        engines.lent("tiny.en", "int8", "auto") as two,
    ):
        assert one is two
        assert one.pool is engines.pool()
