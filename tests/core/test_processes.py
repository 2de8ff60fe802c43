"""Children are programs of their own: they find our modules, and nothing of them is left behind."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import threading
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from core.errors import WorkerError
from core.processes import ChildProcess

End: TypeAlias = "Connection[Any, Any]"


def echo(connection: End, *args: object) -> None:
    connection.send(args)
    connection.send(connection.recv())


def describe(connection: End) -> None:
    main = sys.modules["__main__"].__file__
    connection.send((sys.path, Path("/proc/self/comm").read_text(), main, os.getcwd()))


def leave(connection: End, code: int) -> None:
    sys.exit(code)


def leave_a_program(connection: End) -> None:
    connection.send(subprocess.Popen(["sleep", "600"], close_fds=False).pid)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_target_runs_with_its_arguments_and_a_pipe_both_ways() -> None:
    child = ChildProcess(echo, 1, {"two": 3}, name="echo")
    assert child.connection.recv() == (1, {"two": 3})
    child.connection.send(b"x" * 10**6)
    assert child.connection.recv() == b"x" * 10**6
    assert child.join() == 0
    child.close()


def test_arguments_larger_than_the_pipes_arrive() -> None:
    child = ChildProcess(echo, b"x" * 10**7, name="echo")
    assert child.connection.recv() == (b"x" * 10**7,)
    child.kill()
    assert child.join() == -signal.SIGKILL
    child.close()


def test_child_has_the_parents_path_and_its_own_main_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "only_here.py").write_text(
        "def target(connection):\n    connection.send(__file__)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", "relative", *sys.path])
    child = ChildProcess(importlib.import_module("only_here").target, name="elsewhere")
    assert child.connection.recv() == str(tmp_path / "only_here.py")
    child.join()
    child.close()
    child = ChildProcess(describe, name="a name of more than 15 characters")
    path, comm, main, folder = child.connection.recv()
    child.join()
    child.close()
    assert path[:2] == [str(tmp_path), str(tmp_path / "relative")]
    assert comm == "a name of more \n"
    assert Path(main).name == "child_main.py"
    assert folder == str(tmp_path)


def test_our_modules_are_found_even_where_the_caller_took_them_off_its_path(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each not in ("", str(root))])
    child = ChildProcess(describe, name="lost")
    assert child.connection.recv()[0][-1] == str(root)
    child.join()
    child.close()


def test_a_working_directory_that_is_gone_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    gone.rmdir()
    child = ChildProcess(echo, name="homeless")
    assert child.connection.recv() == ()
    child.kill()
    child.join()
    child.close()


def test_sentinel_tells_the_end_and_the_exit_code_why() -> None:
    child = ChildProcess(leave, 7, name="leaves")
    assert wait([child.sentinel], 60.0) == [child.sentinel]
    assert child.join() == 7
    child.close()
    child.close()
    child = ChildProcess(echo, name="waits")
    assert child.join(0.0) is None
    assert child.exitcode is None
    assert child.kill() is True
    assert child.join() == child.exitcode == -signal.SIGKILL
    assert not Path(f"/proc/{child.pid}").exists()
    child.close()


def test_a_program_the_child_left_behind_does_not_hide_its_end() -> None:
    child = ChildProcess(leave_a_program, name="leaves")
    program = child.connection.recv()
    try:
        assert wait([child.sentinel], 60.0) == [child.sentinel]
        with pytest.raises(EOFError):
            child.connection.recv()
    finally:
        os.kill(program, signal.SIGKILL)
    assert child.join() == 0
    child.close()


def test_a_kill_after_the_end_hits_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    child = ChildProcess(leave, 0, name="leaves")
    child.join()
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("that pid may be another's"))
    assert child.kill() is False
    child.close()


def test_what_cannot_be_sent_is_told_before_anything_starts() -> None:
    before = open_files()
    with pytest.raises(WorkerError, match=r"'odd' cannot be told what to do: .*lock"):
        ChildProcess(echo, threading.Lock(), name="odd")
    with pytest.raises(WorkerError, match="'odd' cannot be told"):
        ChildProcess(lambda connection: None, name="odd")
    assert open_files() == before


def test_a_start_that_fails_raises_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    before = open_files()
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(FileNotFoundError):
        ChildProcess(echo, name="never")
    assert open_files() == before
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_a_child_that_cannot_import_its_target_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "soon_gone.py").write_text("def target(connection): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    target = importlib.import_module("soon_gone").target
    (tmp_path / "soon_gone.py").unlink()
    child = ChildProcess(target, name="lost")
    assert child.join() == 1
    child.close()
    assert "No module named 'soon_gone'" in capfd.readouterr().err


def test_a_parent_that_dies_while_the_child_starts_leaves_no_traceback(root: Path) -> None:
    ours, theirs = Pipe()
    ours.close()
    with theirs, open(os.devnull) as lifeline:
        descriptors = theirs.fileno(), lifeline.fileno()
        done = subprocess.run(
            [
                sys.executable,
                "-P",
                str(root / "core" / "child_main.py"),
                *map(str, descriptors),
                "x",
            ],
            pass_fds=descriptors,
            capture_output=True,
        )
    assert (done.returncode, done.stderr) == (1, b"")


def test_many_children_leak_no_descriptors() -> None:
    before = open_files()
    for code in range(3):
        child = ChildProcess(leave, code, name="leaves")
        assert child.join() == code
        child.close()
    assert open_files() == before
