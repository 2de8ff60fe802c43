"""What a service says of itself when its devices fail."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, cast

from jobs.engines import Engines
from jobs.health import health_of
from workers.fleet import WorkerStatus


class Devices:
    """Workers that were all taken out, with the reasons."""

    not_ready = ""

    def __init__(self, *reasons: str) -> None:
        self._reasons = reasons

    def workers(self) -> tuple[WorkerStatus, ...]:
        taken_out: dict[str, Any] = {field.name: None for field in fields(WorkerStatus)}
        taken_out["state"] = "retired"
        return tuple(
            WorkerStatus(**taken_out | {"label": f"GPU {i}", "reason": reason})
            for i, reason in enumerate(self._reasons)
        )

    def incidents(self) -> dict[str, Any]:
        return {}


def reason_of(*reasons: str) -> str:
    engines = cast(Engines, Devices(*reasons))
    return health_of(engines, database=True, closing=False).reason


def test_a_known_failure_of_all_devices_is_answered_with_its_fix_once() -> None:
    missing = "Library libcublas.so.12 is not found or cannot be loaded"
    reason = reason_of(missing, missing)
    assert reason.startswith("No device is left: ")
    assert reason.count("pip install -r requirements-gpu.txt") == 1


def test_an_unknown_failure_has_no_fix() -> None:
    assert reason_of("exit code 3").endswith("failed again and again.")
