"""Real app processes on free ports, for tests that look at the app from outside."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.processes import working_in
from bench.service import free_port, signal_to
from tests.waiting import PATIENCE_S, eventually

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class App:
    """A running app."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path
    data_dir: Path

    def get(self, path: str) -> tuple[int, Any]:
        """Status and JSON of an answer."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=PATIENCE_S) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    def wait_ready(self) -> None:
        """Until a worker has loaded the model."""
        eventually(lambda: self.get("/ready")[0] == 200, "the model is loaded")

    @contextmanager
    def standing_still(self) -> Iterator[list[int]]:
        """Stop the workers meanwhile, so that no job comes to its end; their pids."""
        workers = [each.pid for each in working_in(self.data_dir.parent) if each.kind == "worker"]
        assert workers
        for pid in workers:
            signal_to(pid, signal.SIGSTOP)
        try:
            yield workers
        finally:
            for pid in workers:
                signal_to(pid, signal.SIGCONT)


def start_app(folder: Path, **settings: str) -> App:
    """Start ``python app.py``; returns as soon as it answers, before its model is loaded."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("WHISPER_", "GRADIO_"))}
    environment |= {
        "WHISPER_PORT": str(free_port()),
        "WHISPER_DATA_DIR": str(folder / "data"),
        "WHISPER_MODELS_DIR": str(ROOT / "models"),
        "WHISPER_DEVICE": "cpu",
        "WHISPER_MODEL": "tiny.en",
        "WHISPER_BEAM_SIZE": "1",
        **settings,
    }
    port = int(environment["WHISPER_PORT"])
    log = folder / "app.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "app.py")], cwd=folder, env=environment, stderr=file
        )
    app = App(f"http://127.0.0.1:{port}", process, log, folder / "data")
    eventually(lambda: process.poll() is not None or answers(port), "the app answers")
    assert process.poll() is None, log.read_text()
    return app


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def stop_app(app: App) -> int:
    app.process.send_signal(signal.SIGTERM)
    try:
        return app.process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        app.process.kill()
        app.process.wait()
        raise


@contextmanager
def running_app(folder: Path, **settings: str) -> Iterator[App]:
    """An app for as long as the block lasts, which then ends in order and has logged no crash."""
    app = start_app(folder, **settings)
    try:
        yield app
    finally:
        code = app.process.poll()
        code = stop_app(app) if code is None else code
    assert code == 0
    said = app.log.read_text()
    assert "Traceback" not in said, said
