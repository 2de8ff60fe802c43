"""NVIDIA's driver: loaded, new enough, and reachable through its management library (NVML)."""

from __future__ import annotations

from core.known_errors import DRIVER, TOOLKIT, recognise
from core.settings import Device
from doctor.diagnosis import Finding, Severity, error, hint, ok
from doctor.machine import Machine
from gpu.nvml import GpuList

AREA = "NVIDIA driver"

OLDEST_CUDA = (12, 0)
"""The runtime inside the wheel is CUDA 12's; every driver of that family can run it."""

GIVE_GPU = (
    "If the host has GPUs, start the container with them:"
    " `WHISPER_GPUS=nvidia docker compose up -d`, or `docker run --gpus all …`."
)


def gpu_expected(device: Device, machine: Machine, gpus: GpuList) -> bool:
    """Whether a GPU that does not work is an error here: asked for, or visibly there."""
    return device == "cuda" or (device == "auto" and bool(gpus.devices or machine.nodes))


def driver(device: Device, machine: Machine, gpus: GpuList) -> Finding:
    if not gpus.problem:
        return _answering(gpus) if gpus.devices else _no_cards(device, gpus)
    if machine.driver is None and not machine.nodes:
        return _absent(device, machine)
    known = recognise(gpus.problem)
    loaded = f"Driver {machine.driver} is loaded" if machine.driver else "There are device files"
    fix = known.fix if known else "Compare with `nvidia-smi`; if that fails too, reboot."
    if known is not None and known.name == "NVML missing":
        fix = "Start the container with `-e NVIDIA_DRIVER_CAPABILITIES=compute,utility`."
        if not machine.container:
            fix = DRIVER
    elif "nvidia-ml-py" in gpus.problem:
        fix = "`python -m pip install -r requirements.txt`"
    severity: Severity = "warning" if device == "cpu" else "error"
    return Finding(severity, f"{loaded}, but NVML cannot be used. {gpus.problem}", fix)


def _answering(gpus: GpuList) -> Finding:
    runs = f", runs CUDA up to {gpus.cuda[0]}.{gpus.cuda[1]}" if gpus.cuda else ""
    text = f"Driver {gpus.driver or 'of unknown version'}{runs}."
    if gpus.cuda is not None and gpus.cuda < OLDEST_CUDA:
        return error(f"{text} CTranslate2 needs CUDA 12.", DRIVER)
    return ok(text)


def _no_cards(device: Device, gpus: GpuList) -> Finding:
    text = f"Driver {gpus.driver} is loaded but shows no GPU."
    fix = "See `sudo dmesg | grep -i nvrm` and `lspci | grep -i nvidia` on the host."
    return Finding("error" if device == "cuda" else "hint", text, fix)


def _absent(device: Device, machine: Machine) -> Finding:
    cards = machine.cards_on_bus
    if cards:
        have = "an NVIDIA card" if cards == 1 else f"{cards} NVIDIA cards"
        text = f"This machine has {have} but no driver that this program can use."
        fix = f"{GIVE_GPU} If that fails: {TOOLKIT}" if machine.container else DRIVER
        severities: dict[Device, Severity] = {"cuda": "error", "auto": "warning", "cpu": "hint"}
        return Finding(severities[device], text, fix)
    if device == "cuda":
        text = "WHISPER_DEVICE is cuda, but there is neither an NVIDIA driver nor an NVIDIA GPU."
        fix = "Set `WHISPER_DEVICE=auto`."
        return error(text, f"{fix} {GIVE_GPU}" if machine.container else fix)
    return hint("No NVIDIA driver and no NVIDIA card: transcription runs on the CPU.")
