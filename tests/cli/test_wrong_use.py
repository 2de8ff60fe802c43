from __future__ import annotations

from pathlib import Path

import pytest

from cli.main import main
from tests.cli.conftest import Cli
from tests.jobs.recordings import SHORT

WRONG: list[tuple[list[str], int, str]] = [
    (["--model", "tinny"], 2, "Did you mean 'tiny'?"),
    (["--language", "Germann"], 2, "Did you mean 'german'?"),
    (["--language", "zh"], 2, "understands English only"),
    (["--task", "translate"], 2, "cannot translate"),
    (["--task", "sing"], 2, "invalid choice"),
    (["--formats", "srt,doc"], 2, "Choose from: srt"),
    (["--formats", ","], 2, "No subtitle format"),
    (["--beam-size", "0"], 2, "beam_size"),
    (["--beam-size", "many"], 2, "invalid int value"),
    (["--batch-size", "1000"], 2, "batch_size"),
    (["--compute-type", "int7"], 2, "Unknown compute type"),
    (["--min-segment", "50", "--max-segment", "20"], 2, "must not exceed"),
    (["--vad-threshold", "2"], 2, "between 0 and 1"),
    (["--audio-track", "-1"], 2, "at least 0"),
    (["--gpus", "0", "--device", "cpu"], 2, "contradict each other"),
    (["--gpus", ","], 2, "names no GPU"),
    (["--gpus", "99", "--device", "auto"], 1, "CUDA_VISIBLE_DEVICES"),
    (["--report", "nowhere/r.json"], 2, "cannot be written"),
    (["--output-dir", f"{SHORT}/x"], 2, "may write to"),
    (["--colour"], 2, "unrecognized arguments"),
]


@pytest.mark.parametrize(("arguments", "code", "words"), WRONG)
def test_wrong_use_ends_before_any_work_with_a_reason(
    arguments: list[str],
    code: int,
    words: str,
    here: Path,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(here)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert exit_code(["transcribe", str(SHORT), *arguments]) == code
    said = capsys.readouterr()
    assert words in said.err
    assert said.out == ""
    assert "Loading Whisper" not in said.err
    assert list(here.iterdir()) == []


def exit_code(arguments: list[str]) -> int:
    try:
        return main(arguments)
    except SystemExit as ended:
        return int(ended.code or 0)


def test_the_command_and_a_file_must_be_given(cli: Cli) -> None:
    assert cli().returncode == 2
    assert "FILE" in cli("transcribe").stderr
    assert "invalid choice" in cli("sing").stderr


def test_nothing_is_loaded_when_no_file_can_be_read(cli: Cli, here: Path) -> None:
    done = cli("transcribe", "gone.wav", "gone.mp4")
    assert done.returncode == 2
    assert done.stderr.count("error: ") == 2
    assert "Loading" not in done.stderr


def test_a_wrong_setting_of_the_environment_is_named(cli: Cli) -> None:
    done = cli("transcribe", SHORT, WHISPER_BATCH_SIZE="-1")
    assert done.returncode == 2
    assert "batch_size" in done.stderr
    done = cli("models", WHISPER_ALLOWED_HUB_MODELS="not json")
    assert done.returncode == 2
    assert "lists are JSON" in done.stderr
