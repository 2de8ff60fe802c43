"""One second of inference on each device, in a worker process as the app has them.

Nothing short of it proves a device: cuBLAS is opened, kernels are compiled and a card's quirks
show at the first inference, not when a model is loaded.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout

from core.errors import DeviceUnavailable, SubtitleError
from core.known_errors import recognise
from core.settings import Settings
from core.types import ModelSpec
from doctor.cards import code_for
from doctor.diagnosis import Finding, error, ok
from gpu.nvml import GpuList, find_device
from gpu.support import preferred, runs_on_cpus
from model_store.store import ResolvedModel, model_spec
from workers.devices import Device, find_devices, visible_entries
from workers.engine import DEFAULT_ENGINE
from workers.limits import PoolLimits
from workers.pool import WorkerPool

AREA = "Inference"

LIMIT_S = 120.0
"""A cold disk and a slow core need half a minute for the smallest model."""

COMPILE_LIMIT_S = 900.0
"""As long as a service waits for a card that compiles its code."""

ONCE = PoolLimits(load_kills_to_fail=1, deaths_to_retire=1)
"""A device that ends its process is reported, not tried again."""

CPU = Device("CPU", "cpu")

TextProgress = Callable[[str], None]


def devices(settings: Settings, gpus: GpuList) -> tuple[tuple[Device, ...], list[Finding]]:
    """The GPUs the app would use here and the CPU, and an error for each one that is missing."""
    try:
        return _slots(settings, settings.cuda_visible_devices, gpus), []
    except DeviceUnavailable as missing:
        found = [error(missing.message, missing.hint)]
    # The app would not start; those that are there are tried all the same.
    entries = visible_entries(settings.cuda_visible_devices or "")
    there = [entry for entry in entries if find_device(entry, gpus) is not None]
    return (_slots(settings, ",".join(there), gpus) if there else (CPU,)), found


def _slots(settings: Settings, visible: str | None, gpus: GpuList) -> tuple[Device, ...]:
    devices = find_devices(
        device=settings.device, cuda_visible_devices=visible, workers=1, gpus=lambda: gpus
    )
    return (*(device for device in devices if device.kind == "cuda"), CPU)


def inference(
    devices: Sequence[Device],
    model: ResolvedModel,
    settings: Settings,
    progress: TextProgress,
    *,
    limit_s: float | None = None,
    engine: str = DEFAULT_ENGINE,
) -> list[Finding]:
    """Try all devices at the same time, each in a process of its own.

    ``limit_s``: None: by what the device has to do.
    """
    # What a worker would log comes back as its error.
    pools = [
        WorkerPool((device,), engine=engine, threads=settings.threads, log_level="critical",
                   limits=ONCE)
        for device in devices
    ]  # fmt: skip
    began = time.monotonic()
    try:
        tried = []
        for device, pool in zip(devices, pools, strict=True):
            spec = _spec(device, model, settings)
            tried.append((device, spec, pool.preload(spec)))
        progress(f"One second of inference on {', '.join(device.label for device in devices)}")
        return [
            _outcome(device, spec, future, began, _limit_s(device) if limit_s is None else limit_s)
            for device, spec, future in tried
        ]
    finally:
        for pool in pools:
            pool.close()


def _spec(device: Device, model: ResolvedModel, settings: Settings) -> ModelSpec:
    compute_type = settings.compute_type
    if device.kind == "cpu" and not runs_on_cpus(compute_type):
        compute_type = "auto"
    elif device.kind == "cuda" and compute_type == "auto":
        compute_type = preferred(device.capability)[0]
    return model_spec(model, device.runs_on, compute_type, settings.threads)


def _limit_s(device: Device) -> float:
    compiles = device.capability is not None and code_for(device.capability) == "compiled"
    return COMPILE_LIMIT_S if compiles else LIMIT_S


def _outcome(
    device: Device, spec: ModelSpec, future: Future[float], began: float, limit_s: float
) -> Finding:
    what = f"{device.label}{f' ({device.name})' if device.name else ''}"
    how = f"model {spec.name} in {spec.compute_type}"
    try:
        seconds = future.result(max(0.0, began + limit_s - time.monotonic()))
    except FutureTimeout:
        text = f"{what} gave no answer within {limit_s:g} s with {how}; it hangs."
        fix = "See `nvidia-smi` and `sudo dmesg | tail`; reboot if they hang too."
        if device.kind == "cpu":
            fix = "Check what keeps the machine busy (`top`), and whether its disk answers."
        return error(text, fix)
    except SubtitleError as failed:
        known = recognise(failed.message)
        fix = known.fix if known else failed.hint
        return error(f"{what} fails with {how}: {failed.message}", fix)
    return ok(f"{what} works: {how}, {seconds:.1f} s for start, load and one second of audio.")
