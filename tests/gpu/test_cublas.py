"""cuBLAS of the package is found by its name, with a stand-in in the package's folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

NAMES = {"cuda_nvrtc": ["libnvrtc.so.12"], "cublas": ["libcublasLt.so.12", "libcublas.so.12"]}

LOADED = """
import ctypes, json, sys
from pathlib import Path
exec(sys.argv[1])
found = {}
for name in ("libnvrtc.so.12", "libcublasLt.so.12", "libcublas.so.12"):
    try:
        ctypes.CDLL(name)
    except OSError:
        continue
    maps = Path("/proc/self/maps").read_text().splitlines()
    found[name] = next("/" + line.partition("/")[2] for line in maps if line.endswith("/" + name))
print(json.dumps(found))
"""


def stand_in(name: str) -> bytes:
    """A real library of a wheel, with that name in place of its own."""
    files = metadata.files("av") or []
    small = sorted(
        (Path(str(file.locate())) for file in files if "libXau" in file.name),
        key=lambda path: path.stat().st_size,
    )
    content = small[0].read_bytes()
    own = small[0].name.encode()
    while own not in content:  # the file's name goes on after that of the library
        own = own.rpartition(b".")[0]
    return content.replace(own, name.encode().ljust(len(own), b"\0"))


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of packages with stand-ins for NVIDIA's."""
    for package, names in NAMES.items():
        folder = tmp_path / "site" / "nvidia" / package / "lib"
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).write_bytes(stand_in(name))
    return tmp_path / "site"


def loaded(root: Path, site: Path, code: str, **environment: str) -> dict[str, str]:
    """Where a new process finds each library by its name, after that code."""
    paths = os.pathsep.join(map(str, (root, site)))
    done = subprocess.run(
        [sys.executable, "-c", LOADED, code],
        env={**os.environ, "PYTHONPATH": paths, "LD_LIBRARY_PATH": "", **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.fixture
def no_cublas_here(root: Path, tmp_path: Path) -> None:
    if loaded(root, tmp_path, ""):
        pytest.skip("the loader of this machine finds a cuBLAS 12 by itself")


LOAD = "from gpu.cublas import load_cublas; load_cublas()"

ENGINE = """
from core.types import ModelSpec
from decoding.model import SpeechModel
spec = ModelSpec("tiny.en", "{path}", "float32", "{device}")
try:
    SpeechModel(spec)
except (RuntimeError, ValueError):
    assert spec.device == "cuda"  # no GPU here
"""


@pytest.mark.usefixtures("no_cublas_here")
def test_the_packages_libraries_are_found_by_name_once_loaded(root: Path, site: Path) -> None:
    found = loaded(root, site, LOAD)
    assert found == {
        name: str(site / "nvidia" / package / "lib" / name)
        for package, names in NAMES.items()
        for name in names
    }


@pytest.mark.usefixtures("no_cublas_here")
@pytest.mark.parametrize(("device", "count"), [("cuda", 3), ("cpu", 0)])
def test_a_model_on_a_gpu_loads_them_and_one_on_a_cpu_does_not(
    root: Path, site: Path, tiny_en: Path, device: str, count: int
) -> None:
    assert len(loaded(root, site, ENGINE.format(path=tiny_en, device=device))) == count


def test_one_that_the_loader_finds_comes_first(root: Path, site: Path, tmp_path: Path) -> None:
    chosen = tmp_path / "chosen"
    chosen.mkdir()
    (chosen / "libcublas.so.12").write_bytes(stand_in("libcublas.so.12"))
    found = loaded(root, site, LOAD, LD_LIBRARY_PATH=str(chosen))
    assert found["libcublas.so.12"] == str(chosen / "libcublas.so.12")


@pytest.mark.usefixtures("no_cublas_here")
def test_one_that_is_damaged_is_named_and_not_fatal(root: Path, site: Path) -> None:
    broken = site / "nvidia" / "cublas" / "lib" / "libcublas.so.12"
    broken.write_bytes(b"no library")
    code = f"import logging; logging.basicConfig(stream=open({str(site / 'log')!r}, 'w')); {LOAD}"
    assert "libcublas.so.12" not in loaded(root, site, code)
    assert f"{broken} cannot be loaded" in (site / "log").read_text()


@pytest.mark.usefixtures("no_cublas_here")
def test_doctor_asks_as_a_worker_does(root: Path, site: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-P", str(root / "doctor" / "probe.py")],
        env={**os.environ, "PYTHONPATH": str(site), "LD_LIBRARY_PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    facts: dict[str, Any] = json.loads(done.stdout)
    expected = str(site / "nvidia" / "cublas" / "lib" / "libcublas.so.12")
    assert facts["libraries"]["libcublas.so.12"] == {"path": expected}
