"""What the native libraries say of themselves, as JSON on standard output.

Run as a program of its own (``doctor.libraries`` does): a library that is broken may end the
process that opens it, and CUDA must not be started in the service. Of the app only
``gpu.cublas`` is imported, which makes cuBLAS known as a worker does.

    python -P doctor/probe.py [CUDA_VISIBLE_DEVICES]
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

LIBRARIES = ("libcublas.so.12", "libcublasLt.so.12", "libcublas.so.13", "libcudart.so.13")


def library(name: str) -> dict[str, str]:
    """Where the loader finds a library, as CTranslate2 asks it: by name."""
    try:
        ctypes.CDLL(name)
    except OSError as error:
        return {"error": str(error)}
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        path = line.partition("/")[2]
        if path.rpartition("/")[2].startswith(name):
            return {"path": f"/{path}"}
    return {"path": name}


def ctranslate2_facts() -> dict[str, Any]:
    import ctranslate2

    facts: dict[str, Any] = {
        "version": ctranslate2.__version__,
        "cpu": sorted(ctranslate2.get_supported_compute_types("cpu")),
        "cuda": [],
    }
    try:
        for index in range(ctranslate2.get_cuda_device_count()):
            facts["cuda"].append(sorted(ctranslate2.get_supported_compute_types("cuda", index)))
    except (RuntimeError, ValueError) as error:
        facts["cuda_error"] = str(error)
    return facts


def av_facts() -> dict[str, Any]:
    import av

    return {
        "ffmpeg": getattr(av, "ffmpeg_version_info", ""),
        "libraries": {
            name: ".".join(map(str, version)) for name, version in av.library_versions.items()
        },
    }


def tried(ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return ask()
    except Exception as error:
        # Whatever a broken package raises at import is the fact that is wanted.
        return {"error": f"{type(error).__name__}: {error}"}


def main() -> None:
    if len(sys.argv) > 1:
        os.environ["CUDA_VISIBLE_DEVICES"] = sys.argv[1]
    sys.path.append(str(Path(__file__).resolve().parent.parent))
    from gpu.cublas import load_cublas

    load_cublas()
    facts = {
        "libraries": {name: library(name) for name in LIBRARIES},
        "av": tried(av_facts),
        "ctranslate2": tried(ctranslate2_facts),
    }
    sys.stdout.write(json.dumps(facts) + "\n")


if __name__ == "__main__":
    main()
