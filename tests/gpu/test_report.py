"""What programs and bug reports are told about the cards."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from gpu.cublas import CUBLAS
from gpu.nvml import GpuList, read_gpus
from gpu.report import cublas_files, cuda_debug_info, memory_info
from tests.gpu.fake_nvml import Card, FakeNvml, Mig, Process, absent

Machine = Callable[..., FakeNvml]


def test_busy_card_is_told_as_the_guide_prints_it(machine: Machine) -> None:
    machine(Card(total_mib=8192, processes=[Process(4711, 3072, "/usr/bin/ollama"), Process(5)]))
    info = memory_info(read_gpus())
    assert (info["available"], info["count"], info["cuda"]) == (True, 1, "13.0")
    (card,) = info["gpus"]
    assert f"{card['used']:.2f}GB / {card['total']:.2f}GB" == "3.00GB / 8.00GB"
    assert (card["free"], card["free_mib"], card["total_mib"]) == (5.0, 5120, 8192)
    assert (card["index"], card["name"]) == (0, "NVIDIA GeForce RTX 3090")
    assert (card["utilization"], card["temperature"], card["power"]) == (0, 40, 30.0)
    assert card["processes"] == [
        {"pid": 4711, "name": "ollama", "used": 3.0, "used_mib": 3072},
        {"pid": 5, "name": "python", "used": None, "used_mib": None},
    ]


@pytest.mark.parametrize("count", [0, 1, 4, 8])
def test_place_in_the_list_is_the_number_of_the_card(machine: Machine, count: int) -> None:
    machine(*(Card() for _ in range(count)))
    info = memory_info(read_gpus())
    assert [card["index"] for card in info["gpus"]] == list(range(count))
    assert (info["available"], info["count"]) == (count > 0, count)


def test_lost_card_keeps_its_place_and_says_why(machine: Machine) -> None:
    machine(Card(errors={"*": "GPU_IS_LOST"}), Card())
    info = memory_info(read_gpus())
    assert info["available"]
    assert info["gpus"][0]["problem"] == "NVML says: GPU is lost."
    assert info["gpus"][1]["problem"] == ""


def test_nothing_is_available_where_every_card_is_lost(machine: Machine) -> None:
    machine(Card(errors={"*": "GPU_IS_LOST"}))
    assert not memory_info(read_gpus())["available"]
    assert not cuda_debug_info(read_gpus(), None)["available"]


def test_mig_devices_are_told_with_their_memory(machine: Machine) -> None:
    machine(Card(mig=[Mig(total_mib=5120, used_mib=1024)]))
    (mig,) = memory_info(read_gpus())["gpus"][0]["mig"]
    assert (mig["total"], mig["used"], mig["free"]) == (5.0, 1.0, 4.0)


def test_machine_without_gpus_answers_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    absent(monkeypatch)
    info = memory_info(read_gpus())
    assert info == {
        "available": False,
        "count": 0,
        "driver": None,
        "cuda": None,
        "problem": "The package nvidia-ml-py is not installed.",
        "gpus": [],
    }
    assert cuda_debug_info(read_gpus(), "0")["problem"] == info["problem"]


@pytest.mark.parametrize(
    ("capability", "can", "cannot"),
    [
        ((6, 1), {"int8", "int8_float32"}, {"float16", "bfloat16"}),
        ((6, 0), {"float32"}, {"float16", "int8"}),
        ((7, 5), {"float16", "int8_float16"}, {"bfloat16"}),
        ((8, 9), {"float16", "int8", "bfloat16"}, set()),
    ],
)
def test_debug_info_says_what_each_card_can_compute(
    machine: Machine, capability: tuple[int, int], can: set[str], cannot: set[str]
) -> None:
    machine(Card(capability=capability))
    (card,) = cuda_debug_info(read_gpus(), None)["gpus"]
    assert card["capability"] == f"{capability[0]}.{capability[1]}"
    assert can <= set(card["compute_types"])
    assert not cannot & set(card["compute_types"])


def test_debug_info_is_json_and_names_versions(machine: Machine) -> None:
    machine(Card(), Card(capability=None, mig=[Mig()]), Card(errors={"*": "UNKNOWN"}))
    info = json.loads(json.dumps(cuda_debug_info(read_gpus(), "0,1")))
    assert (info["driver"], info["cuda"]) == ("580.65.06", "13.0")
    assert info["cuda_visible_devices"] == "0,1"
    assert info["packages"]["ctranslate2"]
    assert set(info["packages"]) >= {"faster-whisper", "nvidia-ml-py", "nvidia-cublas-cu12"}
    assert info["gpus"][1]["compute_types"] is None, "nobody knows what it can"
    assert len(info["gpus"][1]["mig"]) == 1
    assert info["gpus"][2]["problem"]
    assert json.dumps(memory_info(read_gpus()))


def test_both_answers_ask_the_driver_nothing(machine: Machine) -> None:
    fake = machine(Card())
    assert memory_info(GpuList())["count"] == 0
    assert cuda_debug_info(GpuList(), None)["gpus"] == []
    assert fake.calls == []


def test_cublas_is_found_in_packages_and_usual_folders_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda = tmp_path / "usr/local/cuda-12.8/lib64"
    packages = tmp_path / "site-packages/nvidia/cublas/lib"
    for folder in (cuda, packages, tmp_path / "usr/lib64"):
        folder.mkdir(parents=True)
    (tmp_path / "usr/local/cuda").symlink_to("cuda-12.8")
    (cuda / CUBLAS).touch()
    (packages / CUBLAS).touch()
    monkeypatch.setattr("sys.path", [str(tmp_path / "site-packages")])
    assert cublas_files(tmp_path) == [
        packages / CUBLAS,
        tmp_path / "usr/local/cuda/lib64" / CUBLAS,
    ]
