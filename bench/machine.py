"""What a figure was measured on: every table says it, because absolute times are one machine's."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from workers.resources import usable_cores

_INSTRUCTIONS = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx512_vnni": "VNNI",
    "amx_int8": "AMX",
}
"""Those that decide how fast int8 is: the flag in /proc/cpuinfo and its name."""

_LIMITS = ("CT2_FORCE_CPU_ISA", "CT2_USE_MKL", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA")
"""Variables by which CTranslate2 and the libraries it calculates with take fewer of them."""


def machine() -> str:
    """Processor, its instruction sets, cores this process may use, and Python, as one line."""
    facts = _processor()
    flags = facts.get("flags", "").split()
    name = facts.get("model name") or platform.processor() or platform.machine()
    sets = [title for flag, title in _INSTRUCTIONS.items() if flag in flags]
    limits = [f"{name}={os.environ[name]}" for name in _LIMITS if os.environ.get(name)]
    parts = [name, " + ".join(sets), *limits, f"{usable_cores()} cores"]
    return ", ".join([*filter(None, parts), f"Python {platform.python_version()}"])


def _processor() -> dict[str, str]:
    """What Linux says of the first processor."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("\n\n")[0]
    pairs = (line.partition(":") for line in text.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}
