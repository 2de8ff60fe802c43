"""Which compute types are refused, and what is said."""

from __future__ import annotations

import ctranslate2
import pytest

from core.errors import InvalidOption
from gpu.support import ALL_TYPES, COMPUTE_TYPES, CPU_TYPES, check_compute_type, runs_on_cpus


def test_what_runs_on_cpus_is_what_the_engine_says() -> None:
    # Some processors lack one or another; none has more.
    assert ctranslate2.get_supported_compute_types("cpu") <= set(CPU_TYPES)
    assert {name for name in ALL_TYPES if runs_on_cpus(name)} == {"auto", "default", *CPU_TYPES}


@pytest.mark.parametrize("name", [*COMPUTE_TYPES, *CPU_TYPES, "auto", "default"])
def test_what_needs_a_gpu_is_refused_where_only_cpus_work(name: str) -> None:
    check_compute_type(name)
    if runs_on_cpus(name):
        check_compute_type(name, only_cpus=True)
        return
    with pytest.raises(InvalidOption) as refused:
        check_compute_type(name, only_cpus=True)
    assert refused.value.message == f"{name} needs a GPU, and this would run on the CPU."
    assert refused.value.hint == "Choose auto, int8 or float32."


def test_a_precision_of_other_engines_is_refused_with_the_nearest() -> None:
    with pytest.raises(InvalidOption) as refused:
        check_compute_type("int4")
    assert refused.value.message == "This app cannot run int4; the nearest it has is int8."
    assert refused.value.hint == "Choose int8 instead."


def test_an_unknown_type_is_refused_with_those_there_are() -> None:
    with pytest.raises(InvalidOption, match="Unknown compute type 'int3'") as refused:
        check_compute_type("int3", ("auto", "int8"))
    assert refused.value.hint == "Choose from: auto, int8."
