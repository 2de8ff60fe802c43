"""Cards as NVML shows them, and what it does not show."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from gpu import nvml
from gpu.nvml import GpuDevice, GpuList, GpuProcess, MigDevice, find_device, read_gpus
from tests.gpu.fake_nvml import ROOT, Card, FakeNvml, Mig, Process, absent
from tests.waiting import PATIENCE_S

Machine = Callable[..., FakeNvml]

SIZES = (24576, 8192, 12288, 81559, 6144, 24576, 16376, 4096)


def only(gpus: GpuList) -> GpuDevice:
    (card,) = gpus.devices
    return card


@pytest.mark.parametrize("count", [0, 1, 4, 8])
def test_every_card_is_listed_with_its_memory(machine: Machine, count: int) -> None:
    fake = machine(*(Card(total_mib=size, used_mib=500) for size in SIZES[:count]), cuda=12080)
    gpus = read_gpus()
    assert (gpus.driver, gpus.cuda, gpus.problem) == ("580.65.06", (12, 8), "")
    assert [card.index for card in gpus.devices] == list(range(count))
    assert [card.uuid for card in gpus.devices] == [card.uuid for card in fake.cards]
    for card, size in zip(gpus.devices, SIZES, strict=False):
        assert (card.total_mib, card.used_mib, card.free_mib) == (size, 500, size - 500)
    assert fake.open == 0


def test_card_tells_what_it_is_and_does(machine: Machine) -> None:
    machine(Card(name="NVIDIA L4", capability=(8, 9), utilization=97, temperature=71, power_w=68.4))
    card = only(read_gpus())
    assert (card.name, card.capability) == ("NVIDIA L4", (8, 9))
    assert (card.utilization, card.temperature_c) == (97, 71)
    assert (card.power_w, card.power_limit_w) == (68.4, 350.0)
    assert (card.processes, card.mig, card.problem) == ((), (), "")


def test_memory_the_driver_keeps_is_neither_used_nor_free(machine: Machine) -> None:
    machine(Card(total_mib=8192, used_mib=1000, reserved_mib=300))
    card = only(read_gpus())
    assert (card.used_mib, card.free_mib, card.total_mib) == (1000, 6892, 8192)


def test_driver_without_the_second_version_counts_it_as_used(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = machine(Card(total_mib=8192, used_mib=1000, reserved_mib=300))
    module = sys.modules["pynvml"]
    first = module.nvmlDeviceGetMemoryInfo

    def old(handle: object, version: int | None = None) -> object:
        if version is not None:
            raise module.NVMLError_FunctionNotFound(module.NVML_ERROR_FUNCTION_NOT_FOUND)
        return first(handle)

    monkeypatch.setattr(module, "nvmlDeviceGetMemoryInfo", old)
    card = only(read_gpus())
    assert (card.used_mib, card.free_mib, card.problem) == (1300, 6892, "")
    assert fake.open == 0


def test_processes_are_named_merged_and_sorted_by_memory(machine: Machine) -> None:
    both = Process(30, 700, "/opt/google/chrome/chrome --type=gpu-process --flag=a/b")
    machine(
        Card(
            processes=[
                Process(10, 300, "python3"),
                Process(20, 4000, "/usr/bin/ollama"),
                Process(40, None, r"C:\Program Files\Game\game.exe"),
                both,
            ],
            graphics=[Process(50, 90, "/usr/lib/xorg/Xorg"), both],
            mps_clients=[Process(60, 200, "/usr/bin/python train.py")],
        )
    )
    assert only(read_gpus()).processes == (
        GpuProcess(pid=20, name="ollama", used_mib=4000),
        GpuProcess(pid=30, name="chrome", used_mib=700),
        GpuProcess(pid=10, name="python3", used_mib=300),
        GpuProcess(pid=60, name="python train.py", used_mib=200),
        GpuProcess(pid=50, name="Xorg", used_mib=90),
        GpuProcess(pid=40, name="game.exe", used_mib=None),
    )


def test_name_nvml_does_not_know_comes_from_the_system(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nvml, "PROC", tmp_path)
    (tmp_path / "10").mkdir()
    (tmp_path / "10" / "comm").write_bytes(b"pyth\xffn\n")
    machine(Card(processes=[Process(10, 2, name=None), Process(11, 1, name=None)]))
    assert [process.name for process in only(read_gpus()).processes] == ["pyth�n", ""]


def test_mig_devices_have_memory_and_processes_of_their_own(machine: Machine) -> None:
    worker = Process(77, 1200, "python")
    machine(
        Card(mig=[Mig(total_mib=4864, processes=[worker]), Mig(total_mib=19968)], utilization=None),
        Card(),
    )
    card, plain = read_gpus().devices
    assert (card.problem, plain.mig) == ("", ())
    first, second = card.mig
    assert first == MigDevice(
        uuid="MIG-00000000-1111-2222-3333-444444444444",
        name="NVIDIA A100-SXM4-40GB MIG 1g.5gb",
        total_mib=4864,
        used_mib=1200,
        free_mib=3664,
        processes=(GpuProcess(pid=77, name="python", used_mib=1200),),
        capability=(8, 6),
    )
    assert (second.total_mib, second.free_mib, second.processes) == (19968, 19968, ())
    assert card.processes == first.processes, "the card shows what its MIG devices hold"


def test_card_with_mig_on_and_no_mig_device_cannot_be_used(machine: Machine) -> None:
    machine(Card(mig=[]))
    card = only(read_gpus())
    assert card.problem == "MIG is on, but there is no MIG device to use."
    assert card.total_mib == 24576


def test_mig_device_that_goes_while_it_is_read_is_left_out(machine: Machine) -> None:
    machine(Card(mig=[Mig(errors={"nvmlDeviceGetUUID": "INVALID_ARGUMENT"}), Mig(uuid="MIG-b")]))
    assert [mig.uuid for mig in only(read_gpus()).mig] == ["MIG-b"]


def test_machine_without_the_package_has_no_gpus_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    absent(monkeypatch)
    assert read_gpus() == GpuList(problem="The package nvidia-ml-py is not installed.")


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        ("LIBRARY_NOT_FOUND", "NVML says: NVML Shared Library Not Found."),
        ("DRIVER_NOT_LOADED", "NVML says: Driver Not Loaded."),
        ("LIB_RM_VERSION_MISMATCH", "NVML says: RM has detected an NVML/RM version mismatch."),
        ("UNKNOWN", "NVML says: Unknown Error."),
        ("NO_PERMISSION", "NVML says: Insufficient Permissions."),
    ],
)
def test_library_that_does_not_begin_is_a_problem_of_the_list(
    machine: Machine, error: str, problem: str
) -> None:
    fake = machine(Card(), errors={"nvmlInit": error})
    assert read_gpus() == GpuList(problem=problem)
    assert "nvmlShutdown" not in fake.calls


def test_library_that_ends_badly_changes_nothing(machine: Machine) -> None:
    machine(Card(), errors={"nvmlShutdown": "UNKNOWN"})
    assert only(read_gpus()).problem == ""


def test_library_that_stops_while_it_is_asked_is_ended(machine: Machine) -> None:
    fake = machine(Card(), errors={"nvmlDeviceGetCount": "UNKNOWN"})
    assert read_gpus() == GpuList(problem="NVML says: Unknown Error.")
    assert fake.open == 0


@pytest.mark.parametrize("function", ["nvmlDeviceGetHandleByIndex", "nvmlDeviceGetName", "*"])
def test_lost_card_is_shown_as_such_beside_the_others(machine: Machine, function: str) -> None:
    fake = machine(Card(), Card(errors={function: "GPU_IS_LOST"}), Card())
    first, lost, last = read_gpus().devices
    assert (first.problem, last.problem) == ("", "")
    assert lost.problem == "NVML says: GPU is lost."
    assert (lost.index, lost.total_mib, lost.free_mib) == (1, 0, 0)
    assert fake.open == 0


def test_card_lost_after_its_name_keeps_it(machine: Machine) -> None:
    machine(Card(errors={"nvmlDeviceGetMemoryInfo": "GPU_IS_LOST"}))
    card = only(read_gpus())
    assert (card.name, card.problem) == ("NVIDIA GeForce RTX 3090", "NVML says: GPU is lost.")


OPTIONAL = {
    "nvmlDeviceGetCudaComputeCapability": "capability",
    "nvmlDeviceGetUtilizationRates": "utilization",
    "nvmlDeviceGetTemperature": "temperature_c",
    "nvmlDeviceGetPowerUsage": "power_w",
    "nvmlDeviceGetEnforcedPowerLimit": "power_limit_w",
}


@pytest.mark.parametrize("error", ["NOT_SUPPORTED", "NO_PERMISSION", "FUNCTION_NOT_FOUND"])
@pytest.mark.parametrize("function", OPTIONAL)
def test_what_a_card_cannot_tell_is_none_and_the_rest_is_there(
    machine: Machine, function: str, error: str
) -> None:
    machine(Card(errors={function: error}))
    card = only(read_gpus())
    assert getattr(card, OPTIONAL[function]) is None
    assert (card.total_mib, card.problem) == (24576, "")


@pytest.mark.parametrize("error", ["NOT_SUPPORTED", "INSUFFICIENT_SIZE", "LIBRARY_MISMATCH"])
def test_processes_nvml_does_not_list_are_none(machine: Machine, error: str) -> None:
    machine(Card(processes=[Process(1)], errors={"nvmlDeviceGetComputeRunningProcesses": error}))
    card = only(read_gpus())
    assert (card.processes, card.problem, card.total_mib) == ((), "", 24576)


def test_card_without_memory_of_its_own_has_no_memory_figures(machine: Machine) -> None:
    machine(Card(name="NVIDIA GB10", errors={"nvmlDeviceGetMemoryInfo": "NOT_SUPPORTED"}))
    card = only(read_gpus())
    assert (card.total_mib, card.used_mib, card.free_mib, card.problem) == (0, 0, 0, "")


def test_driver_that_hides_its_version_still_lists_its_cards(machine: Machine) -> None:
    machine(
        Card(),
        errors={
            "nvmlSystemGetDriverVersion": "UNKNOWN",
            "nvmlSystemGetCudaDriverVersion_v2": "FUNCTION_NOT_FOUND",
        },
    )
    gpus = read_gpus()
    assert (gpus.driver, gpus.cuda, len(gpus.devices)) == (None, None, 1)


def test_threads_do_not_end_the_library_for_each_other(machine: Machine) -> None:
    fake = machine(*(Card() for _ in range(4)))
    together = threading.Barrier(8)

    def read() -> GpuList:
        together.wait()
        return read_gpus()

    with ThreadPoolExecutor(8) as threads:
        found = [done.result() for done in [threads.submit(read) for _ in range(8)]]
    assert all(not gpus.problem and len(gpus.devices) == 4 for gpus in found)
    assert not any(card.problem for gpus in found for card in gpus.devices)
    assert fake.open == 0


def test_spawned_processes_see_a_fake_on_their_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As ``sys.path`` and ``sys.modules`` are put back, whatever else has imported pynvml keeps it.
    FakeNvml([Card(total_mib=8192, processes=[Process(7, 100, "a")], mig=[Mig()])]).write(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as child:
        card = only(child.submit(read_gpus).result(PATIENCE_S))
    assert (card.total_mib, card.processes[0].name, len(card.mig)) == (8192, "a", 1)


def test_reading_loads_no_engine(tmp_path: Path) -> None:
    """No CUDA context in the parent: nothing that could make one is imported."""
    FakeNvml([Card()]).write(tmp_path)
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from gpu.nvml import read_gpus\n"
        "assert 'pynvml' not in sys.modules\n"
        "assert len(read_gpus().devices) == 1\n"
        "print([name for name in ('torch', 'ctranslate2', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def listed() -> GpuList:
    def card(index: int, uuid: str, *mig: str) -> GpuDevice:
        slices = tuple(
            MigDevice(uuid=it, name="1g", total_mib=9, used_mib=0, free_mib=9) for it in mig
        )
        return GpuDevice(
            index=index, uuid=uuid, name="", total_mib=9, used_mib=0, free_mib=9, mig=slices
        )

    return GpuList(
        devices=(
            card(0, "GPU-aaaa-1111"),
            card(1, "GPU-aabb-2222"),
            card(2, "GPU-cccc-3333", "MIG-1234", "MIG-GPU-cccc-3333/7/0"),
        )
    )


@pytest.mark.parametrize(
    ("entry", "uuid"),
    [
        ("0", "GPU-aaaa-1111"),
        ("1", "GPU-aabb-2222"),
        ("2", "MIG-1234"),
        ("3", None),
        ("-1", None),
        ("", None),
        ("GPU-aaaa-1111", "GPU-aaaa-1111"),
        ("GPU-aab", "GPU-aabb-2222"),
        ("GPU-c", "MIG-1234"),
        ("GPU-aa", None),
        ("GPU-", None),
        ("GPU-dddd", None),
        ("MIG-1234", "MIG-1234"),
        ("MIG-12", None),
        ("MIG-GPU-cccc-3333/7/0", "MIG-GPU-cccc-3333/7/0"),
        ("MIG-GPU-cccc-3333/9/0", "GPU-cccc-3333"),
        ("MIG-GPU-cccc/9/0", None),
        ("first", None),
        ("²", None),
    ],
)
def test_entries_of_cuda_visible_devices_name_devices(entry: str, uuid: str | None) -> None:
    device = find_device(entry, listed())
    assert (None if device is None else device.uuid) == uuid


def test_older_version_of_the_package_is_read_as_far_as_it_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Distributions carry versions before 11.5, which answer in bytes and know less."""
    module = FakeNvml([Card(total_mib=8192, processes=[Process(7, 1024, "blender")])]).module()
    for name in (
        "NVMLLibraryMismatchError", "nvmlMemory_v2", "nvmlDeviceGetMPSComputeRunningProcesses",
        "nvmlDeviceGetMigMode", "nvmlDeviceGetEnforcedPowerLimit", "NVML_TEMPERATURE_GPU",
    ):  # fmt: skip
        delattr(module, name)
    for name in ("nvmlDeviceGetName", "nvmlDeviceGetUUID"):
        answer = getattr(module, name)
        monkeypatch.setattr(module, name, lambda handle, answer=answer: answer(handle).encode())
    monkeypatch.setitem(sys.modules, "pynvml", module)
    (card,) = read_gpus().devices
    assert (card.name, card.total_mib, card.free_mib) == ("NVIDIA GeForce RTX 3090", 8192, 7168)
    assert card.uuid.startswith("GPU-")
    assert [process.name for process in card.processes] == ["blender"]
    assert (card.mig, card.power_limit_w, card.temperature_c) == ((), None, 40)
