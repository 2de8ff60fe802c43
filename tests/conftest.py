"""What all tests share: the installed models, and an environment without the user's settings."""

from __future__ import annotations

import logging
import os
import shutil
import signal
from collections import Counter
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
for profile, examples in (("ordinary", 50), ("long", 1000)):
    hypothesis.settings.register_profile(
        profile,
        deadline=None,
        max_examples=examples,
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
    )

# A shell that starts the tests in the background has them ignore Ctrl-C, and so would every program
# they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

SLOW = {
    "browser": {"chromium"},
    "model": {"tiny_en", "base"},
    "process": {"bench", "cli", "get", "postgres", "start_service", "IsolatedProcess"},
}
"""Markers, and what gives them to a test: fixtures that it uses, or names that its file imports.
``make test-fast`` leaves these tests out."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="fuzz for long: make test-all")
    parser.addoption("--docker", action="store_true", help="build and run the image: test-docker")


def pytest_configure(config: pytest.Config) -> None:
    hypothesis.settings.load_profile("long" if config.getoption("long") else "ordinary")


def pytest_xdist_auto_num_workers() -> int:
    """One for each core that this process may use."""
    return len(os.sched_getaffinity(0))


@pytest.hookimpl(tryfirst=True)  # before -m selects by the markers
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the slow tests and, where several processes share the files, begin with those."""
    weights: Counter[Path] = Counter()
    for item in items:
        assert isinstance(item, pytest.Function)
        used = {*item.fixturenames, *vars(item.module)}
        for name, signs in SLOW.items():
            if signs & used:
                item.add_marker(name)
        weights[item.path] += sum(item.get_closest_marker(name) is not None for name in SLOW)
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: -weights[item.path])


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
def long_run(pytestconfig: pytest.Config) -> bool:
    """Whether there is time for many more examples."""
    return bool(pytestconfig.getoption("long"))


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
