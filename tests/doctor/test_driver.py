"""The driver: there, old, silent, or absent, inside containers and outside."""

from __future__ import annotations

import pytest

from doctor.driver import driver, gpu_expected
from gpu.nvml import GpuList, read_gpus
from tests.doctor.conftest import Built, only
from tests.gpu.fake_nvml import Card, FakeNvml


def fake(monkeypatch: pytest.MonkeyPatch, *cards: Card, **described: object) -> GpuList:
    FakeNvml(list(cards), **described).install(monkeypatch)  # type: ignore[arg-type]
    return read_gpus()


def test_a_driver_that_answers_is_named(build: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    found = only(driver("auto", build(), fake(monkeypatch, Card())))
    assert (found.severity, found.text) == ("ok", "Driver 580.65.06, runs CUDA up to 13.0.")


def test_a_driver_of_cuda_11_is_too_old(build: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = fake(monkeypatch, Card(), driver="470.256.02", cuda=11040)
    found = only(driver("auto", build(), gpus))
    assert found.severity == "error"
    assert "nvidia-driver-570" in found.fix


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("UNKNOWN", "docker restart"),
        ("LIB_RM_VERSION_MISMATCH", "reboot"),
        ("DRIVER_NOT_LOADED", "modprobe nvidia"),
        ("GPU_IS_LOST", "--gpu-reset"),
        ("LIBRARY_NOT_FOUND", "NVIDIA_DRIVER_CAPABILITIES=compute,utility"),
    ],
)
def test_a_driver_that_cannot_be_asked_is_answered_with_the_fix(
    name: str, fix: str, build: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = build(driver="570.133.20", nodes=["nvidia0", "nvidiactl"], container=True)
    gpus = fake(monkeypatch, Card(), errors={"nvmlInit": name})
    found = only(driver("auto", machine, gpus))
    assert found.severity == "error"
    assert found.text.startswith(
        "Driver 570.133.20 is loaded, but NVML cannot be used. NVML says: "
    )
    assert fix in found.fix
    assert gpu_expected("auto", machine, gpus)


def test_a_missing_nvml_outside_of_a_container_is_the_drivers(build: Built) -> None:
    machine = build(driver="570.133.20", nodes=["nvidia0"])
    gpus = GpuList(problem="NVML says: NVML Shared Library Not Found.")
    assert "Install an NVIDIA driver" in only(driver("auto", machine, gpus)).fix


NONE = GpuList(problem="NVML says: NVML Shared Library Not Found.")


def test_a_machine_without_a_card_is_in_order(build: Built) -> None:
    found = only(driver("auto", build(), NONE))
    assert (found.severity, found.fix) == ("hint", "")
    assert not gpu_expected("auto", build(), NONE)


def test_a_gpu_that_was_asked_for_is_missed(build: Built) -> None:
    found = only(driver("cuda", build(), NONE))
    assert found.severity == "error"
    assert "WHISPER_DEVICE=auto" in found.fix
    assert gpu_expected("cuda", build(), NONE)


def test_a_card_without_a_driver_is_seen_on_the_bus(build: Built) -> None:
    found = only(driver("auto", build(cards=2), NONE))
    assert found.severity == "warning"
    assert "2 NVIDIA cards" in found.text
    assert "nvidia-driver-570" in found.fix
    inside = only(driver("auto", build(cards=1, container=True), NONE))
    assert "--gpus all" in inside.fix
    assert "nvidia-ctk" in inside.fix


def test_a_driver_that_shows_no_card_says_so(build: Built) -> None:
    found = only(driver("cuda", build(), GpuList(driver="580.65.06", cuda=(13, 0))))
    assert found.severity == "error"
    assert "shows no GPU" in found.text
