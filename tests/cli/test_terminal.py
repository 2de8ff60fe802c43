"""The command on a terminal, interrupted, and what it loads before it answers."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from tests.jobs.recordings import SHORT, joined
from tests.waiting import PATIENCE_S, eventually

HEAVY = ("gradio", "torch", "fastapi", "numpy", "av")


def processes_of(session: int) -> list[int]:
    """Living processes of a session; one that has ended and waits to be collected is not."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[3]) == session and fields[0] not in "ZX":
                found.append(int(folder.name))
    return found


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        (signal.SIGINT, "Loading Whisper model"),
        (signal.SIGINT, "Processing segment 0"),
        (signal.SIGTERM, "Processing segment 0"),
    ],
)
@pytest.mark.usefixtures("tiny_en")
def test_an_interrupted_command_ends_before_its_work_and_leaves_nothing(
    environment: dict[str, str], here: Path, tmp_path: Path, number: signal.Signals, moment: str
) -> None:
    joined(here / "a.wav", 8)
    with subprocess.Popen(
        [sys.executable, "-m", "cli.main", "transcribe", "a.wav", "--workers", "2"],
        cwd=here,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if moment in line:
                break
        assert len(processes_of(process.pid)) >= 3
        # As a terminal does it: to every process of the foreground.
        os.killpg(process.pid, number)
        rest = process.stderr.read()
        process.wait(PATIENCE_S)
    assert process.returncode == 130
    assert rest.endswith("Interrupted.\n")
    assert "Traceback" not in rest
    eventually(lambda: not processes_of(process.pid), "no process is left")
    assert os.listdir(here) == ["a.wav"]
    assert list((tmp_path / "tmp").glob("*whisper*")) == []


@pytest.mark.usefixtures("tiny_en")
def test_on_a_terminal_a_bar_moves_and_the_log_is_silent(
    environment: dict[str, str], here: Path
) -> None:
    joined(here / "a.wav")
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 120, 0, 0))
    with subprocess.Popen(
        [sys.executable, "-m", "cli.main", "transcribe", "a.wav"],
        cwd=here,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        shown = _read_all(ours).decode()
        assert process.wait(PATIENCE_S) == 0
    lines = [line.strip() for line in shown.replace("\n", "\r").split("\r") if line.strip()]
    assert lines[0] == "Loading the model …"
    moving = [line for line in lines if line.startswith("a.wav") and "/0:5" in line]
    assert any("CPU 0: segment " in line for line in moving)
    assert any(" left" in line and "x, " in line for line in moving)
    assert "subtitles, English, tiny.en" in lines[-1]
    assert " INFO " not in shown


def _read_all(terminal: int) -> bytes:
    """Everything until the other side closes, which Linux reports as an I/O error."""
    content = b""
    while True:
        try:
            block = os.read(terminal, 4096)
        except OSError:
            block = b""
        if not block:
            os.close(terminal)
            return content
        content += block


def test_help_answers_without_loading_anything(root: Path) -> None:
    code = (
        "import sys\n"
        "from cli.main import main\n"
        "try: main(['transcribe', '--help'])\n"
        "except SystemExit: pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"
    for option in ("--word-timestamps", "--no-word-timestamps", "--report", "exit codes:", "130"):
        assert option in done.stdout


def test_a_transcription_needs_neither_the_web_nor_torch_nor_a_database(root: Path) -> None:
    heavy = ("gradio", "torch", "fastapi", "sqlalchemy", "alembic")
    code = (
        f"import sys, cli.transcribe\nprint([name for name in {heavy!r} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.usefixtures("tiny_en")
def test_a_reader_that_leaves_is_no_crash(environment: dict[str, str], here: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as stdout:
        done = subprocess.run(
            [sys.executable, "-m", "cli.main", "transcribe", str(SHORT), "--output-dir", "."],
            cwd=here,
            env=environment,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            timeout=PATIENCE_S,
        )
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr
    assert (here / "LJ001-0002.srt").exists()
