"""Every failure of the table is recognised by what is really said, and answered with its fix."""

from __future__ import annotations

import pickle

import pytest

from cli.failures import exit_code
from core.errors import (
    ComputeTypeUnsupported,
    DeviceUnavailable,
    ModelError,
    OutOfMemory,
    SubtitleError,
)
from core.known_errors import KNOWN, KnownError, recognise

SAID: list[tuple[str, type[SubtitleError], str]] = [
    ("CUDA failed with error out of memory", OutOfMemory, "smaller model"),
    ("parallel_for failed: cudaErrorInvalidDevice: invalid device ordinal", OutOfMemory,
     "smaller model"),
    ("cuBLAS failed with status CUBLAS_STATUS_ALLOC_FAILED", OutOfMemory, "batch size"),
    ("mkl_malloc: failed to allocate memory", OutOfMemory, "smaller model"),
    ("CUDA out of memory. Tried to allocate 1.34 GiB. GPU 0 has a total capacity of 23.57 GiB",
     OutOfMemory, "--max-num-seqs"),
    ("RuntimeError: CUDA error: out of memory", OutOfMemory, "smaller model"),
    ("ggml_backend_cuda_buffer_type_alloc_buffer: allocating 2960.00 MiB on device 0: cudaMalloc"
     " failed: out of memory", OutOfMemory, "smaller model"),
    ("vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue. See stack trace"
     " (above) for the root cause.", DeviceUnavailable, "docker restart"),
    ("torch.cuda.OutOfMemoryError", OutOfMemory, "smaller model"),
    ("torch.OutOfMemoryError", OutOfMemory, "smaller model"),
    ("Model actor is out of memory, model id: whisper-0", OutOfMemory, "smaller model"),
    ("ValueError: No available memory for the cache blocks. Try increasing"
     " `gpu_memory_utilization` when initializing the engine.", OutOfMemory, "smaller model"),
    ("ValueError: Free memory on device (11.2/23.57 GiB) on startup is less than desired GPU"
     " memory utilization (0.9, 21.21 GiB).", OutOfMemory, "nvidia-smi"),
    ("Library libcublas.so.12 is not found or cannot be loaded", DeviceUnavailable,
     "requirements-gpu.txt"),
    ("Library libcublasLt.so.12 is not found or cannot be loaded", DeviceUnavailable,
     "requirements-gpu.txt"),
    ("libcudart.so.12: cannot open shared object file: No such file or directory",
     DeviceUnavailable, "nvidia-cuda-runtime-cu12"),
    ("Library libcudnn_ops.so.9 is not found or cannot be loaded", DeviceUnavailable,
     "nvidia-cudnn-cu12"),
    ("CUDA failed with error CUDA driver version is insufficient for CUDA runtime version",
     DeviceUnavailable, "driver of version 570"),
    ("CUDA failed with error the provided PTX was compiled with an unsupported toolchain.",
     DeviceUnavailable, "driver of version 570"),
    ("CUDA failed with error no CUDA-capable device is detected", DeviceUnavailable,
     "--gpus all"),
    ("CUDA failed with error invalid device ordinal", DeviceUnavailable, "nvidia-smi -L"),
    ("Failed to initialize NVML: Unknown Error", DeviceUnavailable, "docker restart"),
    ("NVML says: Unknown Error", DeviceUnavailable, "docker restart"),
    ("Failed to initialize NVML: Driver/library version mismatch", DeviceUnavailable, "reboot"),
    ("RM has detected an NVML/RM version mismatch.", DeviceUnavailable, "reboot"),
    ("NVML: Driver Not Loaded", DeviceUnavailable, "modprobe nvidia"),
    ("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.",
     DeviceUnavailable, "modprobe nvidia"),
    ("NVML Shared Library Not Found", DeviceUnavailable, "compute,utility"),
    ("CUDA failed with error system not yet initialized", DeviceUnavailable,
     "nvidia-fabricmanager"),
    ("CUDA failed with error forward compatibility was attempted on non supported HW",
     DeviceUnavailable, "compat"),
    ("cuBLAS failed with status CUBLAS_STATUS_NOT_SUPPORTED", ComputeTypeUnsupported,
     "WHISPER_COMPUTE_TYPE=float16"),
    ("CUDA failed with error no kernel image is available for execution on the device",
     DeviceUnavailable, "WHISPER_DEVICE=cpu"),
    ("GPU is lost", DeviceUnavailable, "--gpu-reset"),
    ("NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus.", DeviceUnavailable,
     "--gpu-reset"),
    ("CUDA failed with error uncorrectable ECC error encountered", DeviceUnavailable,
     "ROW_REMAPPER"),
    ("CUDA failed with error CUDA-capable device(s) is/are busy or unavailable",
     DeviceUnavailable, "nvidia-smi -c DEFAULT"),
    ("CUDA failed with error unspecified launch failure", DeviceUnavailable, "xid"),
    ("CUDA failed with error an illegal memory access was encountered", DeviceUnavailable, "xid"),
    ("CUDA failed with error unknown error", DeviceUnavailable, "nvidia_uvm"),
    ('could not select device driver "" with capabilities: [[gpu]]', DeviceUnavailable,
     "nvidia-ctk runtime configure"),
    ('could not select device driver "nvidia" with capabilities: [[gpu]].', DeviceUnavailable,
     "nvidia-ctk runtime configure"),
    ("nvidia-container-cli: initialization error: nvml error: driver not loaded: unknown",
     DeviceUnavailable, "driver of version 570"),
    ("nvidia-container-cli: device error: 7: unknown device", DeviceUnavailable,
     "nvidia-container-cli -k"),
    ("Requested float16 compute type, but the target device or backend do not support efficient"
     " float16 computation.", ComputeTypeUnsupported, "WHISPER_COMPUTE_TYPE=auto"),
    ("Requested bfloat16 compute type, but the target device or backend do not support efficient"
     " bfloat16 computation.", ComputeTypeUnsupported, "compute capability 8.0"),
    ("Requested int8 compute type, but the target device or backend do not support efficient"
     " int8 computation.", ComputeTypeUnsupported, "capability 6.1"),
    ("Invalid compute type: float17", ComputeTypeUnsupported, "WHISPER_COMPUTE_TYPE=auto"),
    ("Unable to open file 'model.bin' in model '/models/x'", ModelError, "make setup"),
    ("Unsupported model binary version. This executable supports models with binary version v6 or"
     " below, but the model has binary version v7.", ModelError, "ct2-transformers-converter"),
]  # fmt: skip


@pytest.mark.parametrize(("said", "kind", "fix"), SAID)
def test_what_is_said_is_recognised_with_its_fix(
    said: str, kind: type[SubtitleError], fix: str
) -> None:
    known = recognise(f"2026-11-20 ERROR worker: {said}\n  more lines")
    assert known is not None
    assert known.kind is kind
    assert fix in known.fix


def test_every_failure_of_the_table_is_tried_above() -> None:
    tried = {known.name for said, _, _ in SAID if (known := recognise(said))}
    assert tried == {known.name for known in KNOWN}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "list index out of range",
        "HTTP 500: Unknown Error",
        "Choose a smaller model, batch size or an int8 compute type.",
    ],
)
def test_other_texts_are_not_taken_for_known_failures(text: str) -> None:
    assert recognise(text) is None


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.name)
def test_the_error_carries_meaning_text_and_fix_to_other_processes(known: KnownError) -> None:
    error = pickle.loads(pickle.dumps(known.error("The text.")))
    assert type(error) is known.kind
    assert error.message == f"{known.meaning.rstrip('.')}: The text."
    assert error.hint == known.fix
    assert known.meaning.endswith(".")
    assert exit_code(error) in (1, 2)


def test_the_figures_of_a_shortage_stand_in_the_hint() -> None:
    said = (
        "CUDA out of memory. Tried to allocate 1.34 GiB. GPU 0 has a total capacity of 23.57 GiB of"
        " which 11.44 MiB is free. Process 2886328 has 21.22 GiB memory in use."
    )
    known = recognise(said)
    assert known is not None
    error = known.error(said)
    assert error.message == f"A model that runs on PyTorch is out of memory: {said}"
    assert error.hint == (
        "It asked for 1.3 GiB, and GPU 0 had 11.4 MiB of 23.6 GiB free;"
        f" process 2886328 holds 21.2 GiB. {known.fix}"
    )
