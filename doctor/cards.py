"""The GPUs: their memory and its holders, MIG, compute types, and whether CTranslate2 has code for
them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from core.known_errors import DRIVER, recognise
from core.settings import Settings
from doctor.diagnosis import Finding, error, hint, ok, warning
from doctor.machine import Machine
from doctor.resources import why_not_writable
from gpu.advice import name_all
from gpu.nvml import GpuDevice, GpuList, GpuProcess, find_device
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

VOLATILE = ("overlay", "tmpfs", "aufs", "")
"""File systems that end with their container, as an unknown one may."""

Code = Literal["native", "compiled", "none"]


def cards(gpus: GpuList) -> Iterator[Finding]:
    """Each card with its memory and the processes that hold it. The app never ends another one."""
    for card in gpus.devices:
        if card.problem:
            yield _broken(card)
            continue
        memory = f"{card.free_mib:,} of {card.total_mib:,} MiB free"
        capability = ".".join(map(str, card.capability)) if card.capability else "unknown"
        text = f"GPU {card.index}: {card.name}, compute capability {capability}:"
        text += f" {memory if card.total_mib else 'memory unknown'}{_holders(card.processes)}."
        if not card.mig and card.free_mib < min(MEMORY_WANTED_MIB, card.total_mib // 2):
            fix = (
                "Stop programs you do not need there, or exclude this GPU with"
                " `CUDA_VISIBLE_DEVICES`; smaller: `WHISPER_COMPUTE_TYPE=int8_float16`."
            )
            yield warning(text, fix)
        else:
            yield ok(text)
        for part in card.mig:
            memory = f"{part.free_mib:,} of {part.total_mib:,} MiB free{_holders(part.processes)}"
            yield ok(f"GPU {card.index}, slice {part.uuid}: {memory}.")


def _holders(processes: Sequence[GpuProcess]) -> str:
    return f"; held by {name_all(processes, len(processes))}" if processes else ""


def types(gpus: GpuList, wanted: str) -> Iterator[Finding]:
    """Compute types by card, and whether the setting's is among them."""
    for card in gpus.devices:
        capability = card.capability
        if card.problem:
            continue
        if wanted != "auto" and capability is not None and not supports(capability, wanted):
            yield error(
                f"GPU {card.index}: {why_not(capability, wanted)}",
                "Set `WHISPER_COMPUTE_TYPE=auto`, which suits each card.",
            )
        else:
            yield ok(f"GPU {card.index} supports {', '.join(compute_types(capability))}.")


def code_for(capability: tuple[int, int]) -> Code:
    """How CTranslate2's wheel runs on a card."""
    if any(sm[0] == capability[0] and sm <= capability for sm in SASS):
        return "native"
    return "compiled" if capability >= PTX else "none"


def architecture(gpus: GpuList, machine: Machine) -> Iterator[Finding]:
    """Whether there is code for each card, and where compiled code is kept."""
    codes: set[Code] = set()
    for card in gpus.devices:
        if card.capability is None:
            continue
        code, number = code_for(card.capability), ".".join(map(str, card.capability))
        codes.add(code)
        if code == "none":
            yield error(
                f"GPU {card.index} has compute capability {number}; CTranslate2 needs 5.3.",
                "Exclude it with `CUDA_VISIBLE_DEVICES`, or `WHISPER_DEVICE=cpu`.",
            )
        elif code == "compiled":
            text = f"GPU {card.index} (compute capability {number}) compiles CTranslate2's code"
            if gpus.cuda is not None and gpus.cuda < PTX_CUDA:
                cuda = f"CUDA {gpus.cuda[0]}.{gpus.cuda[1]}"
                yield warning(f"{text}, for which its driver ({cuda}) may be too old.", DRIVER)
            else:
                yield ok(f"{text} at first use; that first load takes longer.")
    if "compiled" in codes:
        yield jit_cache(machine)


def jit_cache(machine: Machine) -> Finding:
    """Compiled code should outlive the process, and its container."""
    if machine.variables.get("CUDA_CACHE_DISABLE") == "1":
        text = "CUDA_CACHE_DISABLE is set: the code is compiled again at every start."
        return warning(text, "`unset CUDA_CACHE_DISABLE`.")
    given = machine.variables.get("CUDA_CACHE_PATH")
    path = Path(given) if given else Path.home() / ".nv" / "ComputeCache"
    if why := why_not_writable(path):
        return warning(
            f"Compiled code cannot be kept in {path}: {why}.",
            "`export CUDA_CACHE_PATH=…` to a permanent folder that this user can write to.",
        )
    if machine.container and machine.file_system_of(path.absolute()) in VOLATILE:
        return warning(
            f"Compiled code in {path} is lost with the container and is then compiled again.",
            "Give it a volume: `-v cuda-cache:/app/cache -e CUDA_CACHE_PATH=/app/cache`.",
        )
    return ok(f"Compiled code is kept in {path}.")


def visible_devices(settings: Settings, gpus: GpuList) -> Iterator[Finding]:
    """Entries of CUDA_VISIBLE_DEVICES and what each means."""
    listed = settings.cuda_visible_devices
    if listed is None:
        return
    entries = visible_entries(listed)
    if not entries:
        text = f"CUDA_VISIBLE_DEVICES is {listed!r}, which hides every GPU."
        yield hint(text, "To use them: `unset CUDA_VISIBLE_DEVICES`.")
    elif not gpus.devices:
        text = f"CUDA_VISIBLE_DEVICES is {listed!r}, but no GPU can be found here."
        yield hint(text, "`unset CUDA_VISIBLE_DEVICES`, or check the driver.")
    else:
        there = [str(card.index) for card in gpus.devices]
        for entry in entries:
            if device := find_device(entry, gpus):
                yield ok(f"CUDA_VISIBLE_DEVICES: {entry} is {device.name}.")
            else:
                yield error(
                    f"CUDA_VISIBLE_DEVICES names {entry!r}; the cards here are {', '.join(there)}.",
                    f"`export CUDA_VISIBLE_DEVICES={','.join(there)}`, or unset it.",
                )


def _broken(card: GpuDevice) -> Finding:
    known = recognise(card.problem)
    fix = known.fix if known else "See `sudo dmesg | grep -i -E 'xid|nvrm'` on the host; reboot."
    if "MIG" in card.problem:
        fix = (
            f"Divide it (`sudo nvidia-smi mig -i {card.index} -cgi 0 -C`: one device of all),"
            f" or turn MIG off (`sudo nvidia-smi -i {card.index} -mig 0`)."
        )
    return error(f"GPU {card.index} cannot be used. {card.problem}", fix)
