from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.jobs.recordings import small_disk
from tests.waiting import PATIENCE_S

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The user's cache folder, empty."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def environment(root: Path, tmp_path: Path, cache: Path) -> dict[str, str]:
    """As a user has it who calls the command from a folder of his own."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    return os.environ | {
        "PYTHONPATH": str(root),
        "PYTHONWARNINGS": "error::ResourceWarning",
        "TMPDIR": str(temporary),
        "XDG_CACHE_HOME": str(cache),
        "WHISPER_MODELS_DIR": str(root / "models"),
        "WHISPER_MODEL": "tiny.en",
        "WHISPER_DEVICE": "cpu",
        "WHISPER_WORKERS": "1",
        "WHISPER_BEAM_SIZE": "1",
    }


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """The folder the command is called from."""
    folder = tmp_path / "here"
    folder.mkdir()
    return folder


@pytest.fixture
def cli(environment: dict[str, str], here: Path) -> Cli:
    """Run the command to its end in a process of its own."""

    def run(*arguments: str | Path, **settings: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "cli.main", *map(str, arguments)],
            cwd=here,
            env=environment | settings,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    return run


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk with room for 33 s of audio."""
    with small_disk(tmp_path / "disk") as path:
        yield path
