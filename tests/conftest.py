"""What all tests share: the installed models, and an environment without the user's settings."""

from __future__ import annotations

import logging
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from model_store.packaged import ensure_installed, installed_models
from tests.postgres import database as database
from tests.postgres import database_settings as database_settings
from tests.postgres import postgres as postgres
from tests.postgres import postgres_url as postgres_url

ROOT = Path(__file__).resolve().parent.parent

# A busy machine may take any time over an example.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")

# A shell that starts the tests in the background has them ignore Ctrl-C, and so would every program
# they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """A command that runs inside a test sets up logging: its handler writes to what that test's
    standard error was, and must not outlive it."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


class _Kept(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture(autouse=True)
def impossible() -> Iterator[list[str]]:
    """An event that a slot of a worker pool cannot have in its state fails the test; a service
    would log it."""
    kept, log = _Kept(), logging.getLogger("workers.slot_state")
    log.addHandler(kept)
    yield kept.lines
    log.removeHandler(kept)
    assert kept.lines == []


def _installed(name: str) -> Path:
    if name not in installed_models():
        pytest.skip(f"the packages of the model {name} are not installed (make setup warned)")
    return ensure_installed(name, ROOT / "models")


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT


@pytest.fixture(scope="session")
def models_dir() -> Path:
    """The directory that holds the installed models."""
    return ROOT / "models"


@pytest.fixture(scope="session")
def tiny_en() -> Path:
    """Files of the English model tiny.en, verified; skips where its package is gone."""
    return _installed("tiny.en")


@pytest.fixture(scope="session")
def base() -> Path:
    """Files of the multilingual model base, verified; skips where its packages are gone."""
    return _installed("base")


@pytest.fixture(scope="session")
def chromium() -> str:
    """Program of the browser for ``playwright.chromium.launch(executable_path=…)``."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium here (make test says how to install it)")
    return path


@pytest.fixture(scope="session")
def ffmpeg() -> str:
    """The ffmpeg program, which makes test recordings in every container."""
    path = shutil.which("ffmpeg")
    if path is None:
        pytest.skip("no ffmpeg here (make test says how to install it)")
    return path


@pytest.fixture(autouse=True)
def _without_the_users_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(("WHISPER_", "GRADIO_")) or name == "DATABASE_URL":
            monkeypatch.delenv(name)
