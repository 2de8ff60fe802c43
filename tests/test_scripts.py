"""The Python API as people call it: plain scripts, piped scripts, a prompt, a notebook.

None of them guards its main module, and none stands in the project's folder.
"""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.connect import write_connection_file

from bench.processes import children
from tests.jobs.recordings import SHORT, joined
from tests.waiting import PATIENCE_S

SNIPPET = """
from parallel_transcriber import ParallelWhisperTranscriber
from transcriber import WhisperTranscriber
def show(who, segments):
    print(who, *(segment["text"] for segment in segments), flush=True)

p = ParallelWhisperTranscriber(model_size="tiny.en", compute_type="int8")
show("parallel:", p.transcribe_parallel({recording!r}, language="en"))
t = WhisperTranscriber("tiny.en", "cpu", "int8", True)
show("alone:", t.transcribe({recording!r}, language="en"))
""".format(recording=str(SHORT))

HELD = """
from parallel_transcriber import ParallelWhisperTranscriber
p = ParallelWhisperTranscriber(model_size="tiny.en", compute_type="int8")
def hold(fraction, text):
    print("begun", flush=True)
    input()
p.transcribe_parallel({recording!r}, progress_callback=hold)
"""


@pytest.fixture
def environment(root: Path, tiny_en: Path) -> dict[str, str]:
    return os.environ | {
        "PYTHONPATH": str(root),
        "PYTHONWARNINGS": "error::ResourceWarning",
        "WHISPER_MODELS_DIR": str(tiny_en.parent),
        "WHISPER_DEVICE": "cpu",
        "WHISPER_WORKERS": "2",
        "WHISPER_BEAM_SIZE": "1",
    }


@contextmanager
def watched(pids: list[int]) -> Iterator[None]:
    """Those processes are gone within a while after the block."""
    ends = {os.pidfd_open(pid): pid for pid in pids}
    try:
        yield
        until = time.monotonic() + PATIENCE_S
        waiting = set(ends)
        while waiting:
            ready = select.select(waiting, (), (), until - time.monotonic())[0]
            assert ready, f"outlives its parent: {[ends[each] for each in waiting]}"
            waiting -= set(ready)
    finally:
        for each in ends:
            os.close(each)


def assert_heard(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert_both_heard(done.stdout)


def assert_both_heard(shown: str) -> None:
    assert re.search(r"parallel: .*modern(?s:.*)alone: .*modern", shown), shown


def test_a_file_in_another_folder(tmp_path: Path, environment: dict[str, str]) -> None:
    script = tmp_path / "script.py"
    script.write_text(SNIPPET)
    done = subprocess.run(
        [sys.executable, str(script)], cwd="/", env=environment, capture_output=True, text=True
    )
    assert_heard(done)


def test_a_script_that_finds_the_project_by_itself(
    tmp_path: Path, environment: dict[str, str], root: Path
) -> None:
    del environment["PYTHONPATH"]
    script = tmp_path / "script.py"
    script.write_text(f"import sys\nsys.path.insert(0, {str(root)!r})\n" + SNIPPET)
    done = subprocess.run(
        [sys.executable, script.name],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert_heard(done)


def test_a_script_from_a_pipe(tmp_path: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-"],
        cwd=tmp_path,
        env=environment,
        input=SNIPPET,
        capture_output=True,
        text=True,
    )
    assert_heard(done)


def test_lines_at_the_prompt(tmp_path: Path, environment: dict[str, str]) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-i"],
        cwd=tmp_path,
        env=environment | {"TERM": "dumb"},
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.PIPE,
    ) as python:
        os.close(theirs)
        assert python.stderr is not None
        os.write(ours, SNIPPET.encode())
        try:
            # Ctrl-D counts only at the next prompt.
            shown = _read_until(ours, rb"alone: .*modern(.|\n)*>>> $")
            with watched(children(python.pid)):
                os.write(ours, b"\x04")
                said = python.stderr.read().decode()
                assert python.wait(PATIENCE_S) == 0, said
        finally:
            python.kill()
            os.close(ours)
    assert_both_heard(shown)
    assert "Traceback" not in said


def _read_until(terminal: int, words: bytes) -> str:
    shown = b""
    until = time.monotonic() + PATIENCE_S
    while not re.search(words, shown):
        assert select.select([terminal], (), (), until - time.monotonic())[0], shown
        shown += os.read(terminal, 4096)
    return shown.decode()


def test_a_cell_of_a_notebook(tmp_path: Path, environment: dict[str, str]) -> None:
    file, _ = write_connection_file(str(tmp_path / "kernel.json"))
    client = BlockingKernelClient(connection_file=file)
    client.load_connection_file()
    with subprocess.Popen(
        [sys.executable, "-m", "ipykernel_launcher", "-f", file],
        cwd=tmp_path,
        env=environment | {"IPYTHONDIR": str(tmp_path / "ipython")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as kernel:
        try:
            client.start_channels(hb=False)  # a busy machine misses beats
            client.wait_for_ready(timeout=PATIENCE_S)
            shown: list[str] = []
            answer = client.execute_interactive(
                SNIPPET,
                timeout=PATIENCE_S,
                output_hook=lambda message: shown.append(message["content"].get("text", "")),
            )
            assert answer["content"]["status"] == "ok", answer
            assert_both_heard("".join(shown))
            with watched(children(kernel.pid)):
                kernel.kill()
        finally:
            kernel.kill()
            client.stop_channels()
            client.context.destroy()


def test_nothing_outlives_a_script_that_is_killed(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    """Neither the workers nor the decoder, in the middle of their work."""
    script = tmp_path / "script.py"
    script.write_text(HELD.format(recording=str(joined(tmp_path / "long.wav", 8))))
    with subprocess.Popen(
        [sys.executable, str(script)],
        cwd="/",
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as python:
        assert python.stdout is not None
        assert python.stdout.readline() == "begun\n"
        pids = children(python.pid)
        assert len(pids) == 3
        with watched(pids):
            python.kill()
