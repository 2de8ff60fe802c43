"""An engine for real worker processes that fails at warm-up as its model's folder says."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

from core.types import ModelSpec
from decoding.failures import explain_load_failure

FACTORY = "tests.doctor.failing_engine:load_engine"


class FailingEngine:
    def __init__(self, spec: ModelSpec) -> None:
        self._folder = Path(spec.path)

    def warm_up(self) -> None:
        said = (self._folder / "says").read_text()
        if said == "hang":
            threading.Event().wait()
        if said == "die":
            os.kill(os.getpid(), signal.SIGSEGV)
        if said:
            raise explain_load_failure(RuntimeError(said))


def load_engine(spec: ModelSpec) -> FailingEngine:
    return FailingEngine(spec)
