"""One place of the cluster: what runs on a node, as a Ray actor, for one GPU or a few CPU cores.

It has the worker that this machine's devices have, ``workers.worker.Worker``, with a process of its
own, and passes on what the service and that process say to each other. It keeps nothing: when it
goes, its worker goes with it, and the service gives the work to others.
"""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import wait
from pathlib import Path

from cluster.audio import HeldAudio, Part
from cluster.code import code_here
from cluster.models import RECEIVED, Receiving, Sums, find, fingerprint
from cluster.protocol import Look
from core.settings import Settings, variable
from core.types import ModelSpec
from model_store.packaged import ensure_installed, installed_models
from workers.devices import Device, find_devices
from workers.messages import Command, Decode, LoadEnded, LoadModel, Message, TaskDone, WorkerSpec
from workers.worker import Worker

PATIENCE_S = 10.0
"""Longest wait for news of the worker; its heartbeats come ten times as often."""

KILL_S = 5.0
"""Longest wait for the end of a killed process."""

LOG_BYTES = 65536


class Guest:
    """One worker, and what it needs on this machine."""

    def __init__(self, spec: WorkerSpec) -> None:
        self.log, log = os.pipe()
        os.set_blocking(self.log, False)
        try:
            # What it logs is read by the service's operator, not on this machine.
            self.worker = Worker(replace(spec, parent_pid=os.getpid()), stderr=log)
        except BaseException:
            os.close(self.log)
            raise
        finally:
            os.close(log)
        self.audio: dict[int, HeldAudio] = {}
        self.models: dict[ModelSpec, ModelSpec] = {}
        """As the service names the models that lie elsewhere here."""
        self._line = b""

    def lines(self, *, last: bool = False) -> str:
        """Whole lines of its log that have come since."""
        with suppress(BlockingIOError):
            while block := os.read(self.log, LOG_BYTES):
                self._line += block
        whole, _, rest = self._line.rpartition(b"\n")
        self._line = b"" if last else rest
        whole += b"\n" if whole else b""
        return (whole + rest if last else whole).decode(errors="replace")

    def close(self) -> str:
        """After its end: free everything; why it ended."""
        reason = self.worker.reap()
        os.close(self.log)
        for audio in self.audio.values():
            audio.free()
        return reason


class Place:
    """One thread gives it commands, another one listens to it."""

    def __init__(self) -> None:
        self._models_dir = Settings().models_dir
        self._runs: dict[int, Guest] = {}
        """Until who listens has heard of their end."""
        self._receiving: Receiving | None = None

    def code(self) -> dict[str, str]:
        """With what this machine decodes. Asked before anything else, and plain: a machine with
        other code can read the answer."""
        return code_here()

    def device(self, index: int) -> Device:
        """What Ray gave to this place: a GPU of the machine, or cores of its CPU.

        Raises DeviceUnavailable: the GPU cannot be used.
        """
        visible = variable("CUDA_VISIBLE_DEVICES")
        if visible:
            return find_devices(device="cuda", cuda_visible_devices=visible)[0]
        return Device(f"CPU {index}", "cpu", name=cpu_name())

    def has_model(self, model: ModelSpec, sums: Sums) -> bool:
        return self._find(model, sums) is not None

    def receive_model(self, sums: Sums, name: str | None, block: bytes = b"") -> None:
        """The next block of a file of a model; without a name: all has been sent.

        Raises ModelError: it arrived damaged. OSError: it cannot be written.
        """
        if self._receiving is None:
            self._receiving = Receiving(self._models_dir, sums)
        if name is not None:
            self._receiving.add(name, block)
            return
        receiving, self._receiving = self._receiving, None
        receiving.done()

    def begin(self, number: int, spec: WorkerSpec) -> None:
        """Start a worker; one that is still there is killed before. Raises OSError."""
        for old in self._runs.values():
            old.worker.kill("another worker takes its place")
            wait([old.worker.sentinel], KILL_S)
        self._runs[number] = Guest(spec)

    def tell(
        self, number: int, command: Command, sums: Sums | None, audio: tuple[Part, ...]
    ) -> None:
        """Pass a command on, with the model's and the recording's places on this machine."""
        run = self._runs.get(number)
        if run is None:
            return
        if isinstance(command, LoadModel) and sums is not None:
            command = LoadModel(self._here(run, command.model, sums))
        elif isinstance(command, Decode) and sums is not None:
            model = self._here(run, command.request.model, sums)
            command = replace(command, request=replace(command.request, model=model))
            held = run.audio[command.task_id] = HeldAudio.of(audio)
            command = held.placed_in(command)
        run.worker.send(command)

    def listen(self, number: int) -> Look:
        """News of that worker; waits a while for it. After its end this frees what it held."""
        run = self._runs.get(number)
        if run is None:
            return Look(ended="it was never started")
        wait([*run.worker.waitables(), run.log], PATIENCE_S)
        ended = run.worker.ended
        messages = tuple(self._as_told(run, message) for message in run.worker.messages())
        if not ended:
            return Look(messages, run.lines())
        log = run.lines(last=True)
        return Look(messages, log, self._runs.pop(number).close())

    def end(self, number: int) -> None:
        if number in self._runs:
            self._runs[number].worker.kill("no longer needed")

    def _here(self, run: Guest, model: ModelSpec, sums: Sums) -> ModelSpec:
        """The model where it lies here; where it does not, loading it will say so."""
        folder = self._find(model, sums)
        local = model if folder is None else replace(model, path=str(folder))
        run.models[local] = model
        return local

    def _as_told(self, run: Guest, message: Message) -> Message:
        """In the service's words."""
        if isinstance(message, LoadEnded):
            return replace(message, model=run.models.get(message.model, message.model))
        if isinstance(message, TaskDone) and message.task_id in run.audio:
            run.audio.pop(message.task_id).free()
        return message

    def _find(self, model: ModelSpec, sums: Sums) -> Path | None:
        """Installed here, received before, or on a disk that the machines share."""
        folders = [
            self._models_dir / model.name,
            self._models_dir / RECEIVED / fingerprint(sums),
            Path(model.path),
        ]
        found = find(sums, folders)
        if found is None and model.name in installed_models():
            # With the packages, but never used here.
            found = find(sums, [ensure_installed(model.name, self._models_dir)])
        return found


def cpu_name() -> str:
    """As the kernel names it; two nodes of the same name are counted as equally fast."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
