"""What CTranslate2 and its libraries say, as errors people understand."""

from __future__ import annotations

import pytest

from core.errors import (
    ComputeTypeUnsupported,
    DeviceUnavailable,
    ModelError,
    OutOfMemory,
    SubtitleError,
)
from decoding.failures import explain_failure, explain_load_failure, smaller_may_fit

SAYINGS: list[tuple[Exception, type[SubtitleError]]] = [
    (RuntimeError("CUDA failed with error out of memory"), OutOfMemory),
    (
        RuntimeError(
            "parallel_for failed: cudaErrorInvalidDevice: invalid device ordinal"
        ),
        OutOfMemory,
    ),
    (RuntimeError("cudaErrorMemoryAllocation: out of memory"), OutOfMemory),
    (MemoryError(), OutOfMemory),
    (RuntimeError("CUDA failed with error invalid device ordinal"), DeviceUnavailable),
    (RuntimeError("CUDA failed with error no CUDA-capable device is detected"), DeviceUnavailable),
    (ValueError("This CTranslate2 package was not compiled with CUDA support"), DeviceUnavailable),
    (
        RuntimeError("Library libcublas.so.12 is not found or cannot be loaded"),
        DeviceUnavailable,
    ),
    (
        ValueError("Requested float16 compute type, but the target device or backend do not"
                   " support efficient float16 computation."),
        ComputeTypeUnsupported,
    ),
    (RuntimeError("Unable to open file 'model.bin' in model '/x'"), ModelError),
]  # fmt: skip


@pytest.mark.parametrize(("said", "kind"), SAYINGS)
def test_known_failures_are_named(said: Exception, kind: type[SubtitleError]) -> None:
    error = explain_failure(said)
    assert type(error) is kind
    assert str(said) in str(error)
    assert error.__cause__ is said
    assert type(explain_load_failure(said)) is kind


def test_unknown_failures_stay_what_they_are() -> None:
    bug = IndexError("list index out of range")
    assert explain_failure(bug) is bug
    own = OutOfMemory("no room")
    assert explain_failure(own) is own


def test_whatever_fails_while_loading_is_the_models_error() -> None:
    bug = IndexError("list index out of range")
    error = explain_load_failure(bug)
    assert type(error) is ModelError
    assert "cannot be loaded" in str(error)
    assert error.__cause__ is bug


def test_after_out_of_memory_in_disguise_nothing_smaller_is_tried() -> None:
    disguised = "parallel_for failed: cudaErrorInvalidDevice: invalid device ordinal"
    assert not smaller_may_fit(RuntimeError(disguised))
    assert smaller_may_fit(RuntimeError("CUDA failed with error out of memory"))
    assert smaller_may_fit(MemoryError())
