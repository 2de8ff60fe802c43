"""cuBLAS 12 for CTranslate2, which opens it by name at its first inference on a GPU.

NVIDIA's packages put the libraries into ``site-packages/nvidia/*/lib``, where the dynamic loader
does not look. A library that is loaded already is found by its name, so loading it by its path
beforehand is enough. Imports nothing of the app: ``doctor/probe.py`` asks it too.
"""

from __future__ import annotations

import ctypes
import importlib.util
import logging
from pathlib import Path

log = logging.getLogger(__name__)

CUBLAS = "libcublas.so.12"

# Each opens the one before: cuBLAS is linked to cublasLt, which opens NVRTC by name.
_LIBRARIES = (
    ("cuda_nvrtc", "libnvrtc.so.12"),
    ("cublas", "libcublasLt.so.12"),
    ("cublas", CUBLAS),
)


def load_cublas() -> None:
    """Load cuBLAS 12 from its package, unless the loader finds one: the machine's owner chose that.

    Does nothing where there is neither. Call it before CTranslate2 uses a GPU, and only then: the
    libraries take 1 GB of address space.
    """
    for package, name in _LIBRARIES:
        try:
            ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
        except OSError:
            path = _packaged(package, name)
            if path is not None:
                _load(path)


def packaged_cublas() -> Path | None:
    """The library in the package nvidia-cublas-cu12; None where that is not installed."""
    return _packaged("cublas", CUBLAS)


def _load(path: Path) -> None:
    try:
        ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        log.warning("%s cannot be loaded: %s", path, error)
    else:
        log.debug("Loaded %s", path)


def _packaged(package: str, name: str) -> Path | None:
    # ``nvidia`` is a namespace package: several folders may hold a part of it.
    spec = importlib.util.find_spec("nvidia")
    folders = spec.submodule_search_locations if spec is not None else None
    paths = (Path(folder) / package / "lib" / name for folder in folders or ())
    return next((path for path in paths if path.is_file()), None)
