"""The whole examination on this machine, and what happens when a check itself fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import DeviceUnavailable
from core.settings import Settings
from doctor import inference, resources
from doctor.diagnosis import Finding
from doctor.examination import examine, guarded
from gpu.nvml import read_gpus
from tests.doctor.conftest import Built
from tests.gpu.fake_nvml import Card, FakeNvml

Chosen = Callable[..., Settings]

AREAS = ["NVIDIA driver", "Container and devices", "Libraries", "Cores and memory", "Disk",
         "Models", "Port", "Settings", "Inference"]  # fmt: skip


def test_a_machine_without_a_gpu_is_described_rightly_and_decodes(
    settings: Chosen, build: Built, models_dir: Path, tiny_en: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    FakeNvml(errors={"nvmlInit": "LIBRARY_NOT_FOUND"}).install(monkeypatch)
    lines: list[str] = []
    found = examine(
        settings(models_dir=models_dir), offline=True, machine=build(), progress=lines.append
    )
    assert found.worst == "hint", found.text()
    assert [area for area, _ in found.areas()] == AREAS
    texts = {finding.text: finding for finding in found.findings}
    assert "No NVIDIA driver and no NVIDIA card: transcription runs on the CPU." in texts
    assert "The model hub is not used: --offline was given." in texts
    assert any(text.startswith("PyAV includes FFmpeg ") for text in texts)
    (works,) = [f for f in found.findings if f.area == "Inference"]
    assert works.text.startswith("CPU works: model tiny.en in int8, ")
    assert lines[-1] == "One second of inference on CPU"


def test_a_gpu_that_was_asked_for_and_is_not_there_is_missed_everywhere(
    settings: Chosen, build: Built, models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    FakeNvml(errors={"nvmlInit": "LIBRARY_NOT_FOUND"}).install(monkeypatch)
    monkeypatch.setattr(inference, "inference", lambda *_: [])
    found = examine(settings(models_dir=models_dir, device="cuda"), offline=True, machine=build())
    wrong = {finding.area for finding in found.findings if finding.severity == "error"}
    assert wrong == {"NVIDIA driver", "Libraries", "Inference"}
    assert all(finding.fix for finding in found.findings if finding.severity == "error")


def test_a_check_that_fails_is_a_finding_and_the_others_go_on(
    settings: Chosen, build: Built, models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> list[Finding]:
        raise ZeroDivisionError("division by zero")

    FakeNvml([Card()]).install(monkeypatch)
    monkeypatch.setattr(inference, "inference", lambda *_: [Finding("ok", "Works.")])
    monkeypatch.setattr(resources, "cores", broken)
    chosen = settings(models_dir=models_dir)
    found = examine(chosen, offline=True, gpus=read_gpus, machine=build())
    (failed,) = [f for f in found.findings if "This check could not run" in f.text]
    assert (failed.severity, failed.area) == ("error", "Cores and memory")
    assert "ZeroDivisionError: division by zero (test_examination.py:" in failed.text
    assert found.findings[-1].text == "Works."


def test_errors_of_ours_and_known_ones_keep_their_fix() -> None:
    def own() -> list[Finding]:
        raise DeviceUnavailable("No device.", hint="Take another.")

    def known() -> list[Finding]:
        raise RuntimeError("CUDA failed with error no CUDA-capable device is detected")

    assert guarded("A", own) == [Finding("error", "No device.", "Take another.", "A")]
    assert "--gpus all" in guarded("A", known)[0].fix
