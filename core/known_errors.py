"""Failures people meet on GPUs and with models: how each is recognised, what it means, its fix.

One table for the whole app: a worker's failure, a job's error, the reason a service is not ready
and ``doctor`` all say the same. The strings are those of CTranslate2 4.8 and the CUDA 12 runtime
inside its wheel, of NVIDIA's management library (NVML), its driver and its container toolkit, and
those with which servers that run speech models on PyTorch say that memory has run out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from core.errors import (
    ComputeTypeUnsupported,
    DeviceUnavailable,
    ModelError,
    OutOfMemory,
    SubtitleError,
)
from core.shortage import shortage_of

LIBRARIES = (
    "Install it with `python -m pip install -r requirements-gpu.txt`; the app finds it there."
)
DRIVER = (
    "Install an NVIDIA driver of version 570 or newer (Ubuntu: `sudo apt-get install"
    " nvidia-driver-570`), reboot, and see that `nvidia-smi` lists the card."
)
TOOLKIT = (
    "Install NVIDIA's container toolkit on the host: `sudo apt-get install -y"
    " nvidia-container-toolkit && sudo nvidia-ctk runtime configure --runtime=docker && sudo"
    " systemctl restart docker`, then `docker compose up -d`."
)
COMPUTE_TYPE = (
    "Set `WHISPER_COMPUTE_TYPE=auto`. By hand: int8 on CPUs and on cards of compute capability 6.1"
    " or 7.0 and newer, float32 anywhere."
)
RESTART = (
    "See `sudo dmesg | grep -i -E 'xid|nvrm'` on the host, then `sudo nvidia-smi --gpu-reset -i N`"
    " or reboot. If it comes back, the card, its power or its cooling is at fault."
)


@dataclass(frozen=True, slots=True)
class KnownError:
    """A failure with a name."""

    name: str
    said: tuple[str, ...]
    """Texts by which it is recognised; ``…`` stands for anything on the same line."""
    meaning: str
    """One sentence."""
    fix: str
    kind: type[SubtitleError] = DeviceUnavailable

    def error(self, text: str) -> SubtitleError:
        """As the app raises it: the meaning and what was said; as the hint the fix, and before it
        the figures of a shortage of memory in plain words."""
        shortage = shortage_of(text)
        hint = f"{shortage.told()} {self.fix}" if shortage else self.fix
        return self.kind(f"{self.meaning.rstrip('.')}: {text.rstrip('.')}.", hint=hint)


OUT_OF_MEMORY = KnownError(
    "out of memory",
    (
        "CUDA failed with error out of memory",
        "cudaErrorMemoryAllocation",
        "CUBLAS_STATUS_ALLOC_FAILED",
        "mkl_malloc: failed to allocate memory",
        "failed to allocated memory",
    ),
    "Out of memory.",
    "Choose a smaller model or batch size (`WHISPER_BATCH_SIZE=1`) or an int8 compute type"
    " (`WHISPER_COMPUTE_TYPE=int8_float16`), or close programs that hold memory (`nvidia-smi`,"
    " `python -m cli.main gpu`).",
    OutOfMemory,
)
OUT_OF_MEMORY_DISGUISED = KnownError(
    "out of memory in disguise",
    # Without the prefix it is a wrong device index (TranscriptionSuite#268).
    ("parallel_for failed: cudaErrorInvalidDevice: invalid device ordinal",),
    "The GPU does not have enough free memory; CUDA reports this as a wrong device.",
    OUT_OF_MEMORY.fix,
    OutOfMemory,
)
OUT_OF_MEMORY_PYTORCH = KnownError(
    "out of memory in PyTorch",
    (
        "CUDA out of memory",
        "CUDA error: out of memory",
        "torch.cuda.OutOfMemoryError",
        "torch.OutOfMemoryError",
        "Model actor is out of memory",
        "No available memory for the cache blocks",
        "Free memory on device…is less than desired GPU memory utilization",
    ),
    "A model that runs on PyTorch is out of memory.",
    "There, choose a smaller model or fewer requests at a time (vLLM: a smaller"
    " --max-num-seqs), or close other programs that hold the GPU's memory (`nvidia-smi`).",
    OutOfMemory,
)

OUT_OF_MEMORY_GGML = KnownError(
    "out of memory in whisper.cpp",
    ("cudaMalloc failed: out of memory",),
    "A model that runs on whisper.cpp is out of memory.",
    OUT_OF_MEMORY_PYTORCH.fix,
    OutOfMemory,
)
ENGINE_DEAD = KnownError(
    "vLLM's engine dead",
    ("EngineDeadError", "EngineCore encountered an issue"),
    "vLLM's engine has died, and its server answers nothing more until it is restarted.",
    "Restart it: `docker restart NAME` or `sudo systemctl restart NAME`; its log says why it died"
    " (`docker logs --tail 100 NAME`). Where memory ran out: a smaller --max-num-seqs.",
)

_LIBRARIES = tuple(
    KnownError(
        f"{name} missing",
        (f"Library {file} is not found or cannot be loaded", f"{file}: cannot open shared object"),
        f"The CUDA library {name} was not found.",
        fix,
    )
    for name, file, fix in (
        ("cuBLAS 12", "libcublas.so.12", LIBRARIES),
        ("cuBLASLt 12", "libcublasLt.so.12", LIBRARIES),
        ("CUDA runtime 12", "libcudart.so.12", "Install it with `python -m pip install"
         " nvidia-cuda-runtime-cu12` and put it on LD_LIBRARY_PATH; the pinned CTranslate2 does"
         " not need it: `python -m pip install -r requirements.txt`."),
        ("cuDNN", "libcudnn…", "The pinned CTranslate2 does not need it:"
         " `python -m pip install -r requirements.txt`. Other versions: `python -m pip install"
         " nvidia-cudnn-cu12` and put it on LD_LIBRARY_PATH."),
    )
)  # fmt: skip

KNOWN: tuple[KnownError, ...] = (
    OUT_OF_MEMORY,
    OUT_OF_MEMORY_DISGUISED,
    OUT_OF_MEMORY_PYTORCH,
    OUT_OF_MEMORY_GGML,
    ENGINE_DEAD,
    *_LIBRARIES,
    # The container toolkit.
    KnownError(
        "no container toolkit",
        ('could not select device driver "…with capabilities: [[gpu]]',),
        "Docker cannot give containers a GPU: NVIDIA's toolkit is missing.",
        TOOLKIT,
    ),
    KnownError(
        "container toolkit without driver",
        (
            "nvidia-container-cli: initialization error: nvml error: driver not loaded",
            "nvidia-container-cli: initialization error: load library failed: libnvidia-ml.so.1",
        ),
        "The host has no working NVIDIA driver to give to the container.",
        DRIVER,
    ),
    KnownError(
        "container toolkit",
        ("nvidia-container-cli:", "nvidia-container-runtime", "unresolvable CDI devices"),
        "NVIDIA's container toolkit could not give the container a GPU.",
        "See `nvidia-smi` and `sudo nvidia-container-cli -k -d /dev/tty info` on the host. "
        + TOOLKIT,
    ),
    # The driver.
    KnownError(
        "driver too old",
        ("CUDA driver version is insufficient for CUDA runtime version",),
        "There is no NVIDIA driver, or it is too old for CUDA 12.",
        DRIVER + " In a container the driver is the host's: start it with `--gpus all`.",
    ),
    KnownError(
        "driver too old to compile",
        ("the provided PTX was compiled with an unsupported toolchain",),
        "The NVIDIA driver is too old to compile CTranslate2's code for this card.",
        DRIVER,
    ),
    KnownError(
        "no CUDA device",
        ("no CUDA-capable device is detected", "not compiled with CUDA support"),
        "CUDA shows no GPU to this program.",
        "Check `nvidia-smi` and CUDA_VISIBLE_DEVICES (`unset CUDA_VISIBLE_DEVICES`); start a"
        " container with `--gpus all`. Without a GPU: `WHISPER_DEVICE=cpu`.",
    ),
    KnownError(
        "wrong device index",
        ("invalid device ordinal",),
        "The GPU that was asked for does not exist.",
        "Name GPUs that `nvidia-smi -L` lists in CUDA_VISIBLE_DEVICES or --gpus, or"
        " `unset CUDA_VISIBLE_DEVICES`.",
    ),
    KnownError(
        "NVML gone",
        ("NVML…Unknown Error",),
        "The container has lost its GPUs, which happens after `systemctl daemon-reload` on the "
        "host.",
        "Restart the container: `docker restart whisper-for-subs`. To keep it from coming back,"
        ' put `"exec-opts": ["native.cgroupdriver=cgroupfs"]` into /etc/docker/daemon.json and'
        " `sudo systemctl restart docker`, or name the cards as devices (`--device /dev/nvidiactl"
        " --device /dev/nvidia-uvm --device /dev/nvidia0`).",
    ),
    KnownError(
        "driver and library differ",
        ("Driver/library version mismatch", "NVML/RM version mismatch"),
        "The NVIDIA driver was updated and the old one is still loaded.",
        "Reboot (`sudo reboot`); restart containers after it.",
    ),
    KnownError(
        "driver not loaded",
        ("Driver Not Loaded", "couldn't communicate with the NVIDIA driver"),
        "The NVIDIA driver is installed but not loaded.",
        "`sudo modprobe nvidia`; if that fails, reinstall the driver for the running kernel"
        " (Ubuntu: `sudo apt-get install --reinstall nvidia-driver-570`) and reboot.",
    ),
    KnownError(
        "NVML missing",
        ("NVML Shared Library Not Found", "libnvidia-ml.so.1: cannot open shared object"),
        "NVIDIA's management library is missing: there is no driver, or the container lacks "
        "`utility`.",
        DRIVER + " In a container: `--gpus all -e NVIDIA_DRIVER_CAPABILITIES=compute,utility`.",
    ),
    KnownError(
        "fabric manager",
        ("system not yet initialized",),
        "The GPUs are waiting for the NVSwitch fabric manager.",
        "`sudo systemctl enable --now nvidia-fabricmanager`; its version must match the driver's.",
    ),
    KnownError(
        "forward compatibility",
        ("forward compatibility was attempted on non supported HW",),
        "CUDA's compatibility libraries do not match this driver.",
        "Remove /usr/local/cuda/compat from LD_LIBRARY_PATH, or install driver 570 or newer.",
    ),
    # The card.
    KnownError(
        "int8 rejected",
        ("CUBLAS_STATUS_NOT_SUPPORTED",),
        "The GPU rejects this compute type; some new GPUs do so with int8.",
        "Set `WHISPER_COMPUTE_TYPE=float16` (--compute-type float16).",
        ComputeTypeUnsupported,
    ),
    KnownError(
        "no code for the card",
        ("no kernel image is available for execution on the device",),
        "CTranslate2 has no code for this card: it needs compute capability 5.3 or newer.",
        "Use another card (CUDA_VISIBLE_DEVICES), or the CPU: `WHISPER_DEVICE=cpu`.",
    ),
    KnownError(
        "GPU lost",
        ("GPU is lost", "fallen off the bus", "GPU requires restart", "reset required"),
        "The GPU has stopped responding.",
        RESTART,
    ),
    KnownError(
        "ECC error",
        ("uncorrectable ECC error",),
        "The GPU's memory is faulty (uncorrectable ECC error).",
        "See `nvidia-smi -q -d ECC,ROW_REMAPPER`, then `sudo nvidia-smi --gpu-reset -i N` or"
        " reboot. If it comes back, the card has to be replaced.",
    ),
    KnownError(
        "GPU busy",
        ("CUDA-capable device(s) is/are busy or unavailable",),
        "Another program has exclusive use of the GPU, or the GPU is in MIG mode without "
        "instances.",
        "`sudo nvidia-smi -c DEFAULT`; with MIG: `sudo nvidia-smi mig -cgi 0 -C`.",
    ),
    KnownError(
        "launch failure",
        ("unspecified launch failure", "an illegal memory access was encountered"),
        "The GPU stopped in the middle of its work.",
        RESTART,
    ),
    KnownError(
        "CUDA unknown error",
        ("CUDA failed with error unknown error",),
        "The driver's memory module is in a bad state, which happens after sleep.",
        "Stop all programs on the GPU, then `sudo modprobe -r nvidia_uvm && sudo modprobe"
        " nvidia_uvm`, or reboot.",
    ),
    # Compute types and model files.
    KnownError(
        "compute type bfloat16",
        ("Requested bfloat16 compute type", "Requested int8_bfloat16 compute type"),
        "The device does not support bfloat16.",
        "Set `WHISPER_COMPUTE_TYPE=float16` on a GPU, or auto: bfloat16 needs compute capability"
        " 8.0.",
        ComputeTypeUnsupported,
    ),
    KnownError(
        "compute type int8",
        ("Requested int8 compute type", "Requested int8_float32 compute type"),
        "The device does not support int8.",
        "Set `WHISPER_COMPUTE_TYPE=auto`, or float32: int8 needs compute capability 6.1, or 7.0"
        " and newer.",
        ComputeTypeUnsupported,
    ),
    KnownError(
        "compute type",
        ("Requested … compute type", "Invalid compute type"),
        "The device does not support this compute type.",
        COMPUTE_TYPE,
        ComputeTypeUnsupported,
    ),
    KnownError(
        "model.bin missing",
        ("Unable to open file '… in model '",),
        "The model's files are damaged or not in CTranslate2 format.",
        "Delete the model's folder so that it is downloaded again; `make setup` restores the "
        "installed models.",
        ModelError,
    ),
    KnownError(
        "model version",
        ("Unsupported model binary version", "Unsupported model revision"),
        "The model's files are damaged, or made by a newer CTranslate2.",
        "Convert the model again with the installed version: `ct2-transformers-converter --model ID"
        " --output_dir models/NAME --copy_files tokenizer.json preprocessor_config.json`.",
        ModelError,
    ),
)
"""In the order in which they are looked for: what is more exact comes first."""


def recognise(text: str) -> KnownError | None:
    """The known failure that a message, a log line or a traceback tells of."""
    return next((known for known in KNOWN if _pattern(known).search(text)), None)


@cache
def _pattern(known: KnownError) -> re.Pattern[str]:
    texts = (".*".join(map(re.escape, said.split("…"))) for said in known.said)
    return re.compile("|".join(texts))
