"""A machine's GPUs as the module ``pynvml`` shows them, from a description.

The fake stands at NVML's boundary: the functions, constants and error classes the app uses, with
the real names and codes (``test_fake_nvml.py`` compares them with the installed library). Only
the standard library is imported, because spawned processes import it too.

    fake = FakeNvml([Card(total_mib=8192, processes=[Process(4711, 3000, "python")])])
    fake.install(monkeypatch)            # for this process
    fake.write(folder)                   # for processes that have the folder on their path
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

MIB = 1 << 20
ROOT = Path(__file__).resolve().parents[2]

ERRORS = {
    "UNINITIALIZED": (1, "Uninitialized"),
    "INVALID_ARGUMENT": (2, "Invalid Argument"),
    "NOT_SUPPORTED": (3, "Not Supported"),
    "NO_PERMISSION": (4, "Insufficient Permissions"),
    "NOT_FOUND": (6, "Not Found"),
    "INSUFFICIENT_SIZE": (7, "Insufficient Size"),
    "INSUFFICIENT_POWER": (8, "Insufficient External Power"),
    "DRIVER_NOT_LOADED": (9, "Driver Not Loaded"),
    "LIBRARY_NOT_FOUND": (12, "NVML Shared Library Not Found"),
    "FUNCTION_NOT_FOUND": (13, "Function Not Found"),
    "GPU_IS_LOST": (15, "GPU is lost"),
    "RESET_REQUIRED": (16, "GPU requires restart"),
    "LIB_RM_VERSION_MISMATCH": (18, "RM has detected an NVML/RM version mismatch."),
    "UNKNOWN": (999, "Unknown Error"),
}
"""Names after ``NVML_ERROR_``, with code and text."""

MAX_MIG_DEVICES = 7


@dataclass
class Process:
    """A process on a card. ``used_mib`` None: NVML does not say; ``name`` None: not found."""

    pid: int
    used_mib: int | None = None
    name: str | None = "python"


@dataclass
class Mig:
    """A MIG device."""

    total_mib: int = 4864
    used_mib: int | None = None
    uuid: str = ""
    name: str = "NVIDIA A100-SXM4-40GB MIG 1g.5gb"
    processes: list[Process] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)


@dataclass
class Card:
    """A card. What stays None is not supported; ``used_mib`` None: what the processes hold."""

    total_mib: int = 24576
    used_mib: int | None = None
    reserved_mib: int = 0
    name: str = "NVIDIA GeForce RTX 3090"
    uuid: str = ""
    """Empty: made from its place, ``GPU-00000000-…`` for the first."""
    capability: tuple[int, int] | None = (8, 6)
    processes: list[Process] = field(default_factory=list)
    graphics: list[Process] = field(default_factory=list)
    mps_clients: list[Process] = field(default_factory=list)
    utilization: int | None = 0
    temperature: int | None = 40
    power_w: float | None = 30.0
    power_limit_w: float | None = 350.0
    mig: list[Mig] | None = None
    """None: MIG is off or unknown to the card; a list: it is on."""
    errors: dict[str, str] = field(default_factory=dict)
    """Function -> name of the error it fails with, ``{"nvmlDeviceGetName": "UNKNOWN"}``;
    ``"*"`` stands for every function that is asked about the card."""


class NVMLError(Exception):
    """As the library's: the code is ``value``, and each code has a class of its own."""

    def __init__(self, value: int) -> None:
        super().__init__(value)
        self.value = value

    def __str__(self) -> str:
        texts = dict(ERRORS.values())
        return texts.get(self.value, f"NVML Error with code {self.value}")


class NVMLLibraryMismatchError(Exception):
    """The driver's library is too old for a function that the module calls."""


def _class_name(error: str) -> str:
    return "NVMLError_" + "".join(part.capitalize() for part in error.split("_"))


CLASSES = {name: type(_class_name(name), (NVMLError,), {}) for name in ERRORS}


@dataclass
class FakeNvml:
    """The library. Descriptions may be changed while it is installed."""

    cards: list[Card] = field(default_factory=list)
    driver: str = "580.65.06"
    cuda: int = 13000
    """As NVML writes it: 12080 is 12.8."""
    errors: dict[str, str] = field(default_factory=dict)
    """As ``Card.errors``, for functions of the whole library: ``{"nvmlInit": "UNKNOWN"}``."""
    open: int = field(default=0, init=False, repr=False)
    """Calls of nvmlInit that no nvmlShutdown has answered yet."""
    calls: list[str] = field(default_factory=list, init=False, repr=False)
    _lock: Any = field(default_factory=threading.Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        for index, card in enumerate(self.cards):
            card.uuid = card.uuid or f"GPU-{index:08d}-1111-2222-3333-444444444444"
            for place, mig in enumerate(card.mig or ()):
                mig.uuid = mig.uuid or f"MIG-{index:04d}{place:04d}-1111-2222-3333-444444444444"

    def install(self, monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
        """In this process, in place of whatever ``pynvml`` there is."""
        monkeypatch.setitem(sys.modules, "pynvml", self.module())
        return self

    def write(self, folder: Path) -> Path:
        """As ``folder/pynvml.py``, for other processes that have the folder first on their path."""
        path = folder / "pynvml.py"
        path.write_text(
            "import sys\n"
            f"sys.path.append({str(ROOT)!r})\n"
            f"from {__name__} import Card, FakeNvml, Mig, Process\n"
            f"globals().update(vars({self!r}.module()))\n",
            encoding="utf-8",
        )
        return path

    def module(self) -> ModuleType:
        module = ModuleType("pynvml")
        vars(module).update(self._functions())
        vars(module).update(
            NVMLError=NVMLError,
            NVMLLibraryMismatchError=NVMLLibraryMismatchError,
            NVML_TEMPERATURE_GPU=0,
            NVML_DEVICE_MIG_ENABLE=1,
            nvmlMemory_v2=0x02000028,
            **{f"NVML_ERROR_{name}": code for name, (code, _) in ERRORS.items()},
            **{_class_name(name): kind for name, kind in CLASSES.items()},
        )
        return module

    def _functions(self) -> dict[str, Callable[..., Any]]:
        answers: dict[str, Callable[..., Any]] = {
            "nvmlInit": self._init,
            "nvmlShutdown": self._shutdown,
            "nvmlSystemGetDriverVersion": lambda: self.driver,
            "nvmlSystemGetCudaDriverVersion_v2": lambda: self.cuda,
            "nvmlSystemGetProcessName": self._process_name,
            "nvmlDeviceGetCount": lambda: len(self.cards),
            "nvmlDeviceGetHandleByIndex": self._handle,
            "nvmlDeviceGetUUID": lambda of: of.uuid,
            "nvmlDeviceGetName": lambda of: of.name,
            "nvmlDeviceGetMemoryInfo": _memory,
            "nvmlDeviceGetCudaComputeCapability": lambda of: _known(_value(of, "capability")),
            "nvmlDeviceGetUtilizationRates": lambda of: SimpleNamespace(
                gpu=_known(_value(of, "utilization")), memory=0
            ),
            "nvmlDeviceGetTemperature": lambda of, _: _known(_value(of, "temperature")),
            "nvmlDeviceGetPowerUsage": lambda of: _milli(_value(of, "power_w")),
            "nvmlDeviceGetEnforcedPowerLimit": lambda of: _milli(_value(of, "power_limit_w")),
            "nvmlDeviceGetComputeRunningProcesses": lambda of: _processes(of.processes),
            "nvmlDeviceGetGraphicsRunningProcesses": lambda of: _processes(_value(of, "graphics")),
            "nvmlDeviceGetMPSComputeRunningProcesses": lambda of: _processes(
                _value(of, "mps_clients")
            ),
            "nvmlDeviceGetMigMode": _mig_mode,
            "nvmlDeviceGetMaxMigDeviceCount": lambda of: MAX_MIG_DEVICES if of.mig else 0,
            "nvmlDeviceGetMigDeviceHandleByIndex": _mig_handle,
        }
        return {name: self._guarded(name, answer) for name, answer in answers.items()}

    def _guarded(self, name: str, answer: Callable[..., Any]) -> Callable[..., Any]:
        """The function as the library has it: useless before nvmlInit, failing where described."""

        def function(*args: Any) -> Any:
            self.calls.append(name)
            if name in self.errors:
                raise error(self.errors[name])
            if name != "nvmlInit" and not self.open:
                raise error("UNINITIALIZED")
            told = args[0].errors if args and isinstance(args[0], Card | Mig) else {}
            if failure := told.get(name) or told.get("*"):
                raise error(failure)
            return answer(*args)

        return function

    def _init(self) -> None:
        with self._lock:
            self.open += 1

    def _shutdown(self) -> None:
        with self._lock:
            self.open -= 1

    def _handle(self, index: int) -> Card:
        if not 0 <= index < len(self.cards):
            raise error("INVALID_ARGUMENT")
        card = self.cards[index]
        if failure := card.errors.get("nvmlDeviceGetHandleByIndex"):
            raise error(failure)
        return card

    def _process_name(self, pid: int) -> str:
        processes = [
            process
            for card in self.cards
            for some in (card.processes, card.graphics, card.mps_clients)
            for process in some
        ]
        processes += [it for card in self.cards for mig in card.mig or () for it in mig.processes]
        for process in processes:
            if process.pid == pid and process.name is not None:
                return process.name
        raise error("NOT_FOUND")


def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which nvidia-ml-py is not installed."""
    monkeypatch.setitem(sys.modules, "pynvml", None)


def error(name: str) -> Exception:
    if name == "LIBRARY_MISMATCH":
        return NVMLLibraryMismatchError("pyNVML version does not match the NVML lib version.")
    failure: Exception = CLASSES[name](ERRORS[name][0])
    return failure


def _known(value: Any) -> Any:
    if value is None:
        raise error("NOT_SUPPORTED")
    return value


def _value(of: Card | Mig, name: str) -> Any:
    return getattr(of, name, None)


def _milli(value: float | None) -> int:
    return round(1000 * float(_known(value)))


def _memory(of: Card | Mig, version: int | None = None) -> SimpleNamespace:
    used = of.used_mib
    if used is None:
        used = sum(process.used_mib or 0 for process in of.processes)
    reserved = int(_value(of, "reserved_mib") or 0)
    free = of.total_mib - used - reserved
    if version is None:
        # The first version counts what the driver keeps as used.
        return SimpleNamespace(
            total=of.total_mib * MIB, free=free * MIB, used=(used + reserved) * MIB
        )
    return SimpleNamespace(
        total=of.total_mib * MIB, free=free * MIB, used=used * MIB, reserved=reserved * MIB
    )


def _processes(processes: Iterable[Process] | None) -> list[SimpleNamespace]:
    found: list[Process] = list(_known(processes))
    return [
        SimpleNamespace(
            pid=process.pid,
            usedGpuMemory=None if process.used_mib is None else process.used_mib * MIB,
        )
        for process in found
    ]


def _mig_mode(card: Card) -> list[int]:
    return [int(card.mig is not None), int(card.mig is not None)]


def _mig_handle(card: Card, index: int) -> Mig:
    migs = card.mig or []
    if index >= len(migs):
        raise error("NOT_FOUND")
    return migs[index]
