"""The fake cannot drift from the library: both are compared, and both with what the app uses."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest

from tests.gpu.fake_nvml import CLASSES, ERRORS, Card, FakeNvml, NVMLError

USES = "gpu/nvml.py"


@pytest.fixture(scope="module")
def real() -> Any:
    return importlib.import_module("pynvml")


def fakes() -> dict[str, Any]:
    offered = vars(FakeNvml([Card()]).module())
    return {name: value for name, value in offered.items() if not name.startswith("__")}


@pytest.mark.parametrize("name", fakes())
def test_everything_offered_exists_in_the_library(name: str, real: Any) -> None:
    mine, its = fakes()[name], getattr(real, name)
    if isinstance(mine, type):
        assert issubclass(its, real.NVMLError) == issubclass(mine, NVMLError)
    elif callable(mine):
        assert inspect.isfunction(its)
    else:
        assert mine == its


@pytest.mark.parametrize("name", ERRORS)
def test_errors_have_the_library_s_codes_and_texts(name: str, real: Any) -> None:
    code, text = ERRORS[name]
    its = real.NVMLError(code)
    assert (type(its).__name__, its.value, str(its)) == (CLASSES[name].__name__, code, text)
    mine = CLASSES[name](code)
    assert (mine.value, str(mine)) == (code, text)


def test_structures_have_the_fields_the_library_fills(real: Any) -> None:
    def fields(structure: Any) -> set[str]:
        return {name for name, _ in structure._fields_}

    assert fields(real.c_nvmlMemory_v2_t) >= {"total", "reserved", "free", "used"}
    assert fields(real.c_nvmlMemory_t) >= {"total", "free", "used"}
    assert fields(real.c_nvmlUtilization_t) == {"gpu", "memory"}
    assert fields(real.c_nvmlProcessInfo_v3_t) >= {"pid", "usedGpuMemory"}
    assert real.c_nvmlMemory_v2_t.__name__ in inspect.getsource(real.nvmlDeviceGetMemoryInfo)


def test_library_has_the_parameters_the_app_gives(real: Any) -> None:
    for name, values in {
        "nvmlDeviceGetMemoryInfo": ("handle", "version"),
        "nvmlDeviceGetTemperature": ("handle", "sensor"),
        "nvmlDeviceGetMigDeviceHandleByIndex": ("handle", 0),
        "nvmlDeviceGetComputeRunningProcesses": ("handle",),
        "nvmlSystemGetProcessName": (1,),
    }.items():
        inspect.signature(getattr(real, name)).bind(*values)


def test_everything_the_app_uses_is_offered(root: Path) -> None:
    nodes = list(ast.walk(ast.parse((root / USES).read_text(encoding="utf-8"))))
    names = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    # Functions that older versions lack are named as texts.
    names |= {str(node.value) for node in nodes if isinstance(node, ast.Constant)}
    used = {name for name in names if name.isidentifier() and name.lower().startswith("nvml")}
    assert len(used) > 20
    assert used <= set(fakes())
