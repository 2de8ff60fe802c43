"""A cluster of real Ray processes, each of its machines in a process group of its own."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.service import free_port
from tests.conftest import ROOT
from tests.waiting import eventually

STARTED = "Ray runtime started"


class Machine:
    """A head or a node, as the commands of this project start it."""

    def __init__(self, *arguments: str, log: Path, project: Path = ROOT, **settings: str) -> None:
        self.log = log
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cli.main", "cluster", *arguments],
                cwd=project,
                # Ray finds its workers' modules by it; ours come first from the project's folder.
                env={**os.environ, "PYTHONPATH": str(project), **settings},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def started(self) -> None:
        def there() -> bool:
            assert self.process.poll() is None, self.said
            return STARTED in self.said

        eventually(there, "the machine has started")

    def members(self) -> list[int]:
        """Every process of it, those that Ray put into sessions of their own included."""
        parents: dict[int, int] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                    parents[int(entry.name)] = int(fields[1])
        found = [self.process.pid]
        for pid in found:
            found += [child for child, parent in parents.items() if parent == pid]
        return found

    def signal(self, number: signal.Signals) -> None:
        for pid in self.members():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """As if its plug were pulled. Stopped first, so that nothing of it escapes or reacts."""
        self.signal(signal.SIGSTOP)
        self.signal(signal.SIGKILL)
        self.process.wait()


class TestCluster:
    """A head, and the nodes that come to it."""

    __test__ = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.token = secrets.token_hex(32)
        self._port, self._client_port = free_port(), free_port()
        # The paths of its sockets have to be short.
        self._temp = tempfile.mkdtemp(prefix="ray-")
        self.machines: list[Machine] = []
        self.head = self._add(
            "head",
            *("--port", str(self._port), "--client-port", str(self._client_port)),
            *("--temp-dir", self._temp),
        )
        self.head.started()

    @property
    def address(self) -> str:
        return f"ray://127.0.0.1:{self._client_port}"

    def join(self, cpus: int = 1, *, project: Path = ROOT, **settings: str) -> Machine:
        head = f"127.0.0.1:{self._port}"
        return self._add("join", head, "--cpus", str(cpus), project=project, **settings)

    def _add(self, *arguments: str, project: Path = ROOT, **settings: str) -> Machine:
        log = self._folder / f"machine-{len(self.machines)}.log"
        given = {"WHISPER_CLUSTER_TOKEN": self.token, **settings}
        machine = Machine(*arguments, log=log, project=project, **given)
        self.machines.append(machine)
        return machine

    def close(self) -> None:
        for machine in reversed(self.machines):
            machine.kill()
        subprocess.run(["rm", "-rf", self._temp], check=True)


@contextmanager
def cluster(folder: Path) -> Iterator[TestCluster]:
    found = TestCluster(folder)
    try:
        yield found
    finally:
        found.close()
