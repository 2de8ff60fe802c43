"""What a figure was measured on: every table says it, because absolute times are one machine's."""

from __future__ import annotations

import platform
from pathlib import Path

from workers.resources import usable_cores


def machine() -> str:
    """Processor, cores this process may use, and Python, as one line."""
    return f"{_processor()}, {usable_cores()} cores, Python {platform.python_version()}"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
