"""Models that do not fit wait, or are refused with the figures."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from core.errors import OutOfMemory
from core.events import Incident, WorkersLoading
from core.types import ModelSpec
from tests.workers.conftest import Bench, eventually, incidents, texts
from tests.workers.scripted_engine import read_log
from workers.devices import Slot
from workers.job import PoolEvent
from workers.memory import FIXED_MIB, LoadPlan, MemoryFit, Verdict, model_mib

GPU = Slot("GPU 0", "cuda", "0")


def spec(name: str, compute_type: str = "float16", path: str = "/nowhere") -> ModelSpec:
    return ModelSpec(name, path, compute_type, "cuda")


@pytest.mark.parametrize(
    ("name", "compute_type", "batch", "measured"),
    [
        ("large-v2", "float16", 1, 4525),
        ("large-v2", "float16", 8, 6090),
        ("large-v2", "int8", 1, 2926),
        ("large-v2", "int8", 8, 4500),
        ("large-v3", "float16", 1, 4521),
        ("large-v3", "int8", 1, 2953),
        ("distil-large-v3", "float16", 1, 2409),
        ("distil-large-v3", "int8", 1, 1481),
        ("large-v3-turbo", "float16", 1, 2537),
        ("large-v3-turbo", "int8", 1, 1545),
        ("small", "float16", 1, 1158),
    ],
)
def test_estimate_is_near_what_was_measured(
    name: str, compute_type: str, batch: int, measured: int
) -> None:
    estimate = model_mib(spec(name, compute_type), batch) + FIXED_MIB["cuda"]
    assert 0.9 * measured < estimate < 1.3 * measured


def test_unknown_model_is_judged_by_its_file(tmp_path: Path) -> None:
    with (tmp_path / "model.bin").open("wb") as file:
        file.truncate(1_618_000_000)  # sparse; as large as turbo's
    mine = model_mib(spec("mine", path=str(tmp_path)), 1)
    assert mine == pytest.approx(model_mib(spec("large-v3-turbo"), 1))


class Memory:
    def __init__(self, free: int, total: int) -> None:
        self.figures = (free, total)

    def memory_mib(self, entry: str) -> tuple[int, int] | None:
        return self.figures if entry == "0" else None


def ask(free: int, total: int, model: str = "large-v3", **changes: object) -> Verdict:
    values = {"fresh": True, "replaced": (), "in_flight": (), "shared": False, **changes}
    plan = LoadPlan(slot=GPU, model=spec(model), **values)  # type: ignore[arg-type]
    return MemoryFit(8, gpus=Memory(free, total))(plan)


def test_verdict_follows_free_and_total_memory() -> None:
    assert ask(8000, 8192).fit == "yes"
    assert ask(3000, 4096) == Verdict(
        "never", "Model large-v3 (float16) needs about 4175 MiB, and GPU 0 has 4096 MiB in all"
    )
    assert ask(2000, 8192).fit == "wait"
    # Alone it may begin with less than a full batch needs; beside others it waits for them.
    assert ask(5000, 8192).fit == "yes"
    assert ask(5000, 8192, shared=True).fit == "wait"
    # What the same worker unloads is free then, what others are about to take is not.
    assert ask(2000, 8192, replaced=(spec("large-v2"),), fresh=False).fit == "yes"
    assert ask(8000, 8192, in_flight=(spec("large-v2"),)).fit == "wait"


def test_where_nobody_can_tell_the_model_is_loaded_on_trust() -> None:
    plan = LoadPlan(Slot("GPU 1", "cuda", "1"), spec("large-v3"), True, (), (), False)
    assert MemoryFit(gpus=Memory(0, 0))(plan).fit == "yes"
    assert MemoryFit(cpu=lambda: None)(plan).fit == "yes"


def test_this_machine_has_room_for_the_smallest_model() -> None:
    tiny = ModelSpec("tiny", "/nowhere", "int8", "cpu")
    assert MemoryFit(1)(LoadPlan(Slot("CPU 0", "cpu"), tiny, True, (), (), False)).fit == "yes"


class Room:
    """Memory in which the model "big" has no room until somebody makes some."""

    def __init__(self, fit: str = "wait") -> None:
        self.fit = fit
        self.enough = threading.Event()
        self.plans: list[LoadPlan] = []

    def __call__(self, plan: LoadPlan) -> Verdict:
        self.plans.append(plan)
        if plan.model.name != "big" or self.enough.is_set():
            return Verdict("yes")
        return Verdict(self.fit, "model big needs about 9000 MiB, and 10 MiB are free")  # type: ignore[arg-type]


def test_job_whose_model_does_not_fit_waits_and_is_done_later(bench: Bench) -> None:
    room = Room()
    pool = bench.pool(1, fits=room, wait_for_devices=True)
    job = bench.submit(pool, bench.model("big"), 2)
    other = bench.submit(pool, bench.model("small"), 2)
    assert len(texts(list(other.events()))) == 2
    events: list[PoolEvent] = []
    for event in job.events():
        events.append(event)
        if isinstance(event, Incident):
            break
    assert not job.ended
    room.enough.set()
    events += list(job.events())
    assert len(texts(events)) == 2
    assert incidents(events) == ["memory_wait"]
    waiting = [e.text for e in events if isinstance(e, WorkersLoading)]
    assert "Waiting for memory: model big needs about 9000 MiB, and 10 MiB are free" in waiting


def test_model_that_never_fits_is_refused_with_the_figures(bench: Bench) -> None:
    pool = bench.pool(2, fits=Room("never"), wait_for_devices=True)
    events: list[PoolEvent] = []
    with pytest.raises(OutOfMemory, match="needs about 9000 MiB") as caught:
        events += bench.submit(pool, bench.model("big"), 2).events()
    assert "smaller model" in caught.value.hint
    assert pool.counters() == {"model_refused": 2}
    assert read_log(bench.model("big"), "load") == []


def test_idle_worker_gives_back_memory_a_job_waits_for(bench: Bench) -> None:
    """The model of the last job is kept, until another job needs its room."""
    room = Room()
    pool = bench.pool(2, fits=room, wait_for_devices=True)
    pool.preload(bench.model("small")).result(30)
    pids = bench.note_pids(pool)
    job = bench.submit(pool, bench.model("big"), 1)
    eventually(lambda: not set(pids) & set(bench.note_pids(pool)), "both are replaced")
    room.enough.set()
    assert len(texts(list(job.events()))) == 1


def test_estimate_that_fails_costs_no_job(bench: Bench) -> None:
    def fail(plan: LoadPlan) -> Verdict:
        raise KeyError("figures")

    job = bench.submit(bench.pool(1, fits=fail), bench.model(), 1)
    assert len(texts(list(job.events()))) == 1


def test_script_does_not_wait_for_memory_nobody_of_ours_will_free(bench: Bench) -> None:
    job = bench.submit(bench.pool(1, fits=Room()), bench.model("big"), 1)
    assert len(texts(list(job.events()))) == 1
