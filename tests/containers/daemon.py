"""A Docker engine of the tests' own, which may be restarted without harm to other containers."""

from __future__ import annotations

import ctypes
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
    """It has a network namespace of its own, because it would change the machine's. Its containers
    share that with ``--network=host``, and so may a thread."""

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
        dockerd = ("dockerd", f"--config-file={file}", *names)
        script = 'ip link set lo up && exec "$@"'
        self._command = ["unshare", "--net", "sh", "-c", script, "sh", *dockerd]
        self.engine = Engine(like.program, address)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        eventually(lambda: not self._running or self._answers(), "the engine answers")
        assert self._running, (self._folder / "log").read_text()

    def enter(self) -> None:
        """Have the calling thread reach the containers that run now, and no other network."""
        assert self._process is not None
        with Path(f"/proc/{self._process.pid}/ns/net").open("rb") as namespace:
            if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), 0):
                raise OSError(ctypes.get_errno(), "setns")

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
    for program in ("dockerd", "ip", "unshare"):
        if shutil.which(program) is None:
            pytest.skip(f"no {program} here")
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
