"""The cards: memory and who holds it, MIG, compute types, and whether CTranslate2 has code for
them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from core.known_errors import DRIVER, recognise
from core.settings import Settings
from doctor.diagnosis import Finding
from doctor.files import why_not_writable
from doctor.machine import Machine
from gpu.nvml import GpuDevice, GpuList, GpuProcess, MigDevice, find_device
from gpu.support import compute_types, supports, why_not
from workers.devices import visible_entries

AREA = "GPUs"

SASS = ((5, 3), (6, 0), (6, 1), (7, 0), (7, 5), (8, 0), (8, 6))
"""Cards the CTranslate2 wheel has machine code for; newer ones of the same generation run it."""

PTX = (8, 6)
"""What newer generations compile for themselves, at first use."""

PTX_CUDA = (12, 8)
"""The wheel's toolkit. Machine code runs with every CUDA 12 driver, PTX needs one as new."""

MEMORY_WANTED_MIB = 2560
"""large-v3-turbo in float16 at batch 1, the default on GPUs."""

VOLATILE = ("overlay", "tmpfs", "aufs")
"""File systems that end with their container."""

Code = Literal["native", "compiled", "none"]


def cards(gpus: GpuList) -> list[Finding]:
    """Each card with its memory and those who hold it. Nothing is ever ended by us."""
    found: list[Finding] = []
    for card in gpus.devices:
        if card.problem:
            found.append(_broken(card))
            continue
        held = holders(card.processes)
        memory = f"{card.free_mib:,} of {card.total_mib:,} MiB free"
        text = f"{_title(card)}: {memory if card.total_mib else 'memory unknown'}{held}."
        if not card.mig and card.free_mib < min(MEMORY_WANTED_MIB, card.total_mib // 2):
            fix = (
                "Stop programs you do not need there, or exclude this GPU with"
                " `CUDA_VISIBLE_DEVICES`; smaller: `WHISPER_COMPUTE_TYPE=int8_float16`."
            )
            found.append(Finding("warning", AREA, text, fix))
        else:
            found.append(Finding("ok", AREA, text))
        found += [_slice(card, mig) for mig in card.mig]
    return found


def holders(processes: Sequence[GpuProcess]) -> str:
    """``; held by python (pid 4711, 3,000 MiB), …`` for the processes with memory of a card."""
    if not processes:
        return ""
    parts = []
    for process in sorted(processes, key=lambda p: -(p.used_mib or 0)):
        memory = f", {process.used_mib:,} MiB" if process.used_mib is not None else ""
        parts.append(f"{process.name or 'a process'} (pid {process.pid}{memory})")
    return f"; held by {', '.join(parts)}"


def types(gpus: GpuList, wanted: str) -> list[Finding]:
    """Compute types by card, and whether the setting's is among them."""
    found = []
    for card in gpus.devices:
        if card.problem:
            continue
        able = ", ".join(compute_types(card.capability))
        capability = card.capability
        if wanted != "auto" and capability is not None and not supports(capability, wanted):
            fix = "Set `WHISPER_COMPUTE_TYPE=auto`, which suits each card."
            reason = why_not(capability, wanted)
            found.append(Finding("error", AREA, f"GPU {card.index}: {reason}", fix))
        else:
            found.append(Finding("ok", AREA, f"GPU {card.index} supports {able}."))
    return found


def code_for(capability: tuple[int, int]) -> Code:
    """How CTranslate2's wheel runs on a card."""
    if any(sm[0] == capability[0] and sm <= capability for sm in SASS):
        return "native"
    return "compiled" if capability >= PTX else "none"


def architecture(gpus: GpuList, machine: Machine) -> list[Finding]:
    """Whether there is code for each card, and where compiled code is kept."""
    found: list[Finding] = []
    compiling = False
    for card in gpus.devices:
        if card.capability is None:
            continue
        code, number = code_for(card.capability), ".".join(map(str, card.capability))
        if code == "none":
            fix = "Exclude it with `CUDA_VISIBLE_DEVICES`, or `WHISPER_DEVICE=cpu`."
            text = f"GPU {card.index} has compute capability {number}; CTranslate2 needs 5.3."
            found.append(Finding("error", AREA, text, fix))
        elif code == "compiled":
            compiling = True
            found.append(_compiled(card, number, gpus.cuda))
    return [*found, *(jit_cache(machine) if compiling else ())]


def _compiled(card: GpuDevice, number: str, cuda: tuple[int, int] | None) -> Finding:
    text = f"GPU {card.index} (compute capability {number}) compiles CTranslate2's code"
    if cuda is not None and cuda < PTX_CUDA:
        text += f", for which its driver (CUDA {cuda[0]}.{cuda[1]}) may be too old."
        return Finding("warning", AREA, text, DRIVER)
    return Finding("ok", AREA, f"{text} at first use; that first load takes longer.")


def jit_cache(machine: Machine) -> list[Finding]:
    """Compiled code should outlive the process, and its container."""
    if machine.variables.get("CUDA_CACHE_DISABLE") == "1":
        text = "CUDA_CACHE_DISABLE is set: the code is compiled again at every start."
        return [Finding("warning", AREA, text, "`unset CUDA_CACHE_DISABLE`.")]
    given = machine.variables.get("CUDA_CACHE_PATH")
    path = Path(given) if given else Path.home() / ".nv" / "ComputeCache"
    why = why_not_writable(path)
    if why:
        fix = "`export CUDA_CACHE_PATH=…` to a permanent folder that this user can write to."
        text = f"Compiled code cannot be kept in {path}: {why}."
        return [Finding("warning", AREA, text, fix)]
    mount = machine.mount_of(path.absolute())
    if machine.container and (mount is None or mount.kind in VOLATILE):
        fix = "Give it a volume: `-v cuda-cache:/app/cache -e CUDA_CACHE_PATH=/app/cache`."
        text = f"Compiled code in {path} is lost with the container and is then compiled again."
        return [Finding("warning", AREA, text, fix)]
    return [Finding("ok", AREA, f"Compiled code is kept in {path}.")]


def visible_devices(settings: Settings, gpus: GpuList) -> list[Finding]:
    """Entries of CUDA_VISIBLE_DEVICES and what each means."""
    listed = settings.cuda_visible_devices
    if listed is None:
        return []
    entries = visible_entries(listed)
    if not entries:
        text = f"CUDA_VISIBLE_DEVICES is {listed!r}, which hides every GPU."
        return [Finding("hint", AREA, text, "To use them: `unset CUDA_VISIBLE_DEVICES`.")]
    if not gpus.devices:
        text = f"CUDA_VISIBLE_DEVICES is {listed!r}, but no GPU can be found here."
        return [Finding("hint", AREA, text, "`unset CUDA_VISIBLE_DEVICES`, or check the driver.")]
    found = []
    for entry in entries:
        device = find_device(entry, gpus)
        if device is None:
            there = ", ".join(str(card.index) for card in gpus.devices)
            text = f"CUDA_VISIBLE_DEVICES names {entry!r}; the cards here are {there}."
            fix = f"`export CUDA_VISIBLE_DEVICES={there.replace(' ', '')}`, or unset it."
            found.append(Finding("error", AREA, text, fix))
        else:
            found.append(Finding("ok", AREA, f"CUDA_VISIBLE_DEVICES: {entry} is {device.name}."))
    return found


def _title(card: GpuDevice) -> str:
    capability = ".".join(map(str, card.capability)) if card.capability else "unknown"
    return f"GPU {card.index}: {card.name}, compute capability {capability}"


def _slice(card: GpuDevice, part: MigDevice) -> Finding:
    held = holders(part.processes)
    text = f"GPU {card.index}, slice {part.uuid}: {part.free_mib:,} of {part.total_mib:,} MiB"
    return Finding("ok", AREA, f"{text} free{held}.")


def _broken(card: GpuDevice) -> Finding:
    known = recognise(card.problem)
    fix = known.fix if known else "See `sudo dmesg | grep -i -E 'xid|nvrm'` on the host; reboot."
    if "MIG" in card.problem:
        fix = (
            f"Divide it (`sudo nvidia-smi mig -i {card.index} -cgi 0 -C`: one device of all),"
            f" or turn MIG off (`sudo nvidia-smi -i {card.index} -mig 0`)."
        )
    return Finding("error", AREA, f"GPU {card.index} cannot be used. {card.problem}", fix)
