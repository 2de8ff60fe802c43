"""What workers report of their memory."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from core.types import ModelSpec
from gpu.nvml import GpuDevice, GpuList, GpuProcess
from gpu.peaks import CPU, Peak
from tests.gpu.fake_nvml import Card, FakeNvml
from tests.workers.conftest import QUICK, Bench, texts
from tests.workers.scripted_engine import FACTORY
from workers.devices import Device
from workers.meter import MemoryMeter, resident_peak_mib
from workers.pool import WorkerPool

BASE = ModelSpec("base", "/nowhere", "float16", "cuda")
GPU = Device("GPU 0", "cuda", "0", "NVIDIA L4")


class Driver:
    """A card whose use changes."""

    def __init__(self, used_mib: int = 0, *processes: tuple[int, int]) -> None:
        self.show(used_mib, *processes)

    def show(self, used_mib: int, *processes: tuple[int, int]) -> None:
        holders = tuple(GpuProcess(pid=pid, used_mib=mib) for pid, mib in processes)
        self.list = GpuList(
            devices=(
                GpuDevice(
                    index=0, uuid="GPU-1", name="NVIDIA L4", total_mib=23034, used_mib=used_mib,
                    free_mib=23034 - used_mib, processes=holders,
                ),
            )
        )  # fmt: skip

    def __call__(self) -> GpuList:
        return self.list


def test_own_share_of_a_card_is_told_when_there_is_news() -> None:
    driver = Driver(300, (1, 300))
    meter = MemoryMeter(GPU, driver)
    meter.loads(BASE)
    driver.show(1300, (1, 300), (os.getpid(), 1000))
    peak = meter.worked(BASE, 4, 5)
    assert peak is not None
    assert (peak.batch_size, peak.beam_size, peak.peak_mib) == (4, 5, 1000)
    assert meter.worked(BASE, 2, 5) is None
    driver.show(1900, (1, 300), (os.getpid(), 1600))
    peak = meter.worked(BASE, 8, 1)
    assert peak is not None
    assert (peak.batch_size, peak.beam_size, peak.peak_mib) == (8, 5, 1600)


def test_process_of_two_models_says_nothing() -> None:
    driver = Driver()
    meter = MemoryMeter(GPU, driver)
    meter.loads(BASE)
    meter.loads(ModelSpec("small", "/nowhere", "float16", "cuda"))
    driver.show(1300, (os.getpid(), 1300))
    assert meter.worked(BASE, 4, 5) is None


@pytest.mark.parametrize(
    ("before", "after", "notified"),
    [
        # A container: the driver knows this process by the host's number, or names nobody.
        ((0, ()), (900, ((99999999, 900),)), 900.0),
        ((200, ()), (900, ()), 700.0),
        # Others are there too, and which share is ours nobody can say.
        ((200, ((1, 200),)), (900, ((1, 200), (99999999, 700))), None),
    ],
)
def test_share_that_is_not_named_is_told_only_where_it_is_certain(
    before: tuple[int, tuple[tuple[int, int], ...]],
    after: tuple[int, tuple[tuple[int, int], ...]],
    notified: float | None,
) -> None:
    driver = Driver(before[0], *before[1])
    meter = MemoryMeter(GPU, driver)
    meter.loads(BASE)
    driver.show(after[0], *after[1])
    peak = meter.worked(BASE, 1, 5)
    assert (None if peak is None else peak.peak_mib) == notified


def test_resident_peak_is_the_kernels(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmHWM:\t  204800 kB\nVmRSS:\t  1024 kB\n")
    assert resident_peak_mib(status) == 200.0
    assert resident_peak_mib(tmp_path / "missing") is None
    assert (resident_peak_mib() or 0) > 10


def test_peaks_of_real_workers_arrive(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker asks the driver for itself: its fake stands on the path it inherits."""
    library = FakeNvml([Card(name="NVIDIA L4", used_mib=5000)])
    library.write(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    got: list[Peak] = []
    pool = WorkerPool(
        [Device("GPU 0", "cuda", "0", "NVIDIA L4", (8, 9))],
        engine=FACTORY, limits=QUICK, on_peak=got.append,
    )  # fmt: skip
    bench.pools.append(pool)
    assert len(texts(list(bench.submit(pool, bench.gpu_model("base"), 4).events()))) == 4
    # The card held as much before the worker began, so nothing is learned of it.
    assert got == []


def test_peak_of_a_cpu_worker_is_learned(bench: Bench) -> None:
    got: list[Peak] = []
    pool = bench.pool(1, on_peak=got.append)
    model = bench.model("base")
    assert len(texts(list(bench.submit(pool, model, 4, batch_size=3).events()))) == 4
    assert {(peak.device, peak.model, peak.compute_type, peak.beam_size) for peak in got} == {
        (CPU, "base", "int8", 5)
    }
    assert max(peak.batch_size for peak in got) == 3
    assert all(10 < peak.peak_mib < 1000 for peak in got)


def test_model_nobody_knows_teaches_nothing(bench: Bench) -> None:
    got: list[Peak] = []
    pool = bench.pool(1, on_peak=got.append)
    list(bench.submit(pool, bench.model("lectures"), 2).events())
    assert got == []
