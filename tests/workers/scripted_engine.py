"""An engine that does what a script says, in real worker processes.

The "model" is a directory: ``script.json`` names what goes wrong with which segment, ``log.jsonl``
collects what the engines did, and files with other names are gates and marks between processes.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from core.errors import Cancelled, ModelError, OutOfMemory
from core.pcm import PcmSpool
from core.types import (
    AudioSegment,
    DecodeOptions,
    ModelSpec,
    SegmentResult,
    TranscriptSegment,
    Window,
)

FACTORY = "tests.workers.scripted_engine:load_engine"
GATE_S = 30.0
POLL_S = 0.005


@dataclass
class Script:
    """``actions`` by segment index; a name ending in "_once" happens only the first time."""

    actions: dict[str, str] = field(default_factory=dict)
    load: str = "ok"
    """"raise", "kill", "raise_first" (the first worker that tries)."""
    language: str = "zh"
    detect: str = "ok"

    def write(self, directory: Path) -> ModelSpec:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "script.json").write_text(json.dumps(asdict(self)))
        return ModelSpec(directory.name, str(directory), "int8", "cpu")


def read_log(model: ModelSpec, event: str) -> list[dict[str, Any]]:
    path = Path(model.path, "log.jsonl")
    lines = path.read_text().splitlines() if path.exists() else []
    return [entry for line in lines if (entry := json.loads(line))["event"] == event]


def load_engine(spec: ModelSpec) -> ScriptedEngine:
    return ScriptedEngine(spec)


class Unpicklable(Exception):
    """Carries what no pickle takes, and cannot be built again from its arguments either."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")
        self.lock = threading.Lock()


class ScriptedEngine:
    def __init__(self, spec: ModelSpec) -> None:
        self.directory = Path(spec.path)
        self.script = Script(**json.loads((self.directory / "script.json").read_text()))
        self.log("load")
        if self.script.load == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.script.load == "raise" or (
            self.script.load == "raise_first" and self.first_time("load")
        ):
            raise ModelError("model.bin is damaged")

    def warm_up(self) -> None:
        self.log("warm_up")

    def detect_language(self, spool: PcmSpool, windows: Sequence[Window]) -> tuple[str, float]:
        self.log("detect", windows=[window.start_s for window in windows])
        self.act(self.script.detect, "detect", lambda: False)
        return self.script.language, 0.9

    def decode(
        self,
        spool: PcmSpool,
        segments: Sequence[AudioSegment],
        options: DecodeOptions,
        *,
        on_started: Callable[[int], None],
        on_result: Callable[[SegmentResult], None],
        on_error: Callable[[int, Exception], None],
        should_stop: Callable[[], bool],
    ) -> None:
        indices = [segment.index for segment in segments]
        self.log("decode", indices=indices, language=options.language)
        for segment in segments:
            if should_stop():
                raise Cancelled
            on_started(segment.index)
            action = self.script.actions.get(str(segment.index), "ok")
            if action == "silent":
                continue
            try:
                self.act(action, f"segment{segment.index}", should_stop)
            except (ValueError, Unpicklable, OutOfMemory) as error:
                on_error(segment.index, error)
                continue
            text: Any = f"text {segment.index}"
            if action == "unpicklable_result":
                text = threading.Lock()
            said = TranscriptSegment(segment.start_s, segment.end_s, text)
            on_result(SegmentResult(segment.index, (said,), windows=len(segment.windows)))

    def act(self, action: str, name: str, should_stop: Callable[[], bool]) -> None:
        if action.endswith("_once"):
            if not self.first_time(name):
                return
            action = action.removesuffix("_once")
        if action == "raise":
            raise ValueError(f"cannot hear {name}")
        if action == "raise_all":
            raise RuntimeError("the whole task fails")
        if action == "unpicklable":
            raise Unpicklable("cannot", "travel")
        if action == "oom":
            raise OutOfMemory("CUDA failed with error out of memory")
        if action == "exit":
            os._exit(3)
        if action == "sys_exit":
            sys.exit(4)
        if action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if action == "segv":
            faulthandler.disable()
            faulthandler._sigsegv()  # type: ignore[attr-defined]
        if action == "hang":
            self.wait_for("never", lambda: False)
        if action == "gate":
            self.wait_for("gate", should_stop)

    def wait_for(self, name: str, should_stop: Callable[[], bool]) -> None:
        self.log("waiting", gate=name)
        deadline = time.monotonic() + GATE_S
        while not (self.directory / name).exists():
            if should_stop():
                raise Cancelled
            if time.monotonic() > deadline:
                raise TimeoutError(name)
            time.sleep(POLL_S)

    def first_time(self, name: str) -> bool:
        try:
            (self.directory / f"{name}.done").touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def log(self, event: str, **details: Any) -> None:
        line = json.dumps({"event": event, "pid": os.getpid(), **details}) + "\n"
        # One short write in append mode is atomic between processes.
        with (self.directory / "log.jsonl").open("a") as file:
            file.write(line)
