"""A real app process on a free port, recordings to send it, and a browser to look at it."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pysubs2
import pytest
import soundfile
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from bench.processes import working_in
from bench.service import signal_to
from tests.waiting import PATIENCE_S, eventually

NewProfile = Callable[..., BrowserContext]

ROOT = Path(__file__).resolve().parent.parent.parent
CLIPS = ROOT / "tests" / "data" / "ljspeech"


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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def start_app(folder: Path, *, port: int = 0, **settings: str) -> App:
    """Start ``python app.py``; returns as soon as it answers, before its model is loaded."""
    port = port or free_port()
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("WHISPER_", "GRADIO_"))}
    environment |= {
        "WHISPER_PORT": str(port),
        "WHISPER_DATA_DIR": str(folder / "data"),
        "WHISPER_MODELS_DIR": str(ROOT / "models"),
        "WHISPER_DEVICE": "cpu",
        **settings,
    }
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


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory, tiny_en: Path) -> Iterator[App]:
    """One app for all tests of the page, with the small English model."""
    running = start_app(tmp_path_factory.mktemp("app"), WHISPER_MODEL="tiny.en")
    eventually(lambda: running.get("/ready")[0] == 200, "the model is loaded")
    yield running
    assert stop_app(running) == 0
    assert "Traceback" not in running.log.read_text()


@pytest.fixture(scope="session")
def transcripts() -> list[str]:
    with (CLIPS / "transcripts.tsv").open(encoding="utf-8") as file:
        return [row["transcript"] for row in csv.DictReader(file, delimiter="\t")]


def plain_text(srt: str) -> str:
    return " ".join(event.plaintext for event in pysubs2.SSAFile.from_string(srt))


def join(path: Path, times: int) -> Path:
    """All clips after each other, so many times over: 51 seconds each time."""
    clips = [soundfile.read(clip, dtype="int16") for clip in sorted(CLIPS.glob("*.flac"))]
    pause = np.zeros(4000, dtype=np.int16)
    samples = np.concatenate([part for clip, _ in clips for part in (clip, pause)] * times)
    soundfile.write(path, samples, 16_000)
    return path


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """51 seconds of real speech."""
    return join(tmp_path_factory.mktemp("recordings") / "printing.flac", 1)


@pytest.fixture(scope="session")
def long_recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Long enough to watch: over 3 minutes of real speech."""
    return join(tmp_path_factory.mktemp("recordings") / "long talk.flac", 4)


@pytest.fixture(scope="session")
def not_a_recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recordings") / "notes & more.mp3"
    path.write_text("These are notes, not sound.\n" * 100, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Browser]:
    expect.set_options(timeout=1000 * PATIENCE_S)
    with sync_playwright() as playwright:
        # A container's root may not use the sandbox; what is shown is our own page.
        running = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def profile(browser: Browser) -> Iterator[NewProfile]:
    """Make a fresh browser profile, which has never seen the app."""
    made: list[BrowserContext] = []

    def make(width: int = 1280, height: int = 900, **options: Any) -> BrowserContext:
        made.append(browser.new_context(viewport={"width": width, "height": height}, **options))
        made[-1].set_default_timeout(1000 * PATIENCE_S)
        return made[-1]

    yield make
    for context in made:
        context.close()


@pytest.fixture
def page(profile: NewProfile, app: App) -> Iterator[Page]:
    """The app's page in a fresh browser profile; a script error on it fails the test."""
    context = profile()
    opened = context.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.goto(app.url)
    opened.wait_for_selector("#start")
    yield opened
    context.close()
    assert errors == []
