"""The commands that plan memory and write settings, as documented."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli import gpu_optimize
from cli.gpu_optimize import PROFILES
from cli.main import main
from core.settings import Settings
from gpu.choice import Card as CardInMemory
from jobs import cards
from tests.conftest import ROOT
from tests.gpu.fake_nvml import Card, FakeNvml, Process, absent

PLAN = ["plan", "--model", "large-v3", "--precision", "int8", "--batch-size", "8"]


@pytest.fixture(autouse=True)
def own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WHISPER_DATA_DIR", str(tmp_path / "data"))
    for name in ("CUDA_VISIBLE_DEVICES", "WHISPER_DEVICE", "WHISPER_MODEL"):
        monkeypatch.delenv(name, raising=False)


def test_documented_call_answers_without_a_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*PLAN, "--gpu-memory", "8"]) == 0
    out = capsys.readouterr().out
    assert "large-v3 (int8, batch 8) fits a card of 8 GB: 3,515 MiB are left." in out
    assert "weights                    1,472 MiB  ███████" in out
    assert "At once: 1 of these on this card." in out
    assert "Beside it: large-v3-turbo (float16), medium (float16)" in out


def test_what_does_not_fit_comes_with_advice(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--model", "large-v3", "--batch-size", "16", "--precision", "float16",
                 "--gpu-memory", "8"]) == 0  # fmt: skip
    out = capsys.readouterr().out
    assert "does not fit a card of 8 GB: 822 MiB are missing." in out
    assert "Use a batch of 8 instead of 16: about 6,249 MiB (±10%)." in out
    assert "too much" in out


def test_cards_of_the_machine_are_planned_with_who_uses_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    FakeNvml(
        [Card(total_mib=24576), Card(total_mib=8192, processes=[Process(4321, 6500, "blender")])]
    ).install(monkeypatch)
    assert main([*PLAN, "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert (first["fits"], second["fits"]) == (True, False)
    assert second["card"]["free_mib"] == 1692
    assert second["others"] == [{"pid": 4321, "name": "blender", "used_mib": 6500}]
    assert {"batch_size", "model", "compute_type"} <= set(second["advice"][0])
    assert first["estimate"]["source"] == "calculated"


def test_without_a_card_the_size_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    absent(monkeypatch)
    assert main(PLAN) == 2
    err = capsys.readouterr().err
    assert "There is no GPU here to plan for (The package nvidia-ml-py is not installed)." in err
    assert "--gpu-memory 12" in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--model", "largo", "--gpu-memory", "8"], "Did you mean 'large'?"),
        (["--precision", "int3", "--gpu-memory", "8"], "Unknown compute type 'int3'"),
        (["--precision", "int4", "--gpu-memory", "8"], "the nearest it has is int8"),
        (["--gpu-memory", "-3"], "not between 0 and 1,024 GB"),
        (["--model", "turbo", "--task", "translate", "--gpu-memory", "8"], "cannot translate"),
    ],
)
def test_wrong_use_is_told(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", *arguments]) == 2
    assert says in capsys.readouterr().err


def test_rule_for_pytorch_has_the_guides_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--backend", "pytorch", "--model", "medium", "--segment-duration", "300",
                 "--gpu-memory", "16"]) == 0  # fmt: skip
    out = capsys.readouterr().out
    assert "base model            2.500 GB" in out
    assert "recommended          14.175 GB" in out
    assert main(["plan", "--backend", "pytorch", "--precision", "int4", "--gpu-memory", "16"]) == 0
    assert capsys.readouterr().out.endswith(
        "This app cannot run int4; the nearest it has is int8.\n"
    )


def test_length_of_segments_is_said_to_play_no_part(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*PLAN, "--gpu-memory", "8", "--segment-duration", "600"]) == 0
    said = "The length of a segment does not change the memory"
    assert said in capsys.readouterr().out
    assert main([*PLAN, "--gpu-memory", "8"]) == 0
    assert said not in capsys.readouterr().out


def optimized(tmp_path: Path, *arguments: str) -> tuple[int, str]:
    file = tmp_path / "settings.env"
    code = gpu_optimize.main(["--env-file", str(file), *arguments])
    return code, file.read_text() if file.exists() else ""


def test_best_settings_are_written_beside_what_is_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    FakeNvml([Card(total_mib=24576), Card(total_mib=24576)]).install(monkeypatch)
    (tmp_path / "settings.env").write_text("# mine\nWHISPER_PORT=7000\nWHISPER_MODEL=tiny\n")
    code, text = optimized(tmp_path)
    assert code == 0
    assert text == (
        "# mine\nWHISPER_PORT=7000\nWHISPER_MODEL=large-v3-turbo\nWHISPER_DEVICE=cuda\n"
        "WHISPER_COMPUTE_TYPE=float16\nWHISPER_BATCH_SIZE=16\nWHISPER_BEAM_SIZE=5\n"
        "WHISPER_MAX_RUNNING_JOBS=2\n"
    )
    settings = Settings(_env_file=tmp_path / "settings.env")  # type: ignore[call-arg]
    assert (settings.model, settings.batch_size, settings.port) == ("large-v3-turbo", 16, 7000)
    assert "GPU 0 (NVIDIA GeForce RTX 3090, 24,576 MiB free)" in capsys.readouterr().err


def test_dry_run_writes_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    FakeNvml([Card(total_mib=4096)]).install(monkeypatch)
    assert optimized(tmp_path, "--dry-run", "--task", "translate") == (0, "")
    assert capsys.readouterr().out.splitlines() == [
        "WHISPER_DEVICE=cuda",
        "WHISPER_MODEL=large-v3",
        "WHISPER_COMPUTE_TYPE=int8_float16",
        "WHISPER_BATCH_SIZE=4",
        "WHISPER_BEAM_SIZE=5",
        "WHISPER_MAX_RUNNING_JOBS=2",
    ]


def settings_of(text: str) -> list[str]:
    return [line.partition("=")[2] for line in text.splitlines()]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--profile", "quality"], ["cuda", "large-v3", "float16", "16", "5", "1"]),
        (["--profile", "balanced"], ["cuda", "large-v3-turbo", "float16", "16", "5", "2"]),
        (["--profile", "speed"], ["cuda", "large-v3-turbo", "float16", "16", "1", "4"]),
        (["--profile", "speed", "--task", "translate"], ["cuda", "medium", "float16", "16", "1",
                                                         "4"]),
        (["--profile", "speed", "--model", "large-v3"], ["cuda", "large-v3", "float16", "16", "1",
                                                         "4"]),
    ],
)  # fmt: skip
def test_profiles_on_three_cards(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], expected: list[str]
) -> None:
    FakeNvml([Card(total_mib=24576) for _ in range(3)]).install(monkeypatch)
    code, text = optimized(tmp_path, *arguments)
    assert (code, settings_of(text)) == (0, expected)


def test_profiles_without_a_gpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    absent(monkeypatch)
    memory = CardInMemory(label="the CPU", free_mib=16000, total_mib=16000, kind="cpu")
    monkeypatch.setattr(cards, "see_cpu", lambda: memory)
    for profile, expected in {
        "quality": ["cpu", "large-v3", "int8", "8", "5", "1"],
        "balanced": ["cpu", "auto", "int8", "8", "5", "2"],
        "speed": ["cpu", "auto", "int8", "8", "1", "2"],
    }.items():
        code, text = optimized(tmp_path, "--profile", profile)
        assert (code, settings_of(text)) == (0, expected)
        assert f"{profile}: {PROFILES[profile].why}" in capsys.readouterr().err
    # Nobody can tell how much memory there is: nothing better is promised.
    monkeypatch.setattr(cards, "see_cpu", lambda: None)
    assert "WHISPER_MODEL=auto" in optimized(tmp_path, "--profile", "quality")[1]


def test_dry_run_compares_the_profiles(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    FakeNvml([Card(total_mib=8192)]).install(monkeypatch)
    assert optimized(tmp_path, "--dry-run", "--profile", "speed") == (0, "")
    told = capsys.readouterr()
    assert "WHISPER_BEAM_SIZE=1" in told.out
    rows = [line.split() for line in told.err.splitlines()]
    assert ["quality", "large-v3", "float16", "8", "5", "1"] in rows
    assert ["balanced", "large-v3-turbo", "float16", "12", "5", "2"] in rows
    assert rows[-6][0] == "*"
    assert rows[-6][1:3] == ["speed", "large-v3-turbo"]
    for profile in PROFILES.values():
        assert f"{profile.name}: {profile.why}" in told.err


def test_mixed_cards_keep_their_own_batch_and_precision(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    FakeNvml([Card(total_mib=24576), Card(total_mib=2048), Card(total_mib=600)]).install(
        monkeypatch
    )
    code, text = optimized(tmp_path)
    assert code == 0
    assert "WHISPER_COMPUTE_TYPE=auto\nWHISPER_BATCH_SIZE=0\n" in text


def test_no_room_at_all_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    FakeNvml([Card(total_mib=8192, processes=[Process(9, 8000)])]).install(monkeypatch)
    assert optimized(tmp_path)[0] == 1
    assert "No model fits GPU 0, which has 192 MiB free." in capsys.readouterr().err


def test_place_that_cannot_be_written_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    absent(monkeypatch)
    file = tmp_path / "file"
    file.write_text("")
    assert gpu_optimize.main(["--env-file", str(file / "settings.env")]) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_it_runs_as_a_file_from_anywhere(tmp_path: Path) -> None:
    environment = {**os.environ, "WHISPER_DATA_DIR": str(tmp_path / "data")}
    done = subprocess.run(
        [sys.executable, str(ROOT / "cli" / "gpu_optimize.py"), "--dry-run"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "WHISPER_MODEL=" in done.stdout


def test_list_of_models_marks_what_fits(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    FakeNvml([Card(total_mib=8192), Card(total_mib=2048)]).install(monkeypatch)
    assert main(["models"]) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}
    assert "too large for GPU 1" in rows["large-v3"]
    assert "int8_float16 on GPU 1" in rows["large-v3-turbo"]
    assert " 8x " in rows["large-v3-turbo"]
    assert " very good " in rows["large-v3-turbo"]
    assert rows["large-v3-turbo"].endswith("  most recordings; the default on GPUs")
    assert " yes " in rows["tiny"]
