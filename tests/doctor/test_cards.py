"""Cards: memory and holders, compute types, code for them, and which are named."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from core.settings import Settings
from doctor.cards import architecture, cards, code_for, jit_cache, types, visible_devices
from gpu.nvml import GpuList, read_gpus
from tests.doctor.conftest import Built, only, severities
from tests.gpu.fake_nvml import Card, FakeNvml, Mig, Process

MOUNTS = """\
1 0 0:1 / / rw - overlay overlay rw
2 1 0:2 / {volume} rw - ext4 /dev/sda1 rw
"""


def fake(monkeypatch: pytest.MonkeyPatch, *described: Card, cuda: int = 13000) -> GpuList:
    FakeNvml(list(described), cuda=cuda).install(monkeypatch)
    return read_gpus()


def test_who_holds_memory_is_named_with_pid(monkeypatch: pytest.MonkeyPatch) -> None:
    busy = Card(
        total_mib=8192,
        processes=[Process(4711, 5000, "/usr/bin/python3"), Process(12, 2000, "llama-server")],
    )
    first, second = cards(fake(monkeypatch, Card(), busy))
    assert first.severity == "ok"
    assert first.text == (
        "GPU 0: NVIDIA GeForce RTX 3090, compute capability 8.6: 24,576 of 24,576 MiB free."
    )
    assert second.severity == "warning"
    assert "python3 (pid 4711, 5,000 MiB), llama-server (pid 12, 2,000 MiB)" in second.text
    assert "1,192 of 8,192 MiB free" in second.text
    assert "kill" not in second.fix


def test_a_card_that_is_lost_is_an_error_and_the_others_are_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lost = Card(errors={"*": "GPU_IS_LOST"})
    found = list(cards(fake(monkeypatch, lost, Card())))
    assert severities(found) == ["error", "ok"]
    assert "--gpu-reset" in found[0].fix


def test_mig_devices_are_listed_and_mig_without_devices_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sliced = Card(name="NVIDIA A100", capability=(8, 0), total_mib=40960, mig=[Mig(), Mig()])
    found = list(cards(fake(monkeypatch, sliced, Card(mig=[]))))
    assert severities(found) == ["ok", "ok", "ok", "error"]
    assert "slice MIG-" in found[1].text
    assert "nvidia-smi mig -i 1 -cgi 0 -C" in found[3].fix


def test_compute_types_are_those_of_the_card(monkeypatch: pytest.MonkeyPatch) -> None:
    pascal = Card(name="NVIDIA GeForce GTX 1060 6GB", capability=(6, 1))
    gpus = fake(monkeypatch, pascal, Card())
    assert [finding.text for finding in types(gpus, "auto")] == [
        "GPU 0 supports int8_float32, int8, float32.",
        "GPU 1 supports float16, bfloat16, int8_float16, int8_bfloat16, int8_float32, int8,"
        " float32.",
    ]
    wrong, right = types(gpus, "float16")
    assert (wrong.severity, right.severity) == ("error", "ok")
    assert "float16 needs compute capability 7.0" in wrong.text
    assert "WHISPER_COMPUTE_TYPE=auto" in wrong.fix


@pytest.mark.parametrize(
    ("capability", "code"),
    [
        ((5, 2), "none"),
        ((5, 3), "native"),
        ((6, 0), "native"),
        ((6, 1), "native"),
        ((7, 0), "native"),
        ((7, 5), "native"),
        ((8, 0), "native"),
        ((8, 6), "native"),
        ((8, 9), "native"),
        ((9, 0), "compiled"),
        ((10, 0), "compiled"),
        ((12, 0), "compiled"),
    ],
)
def test_the_wheel_has_code_for_the_card(capability: tuple[int, int], code: str) -> None:
    assert code_for(capability) == code


def test_old_and_new_cards_are_told_apart(build: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = build(variables={"CUDA_CACHE_PATH": "/tmp"})
    gpus = fake(monkeypatch, Card(capability=(5, 2)), Card(), Card(capability=(9, 0)))
    old, new, cache = architecture(gpus, machine)
    assert (old.severity, new.severity, cache.severity) == ("error", "ok", "ok")
    assert "needs 5.3" in old.text
    assert "compiles CTranslate2's code at first use" in new.text


def test_compiling_needs_a_driver_as_new_as_the_wheel(
    build: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = build(variables={"CUDA_CACHE_PATH": "/tmp"})
    gpus = fake(monkeypatch, Card(capability=(9, 0)), cuda=12020)
    found, _ = architecture(gpus, machine)
    assert found.severity == "warning"
    assert "570" in found.fix


def test_compiled_code_is_kept_on_a_volume(build: Built, tmp_path: Path) -> None:
    volume = tmp_path / "cache"
    volume.mkdir()
    files = {"proc/self/mountinfo": MOUNTS.format(volume=volume)}
    variables = {"CUDA_CACHE_PATH": str(volume)}
    machine = build(container=True, files=files, variables=variables)
    assert only(jit_cache(machine)).severity == "ok"
    variables["CUDA_CACHE_PATH"] = str(tmp_path)
    found = only(jit_cache(machine))
    assert found.severity == "warning"
    assert "-v cuda-cache:/app/cache" in found.fix


def test_compiled_code_that_is_lost_is_told(build: Built, tmp_path: Path) -> None:
    variables = {"CUDA_CACHE_DISABLE": "1"}
    assert "unset CUDA_CACHE_DISABLE" in only(jit_cache(build(variables=variables))).fix
    (tmp_path / "file").touch()
    variables = {"CUDA_CACHE_PATH": str(tmp_path / "file")}
    found = only(jit_cache(build(variables=variables)))
    assert found.severity == "warning"
    assert "is not a folder" in found.text
    assert os.path.isfile(tmp_path / "file")


def test_named_devices_exist_or_are_told(
    settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus = fake(monkeypatch, Card(), Card())
    found = list(visible_devices(settings(cuda_visible_devices="1,5,GPU-00000000"), gpus))
    assert severities(found) == ["ok", "error", "ok"]
    assert found[1].text == "CUDA_VISIBLE_DEVICES names '5'; the cards here are 0, 1."
    assert "export CUDA_VISIBLE_DEVICES=0,1" in found[1].fix
    assert severities(visible_devices(settings(), gpus)) == []
    hidden = only(visible_devices(settings(cuda_visible_devices="-1"), gpus))
    assert "hides every GPU" in hidden.text
    nothing = only(visible_devices(settings(cuda_visible_devices="0"), GpuList(problem="NVML")))
    assert nothing.severity == "hint"
