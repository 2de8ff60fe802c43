from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.errors import DeviceUnavailable
from gpu.nvml import GpuDevice, GpuList, MigDevice
from tests.gpu.fake_nvml import Card, FakeNvml, Mig, absent
from workers import devices, resources
from workers.devices import Device, find_devices, visible_entries

UUIDS = ("GPU-aaaa1111-0000", "GPU-bbbb2222-0000", "GPU-cccc3333-0000")
MIG = "MIG-1234"


def mig_device(uuid: str) -> MigDevice:
    return MigDevice(uuid=uuid, name="1g.5gb", total_mib=4864, used_mib=0, free_mib=4864)


def card(index: int, uuid: str, *mig: str, problem: str = "") -> GpuDevice:
    return GpuDevice(
        index=index,
        uuid=uuid,
        name="NVIDIA L4",
        total_mib=24576,
        used_mib=0,
        free_mib=24576,
        capability=(8, 9),
        mig=tuple(map(mig_device, mig)),
        problem=problem,
    )


def machine(*cards: GpuDevice) -> Callable[[], GpuList]:
    return lambda: GpuList(devices=cards)


def three_cards() -> GpuList:
    return GpuList(devices=tuple(card(index, uuid) for index, uuid in enumerate(UUIDS)))


def without_nvml() -> GpuList:
    return GpuList(problem="NVML says: NVML Shared Library Not Found.")


@pytest.fixture(autouse=True)
def driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Whatever this machine has: there is a driver where this file exists."""
    file = tmp_path / "nvidiactl"
    monkeypatch.setattr(devices, "DRIVER_FILES", (file,))
    return file


def visible(gpus: Callable[[], GpuList] = three_cards, /, **wishes: Any) -> list[tuple[str, str]]:
    devices = find_devices(gpus=gpus, **wishes)
    return [(device.label, device.visible) for device in devices]


def test_every_gpu_is_a_slot_named_by_uuid_when_nothing_is_set() -> None:
    assert visible() == [("GPU 0", UUIDS[0]), ("GPU 1", UUIDS[1]), ("GPU 2", UUIDS[2])]


def test_indices_keep_their_own_numbers() -> None:
    assert visible(cuda_visible_devices="2,0") == [("GPU 2", "2"), ("GPU 0", "0")]


def test_uuids_and_mig_ids_pass_through_as_they_are() -> None:
    legacy = "MIG-GPU-aaaa1111-0000/1/0"
    gpus = machine(card(0, UUIDS[0]), card(1, UUIDS[1]), card(2, UUIDS[2], MIG))
    assert visible(gpus, cuda_visible_devices=f"GPU-bbbb, {MIG},{legacy}") == [
        ("GPU 0", "GPU-bbbb"),
        ("GPU 1", MIG),
        ("GPU 2", legacy),
    ]


@pytest.mark.parametrize("entry", ["3", "GPU-dddd", "GPU-", "MIG-9", "MIG-GPU-dddd/1/0", "first"])
def test_gpu_that_does_not_exist_is_an_error_that_names_it(entry: str) -> None:
    with pytest.raises(DeviceUnavailable, match=entry):
        find_devices(cuda_visible_devices=f"0,{entry}", gpus=three_cards)


def test_slot_knows_its_card() -> None:
    everything: list[dict[str, Any]] = [{}, {"cuda_visible_devices": "0"}, {"gpu_ids": ["GPU-a"]}]
    for wishes in everything:
        device = find_devices(gpus=three_cards, **wishes)[0]
        assert (device.name, device.capability, device.total_mib) == ("NVIDIA L4", (8, 9), 24576)


def test_mig_devices_are_slots_instead_of_their_card() -> None:
    gpus = machine(card(0, UUIDS[0]), card(1, UUIDS[1], "MIG-a", "MIG-b"))
    assert visible(gpus) == [("GPU 0", UUIDS[0]), ("GPU 1:0", "MIG-a"), ("GPU 1:1", "MIG-b")]
    assert [device.total_mib for device in find_devices(gpus=gpus)] == [24576, 4864, 4864]


def test_card_named_by_number_where_mig_is_on_is_its_first_mig_device() -> None:
    gpus = machine(card(0, UUIDS[0], "MIG-a", "MIG-b"))
    (device,) = find_devices(gpus=gpus, cuda_visible_devices="0")
    assert (device.label, device.visible, device.total_mib) == ("GPU 0", "0", 4864)


def test_card_that_cannot_be_read_is_left_out_and_is_an_error_when_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gpus = machine(card(0, UUIDS[0], problem="NVML says: GPU is lost."), card(1, UUIDS[1]))
    assert visible(gpus) == [("GPU 1", UUIDS[1])]
    assert "[GPU 0] is left out: NVML says: GPU is lost." in caplog.text
    with pytest.raises(DeviceUnavailable, match=r"GPU '0' cannot be used\. .*GPU is lost"):
        find_devices(gpus=gpus, cuda_visible_devices="0,1")


def test_slots_come_from_the_driver_where_no_list_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    FakeNvml([Card(uuid="GPU-1"), Card(mig=[Mig(uuid="MIG-1")])]).install(monkeypatch)
    labels = [(device.label, device.visible) for device in find_devices()]
    assert labels == [("GPU 0", "GPU-1"), ("GPU 1:0", "MIG-1")]
    absent(monkeypatch)
    assert [device.kind for device in find_devices(workers=1)] == ["cpu"]


@pytest.mark.parametrize(
    ("listed", "entries"),
    [
        ("", ()),
        ("-1", ()),
        ("NoDevFiles", ()),
        ("1,-1,0", ("1",)),
        (" 0 , 1 ", ("0", "1")),
        ("0,0", ("0",)),
    ],
)
def test_list_is_read_as_cuda_reads_it(listed: str, entries: tuple[str, ...]) -> None:
    assert visible_entries(listed) == entries


@pytest.mark.parametrize("listed", ["", "-1"])
def test_hidden_gpus_leave_the_cpu_or_an_error(listed: str) -> None:
    devices = find_devices(cuda_visible_devices=listed, workers=1, gpus=three_cards)
    assert devices == (Device("CPU 0", "cpu", ""),)
    with pytest.raises(DeviceUnavailable):
        find_devices(device="cuda", cuda_visible_devices=listed, gpus=three_cards)


def test_machine_without_gpu_uses_the_cpu_unless_a_gpu_was_asked_for() -> None:
    assert visible(without_nvml, workers=2) == [("CPU 0", ""), ("CPU 1", "")]
    assert visible(without_nvml, workers=1, cuda_visible_devices="0") == [("CPU 0", "")]
    with pytest.raises(DeviceUnavailable):
        find_devices(device="cuda", gpus=without_nvml)
    with pytest.raises(DeviceUnavailable):
        find_devices(gpu_ids=[0], gpus=without_nvml)


def test_listed_gpus_are_trusted_where_the_driver_cannot_list_them(driver: Path) -> None:
    driver.touch()
    assert visible(without_nvml, cuda_visible_devices="1") == [("GPU 1", "1")]
    assert visible(without_nvml, gpu_ids=[0, 1]) == [("GPU 0", "0"), ("GPU 1", "1")]
    assert find_devices(gpus=without_nvml, gpu_ids=[0])[0].total_mib is None


def test_gpu_ids_of_the_caller_win() -> None:
    assert visible(cuda_visible_devices="2", gpu_ids=[0, 1]) == [("GPU 0", "0"), ("GPU 1", "1")]


def test_cpu_can_be_chosen_beside_gpus() -> None:
    assert visible(device="cpu", workers=1) == [("CPU 0", "")]


def test_without_multi_gpu_there_is_one_worker() -> None:
    assert visible(multi_gpu=False) == [("GPU 0", UUIDS[0])]
    assert visible(without_nvml, multi_gpu=False, workers=4) == [("CPU 0", "")]


def test_cpu_workers_fit_cores_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.devices.usable_cores", lambda: 8)
    monkeypatch.setattr("workers.devices.available_mib", lambda: 3000)
    assert len(find_devices(device="cpu")) == 8
    assert len(find_devices(device="cpu", threads=3)) == 2
    assert len(find_devices(device="cpu", threads=16)) == 1
    assert len(find_devices(device="cpu", worker_mib=1000)) == 3
    assert len(find_devices(device="cpu", worker_mib=9000)) == 1
    assert len(find_devices(device="cpu", workers=5, worker_mib=1000)) == 5


def test_this_machine_answers_without_raising() -> None:
    assert find_devices(multi_gpu=False)
    assert 1 <= resources.usable_cores() <= (os.cpu_count() or 1)
    assert (resources.available_mib() or 0) > 0


def write(root: Path, files: dict[str, str]) -> tuple[Path, Path]:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root / "proc", root / "cgroup"


def test_limits_of_cgroup_version_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))
    proc, cgroups = write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/app/job",
            "proc/meminfo": "MemTotal: 99 kB\nMemAvailable:   8388608 kB",
            "cgroup/app/cpu.max": "350000 100000",
            "cgroup/app/job/cpu.max": "max 100000",
            "cgroup/app/memory.max": str(4 << 30),
            "cgroup/app/memory.current": str(3 << 30),
            "cgroup/app/memory.stat": f"anon 1\ninactive_file {1 << 29}",
            "cgroup/app/job/memory.max": "max",
        },
    )
    assert resources.usable_cores(proc, cgroups) == 3
    assert resources.available_mib(proc, cgroups) == 1024 + 512


def test_limits_of_cgroup_version_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))
    proc, cgroups = write(
        tmp_path,
        {
            # As in a container: the path is the host's and does not exist below the mount.
            "proc/self/cgroup": "4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc",
            "proc/meminfo": "MemAvailable:   8388608 kB",
            "cgroup/cpu,cpuacct/cpu.cfs_quota_us": "50000",
            "cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
            "cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
        },
    )
    assert resources.usable_cores(proc, cgroups) == 1
    assert resources.available_mib(proc, cgroups) == 8192


def test_importing_the_pool_is_cheap() -> None:
    heavy = ("torch", "gradio", "fastapi", "ctranslate2", "faster_whisper", "onnxruntime", "av")
    program = f"import sys, workers.pool; print([m for m in {heavy!r} if m in sys.modules])"
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
