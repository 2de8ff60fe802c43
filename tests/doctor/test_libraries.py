"""cuBLAS, CTranslate2, PyAV and the versions of all."""

from __future__ import annotations

import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from core.errors import WorkerCrashed
from doctor import libraries
from doctor.libraries import cublas, decoder, engine, pins, probe, versions
from gpu.nvml import GpuList, read_gpus
from tests.doctor.conftest import Built, only, severities
from tests.gpu.fake_nvml import Card, FakeNvml

GONE = {"error": "cannot open shared object file"}
PATH = "/usr/lib/libcublas.so.12"


def facts(**changed: Any) -> dict[str, Any]:
    names = ("libcublas.so.12", "libcublasLt.so.12", "libcublas.so.13", "libcudart.so.13")
    found: dict[str, Any] = {
        "libraries": {name: GONE for name in names} | changed.pop("libraries", {}),
        "av": {
            "ffmpeg": "8.1.2",
            "libraries": dict.fromkeys(("libavformat", "libavcodec", "libswresample"), "62.1"),
        },
        "ctranslate2": {"version": "4.8.5", "cpu": ["float32", "int8"], "cuda": []},
    }
    return found | changed


HERE = {"libcublas.so.12": {"path": PATH}, "libcublasLt.so.12": {"path": PATH}}


def test_cublas_is_found_where_the_loader_finds_it(build: Built) -> None:
    found = only(cublas(facts(libraries=HERE), True, build()))
    assert found.severity == "ok"
    assert found.text == f"cuBLAS 12 was found by the system's loader: {PATH}."
    machine = build(variables={"LD_LIBRARY_PATH": "/opt/x::/usr/lib"})
    found = only(cublas(facts(libraries=HERE), True, machine))
    assert found.text == f"cuBLAS 12 was found by LD_LIBRARY_PATH: {PATH}."


def test_a_missing_cublas_is_an_error_only_where_there_is_a_gpu(
    build: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(libraries, "packaged_cublas", lambda: None)
    found = only(cublas(facts(), True, build()))
    assert found.severity == "error"
    assert "pip install -r requirements-gpu.txt" in found.fix
    assert only(cublas(facts(), False, build())).severity == "hint"


def test_a_cublas_of_the_package_is_loaded_by_the_app(
    build: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(libraries, "packaged_cublas", lambda: Path(PATH))
    found = only(cublas(facts(libraries=HERE), True, build()))
    assert found.text == f"cuBLAS 12 was found by the app in its package: {PATH}."


def test_a_cublas_package_that_cannot_be_loaded_is_installed_again(
    build: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(libraries, "packaged_cublas", lambda: Path("/venv/cublas.so"))
    found = only(cublas(facts(), True, build()))
    assert "installed (/venv/cublas.so) and cannot be loaded: cannot open shared" in found.text
    assert "--force-reinstall" in found.fix


def test_cuda_13_alone_is_told_to_be_of_no_use(
    build: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(libraries, "packaged_cublas", lambda: None)
    newer = {"libcublas.so.13": {"path": "/usr/local/cuda/lib64/libcublas.so.13"}}
    found = only(cublas(facts(libraries=newer), True, build()))
    assert "there is CUDA 13 (/usr/local/cuda/lib64/libcublas.so.13)" in found.text
    machine = build(files={"usr/local/cuda-13.0/version.json": "{}"})
    assert "cuda-13.0), which cannot replace it" in only(cublas(facts(), True, machine)).text


def gpus(monkeypatch: pytest.MonkeyPatch, *cards: Card) -> GpuList:
    FakeNvml(list(cards)).install(monkeypatch)
    return read_gpus()


def test_ctranslate2_is_asked_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    assert severities(engine(facts(), GpuList(), False)) == ["ok"]
    own = {"version": "4.8.5", "cpu": ["int8"], "cuda": [["float16", "float32"]]}
    found = list(engine(facts(ctranslate2=own), gpus(monkeypatch, Card()), True))
    assert severities(found) == ["ok", "ok", "hint"]
    assert "supports bfloat16, int8," in found[2].text


@pytest.mark.parametrize(
    ("said", "fix"),
    [
        ("CUDA failed with error CUDA driver version is insufficient for CUDA runtime version",
         "nvidia-driver-570"),
        ("CUDA failed with error invalid device ordinal", "nvidia-smi -L"),
        ("", "unset CUDA_VISIBLE_DEVICES"),
    ],
)  # fmt: skip
def test_a_cuda_that_fails_is_answered_with_its_fix(said: str, fix: str) -> None:
    own = {"version": "4.8.5", "cpu": ["int8"], "cuda": [], "cuda_error": said}
    _, found = engine(facts(ctranslate2=own), GpuList(), True, "x86_64")
    assert found.severity == "error"
    assert fix in found.fix


def test_the_package_for_arm_knows_no_gpus() -> None:
    _, found = engine(facts(), GpuList(), True, "aarch64")
    assert "aarch64" in found.text


def test_broken_packages_are_errors() -> None:
    broken = {"error": "ImportError: undefined symbol"}
    assert only(engine(facts(ctranslate2=broken), GpuList(), False)).severity == "error"
    assert only(decoder(facts(av=broken))).severity == "error"


def test_the_ffmpeg_program_is_not_needed() -> None:
    inside, program = decoder(facts(), lambda name: None)
    assert "PyAV includes FFmpeg 8.1.2 (libavformat 62.1" in inside.text
    assert (inside.severity, program.severity) == ("ok", "hint")
    assert severities(decoder(facts(), lambda name: "/usr/bin/ffmpeg")) == ["ok", "ok"]


def test_versions_are_compared_with_the_tested_ones(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("av==1.0\ntorch==2.0\nnone==3\npsycopg[binary]==4\n")

    def installed(name: str) -> str:
        if name == "none":
            raise metadata.PackageNotFoundError(name)
        return {"av": "1.1", "torch": "2.0+cpu", "psycopg": "4"}.get(name, "9")

    shown, missing, other = versions(tmp_path, installed)
    assert "av 1.1" in shown.text
    assert (missing.severity, missing.text) == ("error", "Not installed: none.")
    assert (other.severity, other.text) == ("hint", "Other versions: av 1.1 (tested with 1.0).")
    assert "pip install -r requirements.txt" in other.fix
    assert pins(tmp_path / "nothing.txt") == {}


def test_a_library_that_ends_or_holds_its_process_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(*_: Any, **__: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], -11, "", "Fatal\nSegmentation fault\n")

    def hang(*_: Any, **__: Any) -> subprocess.CompletedProcess[str]:
        raise subprocess.TimeoutExpired([], 1)

    monkeypatch.setattr(subprocess, "run", end)
    with pytest.raises(WorkerCrashed, match=r"exit code -11.*Segmentation fault"):
        probe(None)
    monkeypatch.setattr(subprocess, "run", hang)
    with pytest.raises(WorkerCrashed, match="no answer") as caught:
        probe("")
    assert "nvidia-smi" in caught.value.hint
