"""A Docker engine of the tests' own, which may be restarted without harm to other containers."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.containers.engine import Engine
from tests.waiting import PATIENCE_S, eventually


class Daemon:
    """It changes no network of the machine: its containers have the machine's, or none."""

    def __init__(self, folder: Path, like: Engine) -> None:
        self._folder = folder
        address = f"unix://{folder / 'socket'}"
        settings = {
            "hosts": [address],
            "data-root": str(folder / "data"),
            "exec-root": str(folder / "run"),
            "pidfile": str(folder / "pid"),
            "storage-driver": like.run("info", "--format", "{{.Driver}}").strip(),
            "bridge": "none",
            "iptables": False,
        }
        file = folder / "daemon.json"
        file.write_text(json.dumps(settings))
        # It may share a containerd with the machine's engine.
        own = folder.name
        names = (f"--containerd-namespace={own}", f"--containerd-plugins-namespace={own}-plugins")
        self._command = ["dockerd", f"--config-file={file}", *names]
        self.engine = Engine(like.program, address)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        eventually(lambda: not self._running or self._answers(), "the engine answers")
        assert self._running, (self._folder / "log").read_text()

    def stop(self) -> None:
        """As the system's manager of services does it. Containers are told to stop."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(PATIENCE_S)

    @property
    def _running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _answers(self) -> bool:
        try:
            self.engine.run("info")
        except RuntimeError:
            return False
        return True


@contextmanager
def own_daemon(like: Engine) -> Iterator[Daemon]:
    """It has nothing at first, and nothing of it is left."""
    if shutil.which("dockerd") is None:
        pytest.skip("no dockerd here: the engine runs elsewhere")
    # Paths of sockets are short.
    folder = Path(tempfile.mkdtemp(prefix="docker-"))
    daemon = Daemon(folder, like)
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.stop()
        for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
            place = line.split()[1]
            if place.startswith(f"{folder}/"):
                subprocess.run(["umount", "--lazy", place], check=True)
        shutil.rmtree(folder)


def hand_over(source: Engine, target: Engine, image: str) -> None:
    """Give an image of one engine to another."""
    with tempfile.NamedTemporaryFile(suffix=".tar") as file:
        source.run("save", f"--output={file.name}", image)
        target.run("load", f"--input={file.name}")
