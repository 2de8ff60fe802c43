from __future__ import annotations

import pytest

from bench.simulate import Load, bound, recordings_of, simulate, slots_of
from bench.virtual_pool import Speed, VirtualPool
from core.endpoints import LOCAL
from tests.workers.conftest import segment
from workers.devices import Device

HOUR = Load("1 hour", 1, 60.0, 1, (1,))
MANY = Load("6 recordings of 20 minutes", 6, 20.0, 1, (1,))


@pytest.mark.parametrize("load", [HOUR, MANY], ids=lambda load: load.name)
@pytest.mark.parametrize("mixed", [False, True])
def test_slots_end_together(load: Load, mixed: bool) -> None:
    slots, plans = slots_of(4, mixed), recordings_of(load, seed=0)
    ratio = simulate(slots, plans) / bound(slots, plans)
    assert 1.0 <= ratio <= 1.05


def test_a_run_goes_the_same_way_every_time() -> None:
    slots, plans = slots_of(4, True), recordings_of(HOUR, seed=1)
    assert simulate(slots, plans) == simulate(slots, plans)


def test_the_way_to_another_machine_counts_in_a_slots_speed() -> None:
    pool = VirtualPool([(Device("GPU 0", "cuda", node="far"), Speed(10.0, task_s=1.0))], batch=1)
    job = pool.submit(LOCAL, lambda event: None)
    job.add([segment(index, 20.0) for index in range(3)])
    job.finish_input()
    assert pool.run(lambda: job.wait(0.0)) == pytest.approx(3 * (1.0 + 2.0))
    (slot,) = pool.slots
    assert list(slot.rates.values()) == [pytest.approx(3.0 / 20.0)]
