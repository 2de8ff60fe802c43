"""Models that do not fit wait, or are refused with the figures."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import OutOfMemory
from core.events import Incident, WorkersLoading
from core.pool_job import PoolEvent
from core.types import ModelSpec
from gpu.nvml import GpuDevice, GpuList, GpuProcess
from gpu.peaks import Peak, Peaks
from gpu.physical import setup_of
from tests.waiting import PATIENCE_S, eventually
from tests.workers.conftest import QUICK, Bench, incidents, texts
from tests.workers.scripted_engine import read_log
from workers.devices import Device
from workers.memory import LoadPlan, MemoryFit, Neighbour, Verdict, see_cards, tell_cards

GPU = Device("GPU 0", "cuda", "0", "NVIDIA L4", (8, 9), 8192)


def spec(name: str, compute_type: str = "float16", path: str = "/nowhere") -> ModelSpec:
    return ModelSpec(name, path, compute_type, "cuda")


def test_unknown_model_is_judged_by_its_file(tmp_path: Path) -> None:
    with (tmp_path / "model.bin").open("wb") as file:
        file.truncate(1_618_000_000)  # sparse; as large as turbo's
    mine = setup_of(spec("mine", path=str(tmp_path)), GPU.capability)
    assert mine.shape == setup_of(spec("turbo"), GPU.capability).shape
    assert mine.parameters == pytest.approx(
        setup_of(spec("turbo"), GPU.capability).parameters, rel=0.01
    )


def gpus(free: int, total: int, *processes: GpuProcess) -> Callable[[], GpuList]:
    card = GpuDevice(
        index=0, uuid="GPU-1", name="NVIDIA L4", total_mib=total, used_mib=total - free,
        free_mib=free, capability=(8, 9), processes=processes,
    )  # fmt: skip
    return lambda: GpuList(devices=(card,))


def plan(model: str = "large-v3", **changes: object) -> LoadPlan:
    return LoadPlan(device=GPU, model=spec(model), **changes)  # type: ignore[arg-type]


def ask(free: int, total: int, asked: int = 0, **changes: object) -> Verdict:
    return MemoryFit(asked, gpus=gpus(free, total))(plan(**changes))  # type: ignore[arg-type]


def test_verdict_follows_free_and_total_memory() -> None:
    assert ask(8000, 8192).fit == "yes"
    refused = ask(3000, 3200)
    assert refused.fit == "never"
    assert refused.text.startswith("Model large-v3 (float16) needs about 4,4")
    assert refused.text.endswith("and GPU 0 has 3,200 MiB in all")
    assert refused.hint.startswith("Use int8_float16 instead of float16: about 2,847 MiB (±10%).")
    assert "Use large-v3-turbo instead of large-v3" in refused.hint
    assert ask(2000, 8192).fit == "wait"
    # Alone it may begin with less than its error bar wants; beside others it waits for them.
    assert ask(4500, 8192).fit == "yes"
    assert ask(4500, 8192, shared=True).fit == "wait"
    # What the same worker unloads is free then, what others are about to take is not.
    assert ask(2000, 8192, replaced=spec("large-v2")).fit == "yes"
    assert ask(8000, 8192, in_flight=(spec("large-v2"),)).fit == "wait"


def test_workers_that_share_main_memory_leave_each_other_room_to_decode() -> None:
    large = ModelSpec("large-v3", "/nowhere", "int8", "cpu")
    memory = MemoryFit(cpu=lambda: (7000, 16_000))
    first = LoadPlan(Device("CPU 0", "cpu"), large)
    assert memory(first).fit == "yes"
    # This process holds little of what it will want with its first batch.
    other = Neighbour(large, os.getpid())
    second = replace(first, device=Device("CPU 1", "cpu"), shared=True, beside=(other,))
    assert memory(second).fit == "wait"
    assert memory(replace(second, beside=())).fit == "yes"
    # One that is gone by now takes nothing, and neither does one that holds all it wants.
    assert memory(replace(second, beside=(Neighbour(large, 2**30),))).fit == "yes"
    small = Neighbour(ModelSpec("tiny", "/nowhere", "int8", "cpu"), os.getpid())
    tight = MemoryFit(1, cpu=lambda: (3000, 16_000))
    assert tight(replace(second, beside=(small,))).fit == tight(replace(second, beside=())).fit


def test_who_holds_the_memory_is_named() -> None:
    blender = GpuProcess(pid=4321, name="blender", used_mib=6500)
    verdict = MemoryFit(gpus=gpus(1200, 8192, blender))(plan())
    assert verdict.fit == "wait"
    assert "1,200 MiB are free; held by blender (pid 4321, 6,500 MiB)" in verdict.text


def test_where_nobody_can_tell_the_model_is_loaded_on_trust() -> None:
    elsewhere = LoadPlan(Device("GPU 1", "cuda", "1"), spec("large-v3"))
    memory = MemoryFit(gpus=gpus(100, 8192))
    assert memory(elsewhere).fit == "yes"
    assert memory.batch(elsewhere.device, elsewhere.model, 5, 0) == 8
    assert MemoryFit(cpu=lambda: None)(LoadPlan(Device("CPU 0", "cpu"), spec("base"))) == Verdict(
        "yes"
    )


def test_this_machine_has_room_for_the_smallest_model() -> None:
    tiny = ModelSpec("tiny", "/nowhere", "int8", "cpu")
    assert MemoryFit()(LoadPlan(Device("CPU 0", "cpu"), tiny)).fit == "yes"


@pytest.mark.parametrize(("free", "batch"), [(24000, 16), (8000, 8), (5000, 1)])
def test_batch_follows_the_room_a_model_was_let_in_with(free: int, batch: int) -> None:
    memory = MemoryFit(gpus=gpus(free, 24576))
    assert memory(plan()).fit == "yes"
    assert memory.batch(GPU, spec("large-v3"), 5, 0) == batch


def test_who_tries_without_room_begins_with_one_window() -> None:
    memory = MemoryFit(gpus=gpus(2000, 8192))
    assert memory(plan()).fit == "wait"
    assert memory.batch(GPU, spec("large-v3"), 5, 0) == 1
    assert memory.batch(GPU, spec("large-v3"), 5, 8) == 1


def test_batch_that_was_asked_for_is_undercut_only_where_it_cannot_fit() -> None:
    memory = MemoryFit(gpus=gpus(8000, 8192))
    assert memory(plan()).fit == "yes"
    assert memory.batch(GPU, spec("large-v3"), 5, 4) == 4
    assert memory.batch(GPU, spec("large-v3"), 5, 11) == 11  # without the error bar it fits
    assert memory.batch(GPU, spec("large-v3"), 5, 64) == 8


def test_what_was_measured_on_such_a_card_decides() -> None:
    peaks = Peaks()
    for batch in (12, 16):
        peaks.add(
            Peak(device="NVIDIA L4", model="large-v3", compute_type="float16", batch_size=batch,
                 beam_size=5, peak_mib=7000)
        )  # fmt: skip
    memory = MemoryFit(gpus=gpus(8000, 8192), peaks=peaks)
    assert memory(plan()).fit == "yes"
    assert memory.batch(GPU, spec("large-v3"), 5, 0) == 16


def test_cards_are_looked_at_before_the_first_load(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    other = GpuProcess(pid=77, name="python", used_mib=900)
    seen = see_cards([GPU, Device("GPU 9", "cuda", "9")], gpus(7000, 8192, other))
    assert [(e.label, e.free_mib, e.total_mib) for e in seen] == [("GPU 0", 7000, 8192)]
    tell_cards(seen)
    assert caplog.messages == [
        "GPU 0: NVIDIA L4, 7,000 of 8,192 MiB free, used by python (pid 77, 900 MiB)"
    ]
    assert see_cards([Device("CPU 0", "cpu")], gpus(7000, 8192)) == ()


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
    # The answer is remembered for as long: it must not be forgotten while the machine is busy.
    limits = replace(QUICK, memory_retry_s=2.0)
    pool = bench.pool(1, limits, fits=room, wait_for_devices=True)
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
    pool.preload(bench.model("small")).result(PATIENCE_S)
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
