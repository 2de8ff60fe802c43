from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.jobs.recordings import small_disk

DEADLINE_S = 120.0

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Poll with a deadline: for what happens in other processes and cannot be waited on."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {DEADLINE_S} s: {what}"
        time.sleep(0.005)


@pytest.fixture
def environment(root: Path, tmp_path: Path) -> dict[str, str]:
    """As a user has it who calls the command from a folder of his own."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    return os.environ | {
        "PYTHONPATH": str(root),
        "PYTHONWARNINGS": "error::ResourceWarning",
        "TMPDIR": str(temporary),
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
            timeout=DEADLINE_S,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    return run


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk with room for 33 s of audio."""
    with small_disk(tmp_path / "disk") as path:
        yield path
