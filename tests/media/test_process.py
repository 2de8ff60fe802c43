"""A crash, a hang or an appetite of libav is an error of that one job."""

from __future__ import annotations

import logging
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import (
    Cancelled,
    DiskFull,
    MediaLimitExceeded,
    SubtitleError,
    UnreadableMedia,
    WorkerError,
)
from core.pcm import Int16, PcmSpool
from media.container import DecodeLimits
from media.process import IsolatedProcess, ProcessLimits, RemoteTraceback
from tests.media import targets
from tests.media.conftest import MakeFile
from tests.waiting import PATIENCE_S

ROOT = Path(__file__).parents[2]


def run(target: Callable[..., object], *args: object, limits: ProcessLimits | None = None) -> Any:
    with IsolatedProcess(target, *args, limits=limits) as process:
        list(process.messages())
        return process.result


def test_recording_is_decoded_in_the_other_process(
    media_file: MakeFile, spool: PcmSpool, speech: Int16
) -> None:
    path = media_file("speech.flac")
    with IsolatedProcess(targets.decode, path, spool, DecodeLimits(), name="ingest") as process:
        read = 0
        for samples in process.messages():
            assert isinstance(samples, int)
            read += samples
            assert spool.samples() >= read
        assert process.result == read == len(speech)
    np.testing.assert_array_equal(spool.read_int16(0, read), speech)


def test_messages_arrive_in_order_and_then_the_result() -> None:
    with IsolatedProcess(targets.count, 500) as process:
        assert list(process.messages()) == list(range(500))
        assert process.finished
        assert process.result == "done"
        assert process.receive() == []


DEATHS: dict[str, tuple[Callable[..., object], tuple[object, ...], type[SubtitleError], str]] = {
    "segfault": (targets.read_address_zero, (), UnreadableMedia, r"crashed .*SIGSEGV"),
    "abort": (targets.die_by, (signal.SIGABRT,), UnreadableMedia, r"crashed .*SIGABRT"),
    "out-of-memory killer": (targets.die_by, (signal.SIGKILL,), UnreadableMedia, "memory ran out"),
    "term": (targets.die_by, (signal.SIGTERM,), UnreadableMedia, "stopped .*SIGTERM"),
    "real-time signal": (targets.die_by, (40,), UnreadableMedia, "signal 40"),
    "exit": (targets.leave, (3,), UnreadableMedia, "exit code 3"),
    "exit 0": (targets.leave, (0,), UnreadableMedia, "exit code 0"),
    "processor time": (targets.burn_processor_time, (), UnreadableMedia, "processor time"),
    "memory": (targets.take_memory, (), MediaLimitExceeded, "more than 2 GiB"),
    "libraries' memory": (
        targets.take_memory_outside_python,
        (),
        MediaLimitExceeded,
        "more than 2 GiB",
    ),
    "typed error": (targets.refuse, (), MediaLimitExceeded, "too strange"),
    "bug": (targets.stumble, (), WorkerError, "ZeroDivisionError: a bug"),
    "result": (targets.return_what_cannot_be_sent, (), WorkerError, "cannot be sent"),
    "message": (targets.send_what_cannot_be_sent, (), WorkerError, "cannot pickle"),
}


@pytest.mark.parametrize("name", DEATHS)
def test_death_of_the_child_is_a_typed_error(name: str) -> None:
    target, args, error, words = DEATHS[name]
    cpu_s = 2 if target is targets.burn_processor_time else round(PATIENCE_S)
    with pytest.raises(error, match=words) as caught:
        run(target, *args, limits=ProcessLimits(cpu_s=cpu_s, stall_s=PATIENCE_S))
    assert type(caught.value) is error


def test_error_keeps_its_hint_and_the_childs_traceback() -> None:
    with pytest.raises(MediaLimitExceeded) as caught:
        run(targets.refuse)
    assert caught.value.hint == "less of it"
    assert isinstance(caught.value.__cause__, RemoteTraceback)
    assert "in refuse" in str(caught.value.__cause__)


def test_hang_is_noticed_by_its_silence() -> None:
    with IsolatedProcess(targets.stop_itself) as process:
        messages = process.messages()
        assert next(messages) == "before"
        process._limits = ProcessLimits(stall_s=1.0)  # not for the start, which may take longer
        with pytest.raises(UnreadableMedia, match="no progress for 1 s"):
            next(messages)


def test_wall_clock_ends_even_a_busy_child() -> None:
    with (
        IsolatedProcess(targets.send_for_ever, limits=ProcessLimits(wall_clock_s=1.0)) as process,
        pytest.raises(MediaLimitExceeded, match="longer than 1 s"),
    ):
        for _ in process.messages():
            pass


def test_cancel_from_another_thread_ends_the_wait() -> None:
    with IsolatedProcess(targets.wait_for_ever) as process:
        messages = process.messages()
        child = next(messages)
        canceller = threading.Thread(target=process.cancel)
        canceller.start()
        with pytest.raises(Cancelled):
            next(messages)
        canceller.join()
    assert isinstance(child, int)
    assert not Path(f"/proc/{child}").exists()


def test_leaving_early_kills_the_child() -> None:
    with IsolatedProcess(targets.wait_for_ever) as process:
        child = next(process.messages())
    assert not Path(f"/proc/{child}").exists()
    process.close()


def test_many_runs_leak_no_descriptors() -> None:
    run(targets.count, 1)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        run(targets.count, 1)
        with pytest.raises(WorkerError):
            run(targets.stumble)
    assert len(os.listdir("/proc/self/fd")) == before


def test_parent_may_wait_for_a_moment_only() -> None:
    with IsolatedProcess(targets.wait_for_ever) as process:
        assert len(process.receive()) == 1
        assert process.receive(timeout_s=0.0) == []


def test_file_size_limit_is_a_full_disk(media_file: MakeFile, spool: PcmSpool) -> None:
    args = (media_file("speech.wav"), spool, DecodeLimits())
    with pytest.raises(DiskFull):
        run(targets.decode, *args, limits=ProcessLimits(file_bytes=100_000))
    assert spool.path.stat().st_size <= 100_000


def test_size_of_any_other_file_is_limited_too(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with pytest.raises(WorkerError, match="File too large"):
        run(targets.write_a_large_file, path, 10**6, limits=ProcessLimits(file_bytes=10**5))
    assert path.stat().st_size == 10**5


def test_wall_clock_ends_a_child_that_sleeps() -> None:
    with pytest.raises(MediaLimitExceeded, match="longer than 1 s"):
        run(targets.wait_for_ever, limits=ProcessLimits(wall_clock_s=1.0))


def test_libraries_cannot_take_more_than_the_limit() -> None:
    limits = ProcessLimits(memory_bytes=256 * 1024**2)
    with IsolatedProcess(targets.take_memory_outside_python, limits=limits) as process:
        taken = next(process.messages())
    assert isinstance(taken, int)
    assert 128 * 1024**2 < taken <= 256 * 1024**2


def test_open_files_are_limited(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert 20 < run(targets.open_many_files, tmp_path / "file") < 64


def test_secrets_of_the_environment_do_not_reach_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "s3cret-value"
    for name in ("DATABASE_URL", "HF_TOKEN", "WHISPER_API_KEYS_FILE", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, secret)
    monkeypatch.setenv("TZ", "Europe/Berlin")
    seen = run(targets.tell_environment)
    assert secret not in str(seen)
    assert seen["library"] is None
    assert seen["python"]["TZ"] == "Europe/Berlin"
    assert set(seen["python"]) <= {"HOME", "LANG", "LC_ALL", "LC_CTYPE", "PATH", "TMPDIR", "TZ"}
    assert "TZ=Europe/Berlin" in seen["program"]
    assert os.environ["DATABASE_URL"] == secret


def test_programs_started_from_the_child_gain_no_rights() -> None:
    assert "NoNewPrivs:\t1" in run(targets.gain_no_rights)


def test_child_is_limited_named_and_light() -> None:
    limits = ProcessLimits(cpu_s=50, file_bytes=123, memory_bytes=10**9)
    with IsolatedProcess(targets.describe_itself, name="ingest", limits=limits) as process:
        list(process.messages())
        seen = process.result
    assert (seen["RLIMIT_CORE"], seen["RLIMIT_CPU"], seen["RLIMIT_FSIZE"]) == (0, 50, 123)
    assert isinstance(seen["RLIMIT_AS"], int)
    assert 10**9 < seen["RLIMIT_AS"] < 10**11
    assert seen["comm"] == "whisper-ingest"
    assert seen["ignores_sigint"] is True
    assert signal.SIGINT not in seen["blocked"]  # type: ignore[operator]
    heavy = {"torch", "gradio", "faster_whisper", "ctranslate2", "pydantic", "fastapi"}
    assert not heavy & set(seen["modules"])  # type: ignore[call-overload]


def test_ctrl_c_at_start_is_the_parents_business() -> None:
    with IsolatedProcess(targets.count, 3) as process:
        assert process.pid is not None
        os.kill(process.pid, signal.SIGINT)
        assert list(process.messages()) == [0, 1, 2]


def test_log_lines_reach_the_parents_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        run(targets.log_something)
    assert "Damaged data at 1.5 s in <class 'object'>" in caplog.messages
    assert "ZeroDivisionError: a bug" in caplog.text


def test_thread_that_started_the_child_may_end() -> None:
    started: list[IsolatedProcess[str]] = []
    thread = threading.Thread(target=lambda: started.append(IsolatedProcess(targets.count, 3)))
    thread.start()
    thread.join()
    with started[0] as process:
        assert list(process.messages()) == [0, 1, 2]


def test_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "from media.process import IsolatedProcess\n"
        "from tests.media import targets\n"
        "process = IsolatedProcess(targets.wait_for_ever)\n"
        "print(next(process.messages()), flush=True)\n"
        "input()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, str(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    with parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
    ended, _, _ = select.select([child], [], [], PATIENCE_S)
    os.close(child)
    assert ended
