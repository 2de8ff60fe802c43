"""Devices that work, fail, die and hang, each in a real process of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from core.models import MODELS
from core.settings import Settings
from doctor.diagnosis import Finding
from doctor.inference import devices, inference
from gpu.nvml import read_gpus
from model_store.store import ResolvedModel
from tests.doctor.conftest import only
from tests.doctor.failing_engine import FACTORY
from tests.gpu.fake_nvml import Card, FakeNvml, Mig
from workers.devices import Device

Chosen = Callable[..., Settings]

CPU, GPU = Device("CPU", "cpu"), Device("GPU 0", "cuda", "0", "NVIDIA L4", (8, 9))


def tried(
    says: str, folder: Path, settings: Settings, *devices: Device, limit_s: float = 30.0
) -> list[Finding]:
    (folder / "says").write_text(says)
    model = ResolvedModel(folder, MODELS["tiny.en"], "here")
    lines: list[str] = []
    found = inference(devices, model, settings, lines.append, limit_s=limit_s, engine=FACTORY)
    assert lines == [f"One second of inference on {', '.join(device.label for device in devices)}"]
    return found


def test_devices_that_work_are_told_with_seconds(settings: Chosen, tmp_path: Path) -> None:
    gpu, cpu = tried("", tmp_path, settings(), GPU, CPU)
    assert gpu.text.startswith("GPU 0 (NVIDIA L4) works: model tiny.en in float16, ")
    assert cpu.text.startswith("CPU works: model tiny.en in int8, ")
    assert gpu.severity == cpu.severity == "ok"


def test_a_setting_for_gpus_is_not_tried_on_the_cpu(settings: Chosen, tmp_path: Path) -> None:
    gpu, cpu = tried("", tmp_path, settings(compute_type="int8_float16"), GPU, CPU)
    assert "in int8_float16," in gpu.text
    assert "in int8," in cpu.text


@pytest.mark.parametrize(
    ("says", "fix"),
    [
        ("Library libcublas.so.12 is not found or cannot be loaded", "requirements-gpu.txt"),
        ("cuBLAS failed with status CUBLAS_STATUS_NOT_SUPPORTED", "=float16"),
        ("CUDA failed with error out of memory", "smaller model"),
    ],
)
def test_a_failure_is_answered_with_its_fix(
    says: str, fix: str, settings: Chosen, tmp_path: Path
) -> None:
    found = only(tried(says, tmp_path, settings(), GPU))
    assert found.severity == "error"
    assert says in found.text
    assert fix in found.fix


def test_a_device_that_kills_its_process_is_told(settings: Chosen, tmp_path: Path) -> None:
    found = only(tried("die", tmp_path, settings(), GPU))
    assert found.severity == "error"
    assert "SIGSEGV" in found.text


def test_a_device_that_hangs_is_told_after_the_limit(settings: Chosen, tmp_path: Path) -> None:
    found = only(tried("hang", tmp_path, settings(), GPU, limit_s=0.5))
    assert found.severity == "error"
    assert "gave no answer within 0.5 s" in found.text
    assert "nvidia-smi" in found.fix


def test_devices_are_those_of_the_app_and_the_cpu(
    settings: Chosen, monkeypatch: pytest.MonkeyPatch
) -> None:
    FakeNvml([Card(), Card(mig=[Mig(), Mig()])]).install(monkeypatch)
    tried, found = devices(settings(), read_gpus())
    assert [device.kind for device in tried] == ["cuda", "cuda", "cuda", "cpu"]
    assert found == []
    tried, found = devices(settings(device="cpu"), read_gpus())
    assert [device.label for device in tried] == ["CPU"]


def test_those_of_the_named_devices_that_exist_are_tried(
    settings: Chosen, monkeypatch: pytest.MonkeyPatch
) -> None:
    FakeNvml([Card(), Card()]).install(monkeypatch)
    for named, tried_ones in (("7", ["CPU"]), ("7,1", ["GPU 1", "CPU"])):
        tried, found = devices(settings(cuda_visible_devices=named), read_gpus())
        assert [device.label for device in tried] == tried_ones
        assert only(found).severity == "error"
