"""The real app as a process of its own, on a free port and with a data directory of its own: to be
talked to over HTTP, killed, started again, and looked at from outside.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from bench.processes import Process, children, working_in
from core.settings import PROJECT

START_S = 300.0
"""Longest wait for a started app to answer, and then for its model."""

STOP_S = 120.0
"""Longest wait after SIGTERM; the service's own grace is shorter."""

Job = dict[str, Any]


class Refused(Exception):
    """The service did not take a job; ``status`` and ``retry_after_s`` are its answer."""

    def __init__(self, answer: httpx.Response) -> None:
        super().__init__(f"{answer.status_code}: {answer.text[:300]}")
        self.status = answer.status_code
        after = answer.headers.get("Retry-After", "")
        self.retry_after_s = float(after) if after.isdigit() else None


class Service:
    """Starts with :meth:`start`; the same folder, port and settings at every start.

    ``folder`` gets the data directory, the temporary directory and ``app.log``. ``settings`` are
    variables of the environment. Calls over HTTP raise ``httpx.TransportError`` while the parent
    is dead.
    """

    def __init__(self, folder: Path, **settings: str) -> None:
        self.data_dir, self.temp_dir = folder / "data", folder / "tmp"
        self.temp_dir.mkdir(parents=True, exist_ok=True)
        self.log = folder / "app.log"
        self.starts = 0
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        own = {k: v for k, v in os.environ.items() if not k.startswith(("WHISPER_", "GRADIO_"))}
        self._environment = own | {
            "TMPDIR": str(self.temp_dir),
            "WHISPER_PORT": str(port),
            "WHISPER_DATA_DIR": str(self.data_dir),
            "WHISPER_MODELS_DIR": str(PROJECT / "models"),
            **settings,
        }
        # No proxy of the environment stands between a bench and its own service.
        self.http = httpx.Client(base_url=self.url, timeout=120.0, trust_env=False)

    # The process.

    def start(self) -> None:
        """Returns at once; :meth:`wait_ready` waits."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(PROJECT / "app.py")],
                cwd=self._folder,
                env=self._environment,
                stdout=log,
                stderr=log,
            )
        self.starts += 1

    def wait_ready(self) -> float:
        """Seconds until a worker had made a real inference."""
        return until(self.ready, START_S, f"{self.url} is ready (its log: {self.log})")

    def ready(self) -> bool:
        if self.parent.poll() is not None:
            raise RuntimeError(f"the service ended with {self.parent.returncode}; see {self.log}")
        try:
            return self.http.get("/ready").status_code == 200
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        """SIGKILL to the parent alone."""
        self.parent.kill()
        self.parent.wait()

    def stop(self) -> int:
        """As an operator stops it; its exit code."""
        self.parent.send_signal(signal.SIGTERM)
        try:
            return self.parent.wait(STOP_S)
        finally:
            self.parent.kill()  # does nothing to one that has ended
            self.parent.wait()

    def close(self) -> None:
        """Leave no process behind, however the bench ends."""
        if self._process is not None:
            self.kill()
        for process in self.processes():
            signal_to(process.pid, signal.SIGKILL)
        self.http.close()

    @property
    def parent(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the service has not been started")
        return self._process

    def processes(self) -> list[Process]:
        """All that live, those of a dead parent included."""
        return working_in(self._folder)

    def workers(self) -> list[int]:
        """Processes of the present parent that hold a model or have begun to load one."""
        ours = children(self.parent.pid)
        return [p.pid for p in self.processes() if p.kind == "worker" and p.pid in ours]

    def gone(self, timeout_s: float = 10.0) -> list[Process]:
        """The processes that are left after a stop, once that time has passed in vain."""
        end = time.monotonic() + timeout_s
        while (left := self.processes()) and time.monotonic() < end:
            time.sleep(0.05)
        return left

    def leftovers(self) -> list[Path]:
        """Files that only exist while something works on them."""
        data = [
            path
            for pattern in ("jobs/*/spool-*", "incoming/*", "jobs/**/.*", "jobs/**/*.tmp")
            for path in self.data_dir.glob(pattern)
        ]
        return sorted({*data, *self.temp_dir.iterdir()})

    # The API.

    def submit(self, recording: Path, **query: str) -> str:
        """Upload a recording as a job; its id. Raises Refused when it is not accepted."""
        with recording.open("rb") as body:
            answer = self.http.post(
                "/api/jobs", params={"name": recording.name, **query}, content=body
            )
        if answer.status_code != 202:
            raise Refused(answer)
        return str(answer.json()["id"])

    def job(self, job_id: str) -> Job | None:
        """What the API says of a job; None when it does not know it."""
        answer = self.http.get(f"/api/jobs/{job_id}")
        if answer.status_code == 404:
            return None
        found: Job = answer.raise_for_status().json()
        return found

    def subtitles(self, job_id: str, format_name: str = "srt") -> bytes | None:
        """None when there is no such file."""
        answer = self.http.get(f"/jobs/{job_id}/files/{format_name}")
        return None if answer.status_code == 404 else answer.raise_for_status().content

    def history(self, job_id: str) -> list[dict[str, Any]]:
        answer = self.http.get(f"/api/jobs/{job_id}/history").raise_for_status().json()
        entries: list[dict[str, Any]] = answer["history"]
        return entries

    def jobs(self) -> list[Job]:
        """All jobs of this bench, as the API lists them."""
        found: list[Job] = []
        while True:
            page = self.http.get("/api/jobs", params={"limit": 200, "offset": len(found)})
            body = page.raise_for_status().json()
            found += body["jobs"]
            if len(found) >= body["total"] or not body["jobs"]:
                return found

    def worker_states(self) -> list[dict[str, Any]]:
        """As ``/health`` tells them; empty while there is no answer."""
        try:
            found: list[dict[str, Any]] = self.http.get("/health").json()["workers"]
        except (httpx.TransportError, ValueError, KeyError):
            return []
        return found


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of every bench that runs a service."""
    parser.add_argument("--model", default="tiny.en")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--speech", type=Path, default=PROJECT / "tests" / "data" / "ljspeech")
    parser.add_argument("--out", type=Path, default=Path("bench/out"))


def settings_of(args: argparse.Namespace) -> dict[str, str]:
    """What the options of :func:`add_options` mean for a service."""
    return {"WHISPER_MODEL": args.model, "WHISPER_DEVICE": args.device}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def signal_to(pid: int, number: signal.Signals) -> bool:
    """False when the process is gone already."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def until(condition: Callable[[], bool], timeout_s: float, what: str) -> float:
    """Ask another process again and again, but not for ever; the seconds it took."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > timeout_s:
            raise TimeoutError(f"waited {timeout_s:g} s in vain until {what}")
        time.sleep(0.05)
    return time.monotonic() - started
