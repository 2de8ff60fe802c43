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

from core.errors import Cancelled, DeviceUnavailable, ModelError, OutOfMemory
from core.events import SegmentFinished
from core.pcm import PcmSpool
from core.types import (
    AudioSegment,
    DecodeOptions,
    ModelSpec,
    SegmentReport,
    TranscriptSegment,
    Window,
)
from decoding.failures import explain_failure, explain_load_failure
from tests.waiting import PATIENCE_S

FACTORY = "tests.workers.scripted_engine:load_engine"
POLL_S = 0.005


@dataclass
class Script:
    """``actions`` by segment index or, as "index@start", by window; a name ending in "_once"
    happens only the first time, "say:TEXT" raises what CTranslate2 would say."""

    actions: dict[str, str] = field(default_factory=dict)
    devices: dict[str, str] = field(default_factory=dict)
    """By CUDA_VISIBLE_DEVICES: what every segment does there, until the file "repaired" exists."""
    load: str = "ok"
    """"raise", "kill", "raise_first" (the first worker that tries); "device": raise on a GPU until
    the file "repaired" exists."""
    together: bool = False
    """Begin all segments of a task before the first is done, as the real engine does."""
    cannot: dict[str, str] = field(default_factory=dict)
    """By compute type: what loading it says, as CTranslate2 would."""
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


class SaidByCTranslate2(Exception):
    pass


class ScriptedEngine:
    def __init__(self, spec: ModelSpec) -> None:
        self.directory = Path(spec.path)
        self.script = Script(**json.loads((self.directory / "script.json").read_text()))
        self.log("load", device=spec.device, compute_type=spec.compute_type)
        if spec.compute_type in self.script.cannot:
            raise explain_load_failure(ValueError(self.script.cannot[spec.compute_type]))
        if self.script.load == "device" and spec.device == "cuda" and not self.repaired:
            raise DeviceUnavailable("The GPU cannot be used: CUDA failed with error unknown error.")
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
        on_result: Callable[[SegmentFinished], None],
        on_error: Callable[[int, Exception], None],
        should_stop: Callable[[], bool],
    ) -> None:
        indices = [segment.index for segment in segments]
        self.log(
            "decode", indices=indices, language=options.language, batch_size=options.batch_size
        )
        for segment in segments if self.script.together else ():
            on_started(segment.index)
        for segment in segments:
            if should_stop():
                raise Cancelled
            on_started(segment.index)
            actions = self.actions_of(segment)
            if "silent" in actions:
                continue
            try:
                for action in actions:
                    self.act(action, f"segment{segment.index}", should_stop)
            except (ValueError, Unpicklable, OutOfMemory) as error:
                on_error(segment.index, error)
                continue
            except SaidByCTranslate2 as error:
                on_error(segment.index, explain_failure(RuntimeError(str(error))))
                continue
            text: Any = f"text {segment.index}"
            if "unpicklable_result" in actions:
                text = threading.Lock()
            said = tuple(
                TranscriptSegment(window.start_s, window.end_s, text) for window in segment.windows
            )
            reduced = 4 if "halve" in actions else 0
            report = SegmentReport(
                index=segment.index,
                start_s=segment.start_s,
                end_s=segment.end_s,
                windows=len(segment.windows),
                texts=len(said),
                elapsed_s=0.0,
                reduced_batch=reduced,
            )
            on_result(SegmentFinished(said, (), report))

    def actions_of(self, segment: AudioSegment) -> list[str]:
        """All that is to happen with a segment, its windows included."""
        names = [str(segment.index)]
        names += [f"{segment.index}@{window.start_s:g}" for window in segment.windows]
        actions = [self.script.actions[name] for name in names if name in self.script.actions]
        broken = self.script.devices.get(os.environ["CUDA_VISIBLE_DEVICES"])
        if broken is not None and not self.repaired:
            actions.append(broken)
        return actions

    @property
    def repaired(self) -> bool:
        return (self.directory / "repaired").exists()

    def act(self, action: str, name: str, should_stop: Callable[[], bool]) -> None:
        if action.endswith("_once"):
            if not self.first_time(name):
                return
            action = action.removesuffix("_once")
        if "*" in action:
            action, _, times = action.partition("*")
            if not any(self.first_time(f"{name}-{time}") for time in range(int(times))):
                return
        if action.startswith("say:"):
            raise SaidByCTranslate2(action.removeprefix("say:"))
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
        deadline = time.monotonic() + PATIENCE_S
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
