"""``gpu``: what it shows once, live, as JSON, and without a card."""

from __future__ import annotations

import argparse
import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cli.arguments import parser
from cli.gpu import gpu, view
from core.errors import InvalidOption
from gpu.nvml import read_gpus
from tests.cli.conftest import Cli
from tests.gpu.fake_nvml import Card, FakeNvml, Mig, Process, absent
from tests.waiting import PATIENCE_S


def arguments(*given: str) -> argparse.Namespace:
    return parser().parse_args(["gpu", *given])


def shown(monkeypatch: pytest.MonkeyPatch, *cards: Card, width: int = 0) -> list[str]:
    FakeNvml(list(cards)).install(monkeypatch)
    return view(read_gpus(), width)


def test_card_is_one_line_and_its_processes_another(monkeypatch: pytest.MonkeyPatch) -> None:
    head, card, processes = shown(
        monkeypatch,
        Card(
            total_mib=24576,
            used_mib=12288,
            utilization=97,
            temperature=71,
            power_w=301.4,
            processes=[Process(20, 300, "Xorg"), Process(4711, 11000, "/usr/bin/python3")],
        ),
    )
    assert head.endswith("driver 580.65.06, CUDA up to 13.0")
    assert card == (
        "[0] NVIDIA GeForce RTX 3090 |  71°C,  97 %, 301 / 350 W |  12,288 /  24,576 MiB █████░░░░░"
    )
    assert processes.strip() == "python3/4711(11,000 MiB)  Xorg/20(300 MiB)"


def test_cards_stand_below_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown(monkeypatch, Card(name="L4"), Card(), Card(used_mib=20000, total_mib=81559))
    assert {line.index("|") for line in lines[1:]} == {lines[1].index("|")}
    assert [line[:3] for line in lines[1:]] == ["[0]", "[1]", "[2]"]


def test_what_is_not_known_is_a_question_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = Card(utilization=None, temperature=None, power_w=None, power_limit_w=None)
    bare.errors = {"nvmlDeviceGetMemoryInfo": "NOT_SUPPORTED"}
    bare.processes = [Process(5, None, None)]
    _, card, processes = shown(monkeypatch, bare)
    assert card == "[0] NVIDIA GeForce RTX 3090 |   ?°C,   ? %,   ? /   ? W | memory unknown"
    assert processes.strip().endswith("/5(? MiB)")


def test_lost_card_and_mig_devices_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    mig = Mig(total_mib=4864, used_mib=100, name="1g.5gb", processes=[Process(9, 100, "python")])
    lines = shown(monkeypatch, Card(mig=[mig, Mig()]), Card(errors={"*": "GPU_IS_LOST"}))
    assert lines[2] == "    0:0 1g.5gb |     100 /   4,864 MiB ░░░░░░░░░░"
    assert lines[3].strip() == "python/9(100 MiB)"
    assert lines[4].startswith("    0:1 ")
    assert lines[5].endswith("| NVML says: GPU is lost.")
    assert len(lines) == 6, "what MIG devices hold is not shown twice"


@pytest.mark.parametrize("width", range(50, 100, 7))
def test_processes_wrap_between_and_never_within(
    monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    processes = [Process(100 + i, 1000 - i, f"my-own program{i}") for i in range(9)]
    lines = shown(monkeypatch, Card(processes=processes), width=width)[2:]
    assert len(lines) > 2
    assert all(len(line) <= width for line in lines)
    found = [name for line in lines for name in line.strip().split("  ")]
    assert found[0] == "my-own_program0/100(1,000 MiB)"
    assert len(found) == 9


def test_name_of_a_process_cannot_steer_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown(monkeypatch, Card(processes=[Process(1, 2, "a\x1b[2Jb\nc")]))
    assert len(lines) == 3
    assert "\x1b" not in lines[2]


def test_without_a_terminal_it_is_shown_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    FakeNvml([Card()]).install(monkeypatch)
    assert gpu(arguments()) == 0
    out = capsys.readouterr().out
    assert out.count("[0]") == 1
    assert "\x1b" not in out


def test_json_has_everything_and_is_an_answer_without_a_gpu_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    FakeNvml([Card(processes=[Process(7, 1024, "python")])]).install(monkeypatch)
    assert gpu(arguments("--json")) == 0
    info = json.loads(capsys.readouterr().out)
    assert info["gpus"][0]["processes"][0] == {
        "pid": 7,
        "name": "python",
        "used": 1.0,
        "used_mib": 1024,
    }
    absent(monkeypatch)
    assert gpu(arguments("--json")) == 0
    info = json.loads(capsys.readouterr().out)
    assert (info["available"], info["gpus"]) == (False, [])


def test_no_gpu_is_told_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    FakeNvml([Card()], errors={"nvmlInit": "DRIVER_NOT_LOADED"}).install(monkeypatch)
    assert gpu(arguments()) == 1
    out, err = capsys.readouterr()
    assert out == ""
    expected = "No GPU: NVML says: Driver Not Loaded. What to do: whisper-for-subs doctor\n"
    assert err == expected
    FakeNvml([]).install(monkeypatch)
    assert gpu(arguments("--once")) == 1
    assert capsys.readouterr().err.startswith("No GPU: The driver shows none.")


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "0.01"])
def test_impossible_interval_is_refused(monkeypatch: pytest.MonkeyPatch, seconds: str) -> None:
    FakeNvml([Card()]).install(monkeypatch)
    with pytest.raises(InvalidOption, match="--interval"):
        gpu(arguments("--interval", seconds))


def test_command_answers_where_there_is_no_nvidia_library(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "pynvml.py").write_text("raise ImportError('No module named pynvml')\n")
    path = f"{tmp_path}:{Path(__file__).parents[2]}"
    done = cli("gpu", PYTHONPATH=path)
    assert done.returncode == 1
    assert "nvidia-ml-py is not installed" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_live_view_is_drawn_in_place_until_it_is_ended(
    environment: dict[str, str], tmp_path: Path, root: Path, number: signal.Signals
) -> None:
    FakeNvml([Card(processes=[Process(7, 1024, "python")])]).write(tmp_path)
    main, its = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "cli.main", "gpu", "--interval", "0.1"],
        stdin=its,
        stdout=its,
        stderr=subprocess.PIPE,
        env=environment | {"PYTHONPATH": f"{tmp_path}:{root}"},
        start_new_session=True,
    ) as process:
        os.close(its)
        text = ""
        while text.count("[0] NVIDIA") < 3:
            text += os.read(main, 4096).decode(errors="replace")
        process.send_signal(number)
        _, complaint = process.communicate(timeout=PATIENCE_S)
    os.close(main)
    assert process.returncode == (0 if number == signal.SIGINT else -signal.SIGTERM)
    assert complaint == b""
    assert text.count("\x1b[3A") >= 2, "three lines, drawn over each other"
    assert "python/7(1,024 MiB)" in text
    assert "\x1b[?" not in text, "no state of the terminal is changed that it could stay in"
