"""cuBLAS, CTranslate2 and the other libraries: which, where found, and whether they fit."""

from __future__ import annotations

import json
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from core.errors import WorkerCrashed
from core.known_errors import LIBRARIES, recognise
from core.settings import PROJECT
from doctor.diagnosis import Finding, error, hint, ok
from doctor.machine import Machine
from gpu.cublas import CUBLAS, packaged_cublas
from gpu.nvml import GpuList
from gpu.support import compute_types

AREA = "Libraries"

PROBE = Path(__file__).with_name("probe.py")
PROBE_LIMIT_S = 120.0
"""CUDA of eight cards starts in seconds; a driver that hangs never does."""

SHOWN = ("ctranslate2", "faster-whisper", "av", "onnxruntime", "silero-vad", "gradio", "yt-dlp")
"""Packages whose version every report names."""

REINSTALL = "`python -m pip install -r requirements.txt -c constraints.txt`"

Facts = Mapping[str, Any]


def probe(visible: str | None) -> Facts:
    """Facts of ``doctor.probe``. Raises WorkerCrashed where a library ends or holds its process."""
    command = [sys.executable, "-P", str(PROBE), *([] if visible is None else [visible])]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_LIMIT_S)
    except subprocess.TimeoutExpired as late:
        raise WorkerCrashed(
            f"The native libraries gave no answer within {PROBE_LIMIT_S:g} s.",
            hint="See whether `nvidia-smi` answers; if not, reboot.",
        ) from late
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise WorkerCrashed(
            f"The native libraries crash their process (exit code {done.returncode}): {last}",
            hint="Install them again: `make clean setup`.",
        )
    facts: Facts = json.loads(done.stdout)
    return facts


def cublas(facts: Facts, expected: bool, machine: Machine) -> Finding:
    """cuBLAS 12, which CTranslate2 opens by name at its first inference on a GPU."""
    found, light = facts["libraries"][CUBLAS], facts["libraries"]["libcublasLt.so.12"]
    if "path" in found and "path" in light:
        path = str(found["path"])
        by = _found_by(Path(path), machine.variables.get("LD_LIBRARY_PATH", ""))
        return ok(f"cuBLAS 12 was found by {by}: {path}.")
    newer = cuda_13(facts, machine)
    only = f"; there is CUDA 13 ({newer}), which cannot replace it" if newer else ""
    if not expected:
        text = f"cuBLAS 12 was not found{only}. Only GPUs need it."
        return hint(text, f"For a GPU: {LIBRARIES[0].lower()}{LIBRARIES[1:]}")
    package = packaged_cublas()
    if package is not None:
        said = found.get("error") or light.get("error")
        return error(
            f"cuBLAS 12 is installed ({package}) and cannot be loaded: {said}{only}.",
            "Install it again: `python -m pip install --force-reinstall -r requirements-gpu.txt`.",
        )
    return error(f"cuBLAS 12 was not found{only}.", LIBRARIES)


def cuda_13(facts: Facts, machine: Machine) -> str:
    """Where CUDA 13 is; empty where it is not."""
    for name in ("libcublas.so.13", "libcudart.so.13"):
        if "path" in facts["libraries"][name]:
            return str(facts["libraries"][name]["path"])
    folders = [str(path) for path in machine.cuda_folders if path.name.startswith("cuda-13")]
    return folders[0] if folders else ""


def _found_by(path: Path, listed: str) -> str:
    package = packaged_cublas()
    if package is not None and path.resolve() == package.resolve():
        return "the app in its package"
    folders = (Path(folder).resolve() for folder in listed.split(":") if folder)
    return "LD_LIBRARY_PATH" if path.resolve().parent in folders else "the system's loader"


def engine(
    facts: Facts, gpus: GpuList, expected: bool, processor: str = platform.machine()
) -> Iterator[Finding]:
    """What CTranslate2 itself says of this machine."""
    own = facts["ctranslate2"]
    if "error" in own:
        yield error(f"CTranslate2 cannot be used: {own['error']}", REINSTALL)
        return
    yield ok(f"CTranslate2 on the CPU supports {', '.join(own['cpu'])}.")
    if not expected:
        return
    if not own["cuda"] and processor == "aarch64":
        text = "CTranslate2's package for this processor (aarch64) has no GPU support."
        yield error(text, "Build CTranslate2 with `-DWITH_CUDA=ON`, or `WHISPER_DEVICE=cpu`.")
        return
    if own.get("cuda_error") or not own["cuda"]:
        said = own.get("cuda_error") or "no CUDA-capable device is detected"
        known = recognise(said)
        fix = known.fix if known else "See the findings about the NVIDIA driver."
        yield error(f"CTranslate2 cannot use a GPU: {said}.", fix)
        return
    for index, types in enumerate(own["cuda"]):
        yield ok(f"CTranslate2 on its GPU {index} supports {', '.join(types)}.")
    if len(own["cuda"]) == len(gpus.devices) == 1:
        missing = {*compute_types(gpus.devices[0].capability)} - {*own["cuda"][0]}
        if missing:
            yield hint(f"The GPU supports {', '.join(sorted(missing))}, but CTranslate2 does not.")


def decoder(facts: Facts, which: Callable[[str], str | None] = shutil.which) -> Iterator[Finding]:
    """The app decodes with the FFmpeg libraries inside PyAV; the program is for the tests alone."""
    av = facts["av"]
    if "error" in av:
        yield error(f"PyAV cannot be used: {av['error']}", REINSTALL)
        return
    names = ("libavformat", "libavcodec", "libswresample")
    libraries = ", ".join(f"{name} {av['libraries'][name]}" for name in names)
    yield ok(f"PyAV includes FFmpeg {av['ffmpeg']} ({libraries}); no other FFmpeg is needed.")
    if program := which("ffmpeg"):
        yield ok(f"The program ffmpeg, which only tests use: {program}.")
    else:
        text = "The program ffmpeg is not installed. Only the tests use it."
        yield hint(text, "For the tests: `sudo apt-get install ffmpeg`.")


def versions(
    folder: Path = PROJECT, installed: Callable[[str], str] = metadata.version
) -> Iterator[Finding]:
    """Installed packages against those the app was tested with."""

    def here(name: str) -> str:
        try:
            return installed(name)
        except metadata.PackageNotFoundError:
            return ""

    shown = ", ".join(f"{name} {here(name) or 'missing'}" for name in SHOWN)
    yield ok(f"{shown}.")
    pinned = pins(folder / "requirements.txt")
    missing = [name for name in pinned if not here(name)]
    other = [
        f"{name} {here(name)} (tested with {version})"
        for name, version in pinned.items()
        if here(name).partition("+")[0] not in ("", version)
    ]
    if missing:
        yield error(f"Not installed: {', '.join(missing)}.", REINSTALL)
    if other:
        yield hint(f"Other versions: {', '.join(other)}.", REINSTALL)


def pins(path: Path) -> dict[str, str]:
    """Package and version of every pinned line; nothing where the file is not beside the app."""
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    found = (re.match(r"([\w.-]+)(?:\[[\w,-]+\])?==([\w.]+)", line) for line in lines)
    return {match[1]: match[2] for match in found if match}
