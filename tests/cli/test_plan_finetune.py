from __future__ import annotations

import argparse
import json
from typing import Any

import pytest

from cli.arguments import parser
from cli.main import main
from cli.plan_finetune import show_plan
from finetuning.plan import LADDER, Wishes, plan_finetune
from tests.cli.conftest import Cli
from tests.gpu import fake_nvml


def data_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["plan-finetune", *arguments, "--json"]) == 0
    data: dict[str, Any] = json.loads(capsys.readouterr().out)
    return data


def test_the_documented_call_runs_as_written(cli: Cli) -> None:
    done = cli("plan-finetune", "--base-model", "whisper-large-v3", "--gpu-memory", "12")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "Fits: 10,447 MiB of 12,288 MiB" in done.stdout
    assert "--base_model=openai/whisper-large-v3" in done.stdout
    for part in ("weights", "optimizer states", "activations", "logits", "CUDA context", "free"):
        assert part in done.stdout
    assert "With gradient checkpointing 10,447 MiB, without 30,623 MiB." in done.stdout
    assert "Smaller batches come first" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    "options",
    [
        "--base_model=openai/whisper-medium --per_device_train_batch_size=4"
        " --gradient_accumulation_steps=2 --use_8bit=True --max_audio_len=25",
        "--base_model=openai/whisper-large-v3 --per_device_train_batch_size=2"
        " --gradient_accumulation_steps=4 --use_8bit=True --max_audio_len=25",
        "--base_model=openai/whisper-large-v3 --per_device_train_batch_size=4"
        " --gradient_accumulation_steps=2 --use_8bit=False --max_audio_len=30",
        "--per_device_train_batch_size=2 --per_device_eval_batch_size=2"
        " --gradient_accumulation_steps=4",
        "--per_device_train_batch_size=1 --per_device_eval_batch_size=2"
        " --gradient_accumulation_steps=8 --use_8bit=True",
        "--fp16=True",
    ],
)
def test_the_guides_options_are_understood_as_written(
    options: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data = data_of(capsys, *options.split(), "--gpu_memory=16")
    for option in options.split():
        name, value = option.removeprefix("--").split("=")
        planned = data["options"][name]
        assert value in (str(planned), f"openai/whisper-{planned}", f"{planned}".split(".")[0])
    assert data["effective_batch_size"] >= 8


@pytest.mark.parametrize("gb", [8, 12, 24, 80])
@pytest.mark.parametrize("model", [*LADDER, "distil-large-v3", "small.en"])
@pytest.mark.parametrize("gpus", [1, 4])
def test_every_line_of_options_is_understood_again(
    gb: int, model: str, gpus: int, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = plan_finetune(
        Wishes(base_model=model, gpu_memory_mib=gb * 1024, gpus=gpus, label_tokens=200)
    )
    for way in (plan.chosen, *plan.levels):
        data = data_of(capsys, *way.options.arguments(), f"--gpu-memory={gb}")
        assert data["total_mib"] == pytest.approx(way.estimate.total_mib, abs=0.1)
        assert tuple(data["arguments"]) == way.options.arguments()


def test_every_option_arrives(capsys: pytest.CaptureFixture[str]) -> None:
    asked = {
        "base_model": "small", "method": "lora", "per_device_train_batch_size": 3,
        "per_device_eval_batch_size": 5, "gradient_accumulation_steps": 2, "gpus": 2,
        "use_8bit": False, "fp16": False, "gradient_checkpointing": True, "max_audio_len": 20.0,
        "pad_to_30s": False, "label_tokens": 77, "lora_rank": 16, "attention": "eager",
    }  # fmt: skip
    data = data_of(
        capsys, "--gpu-memory=24", *(f"--{name}={value}" for name, value in asked.items())
    )
    assert data["options"] == asked


def test_both_spellings_mean_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    dashes = data_of(capsys, "--gpu-memory", "8", "--per-device-train-batch-size", "2",
                     "--max-audio-len", "20", "--pad-to-30s", "False")  # fmt: skip
    lines = data_of(capsys, "--gpu_memory", "8", "--per_device_train_batch_size", "2",
                    "--max_audio_len", "20", "--pad_to_30s", "False")  # fmt: skip
    assert dashes == lines


def test_a_plan_that_does_not_fit_is_a_plan(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan-finetune", "--method", "full", "--gpu-memory", "8"]) == 0
    out = capsys.readouterr().out
    assert "Does not fit" in out
    assert "too much" in out
    assert "What would fit" in out


def test_the_first_card_is_taken_where_none_is_typed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    held = [fake_nvml.Process(4711, 3000, "game")]
    card = fake_nvml.Card(name="NVIDIA RTX 3060", total_mib=12288, processes=held)
    fake_nvml.FakeNvml([card]).install(monkeypatch)
    assert main(["plan-finetune"]) == 0
    out = capsys.readouterr().out
    assert "on NVIDIA RTX 3060" in out
    assert "held by others" in out


def test_without_a_card_its_memory_has_to_be_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_nvml.FakeNvml([]).install(monkeypatch)
    assert main(["plan-finetune"]) == 2
    assert "--gpu-memory 12" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--gpu-memory 0", "is not between 0 and 1,024 GB"),
        ("--gpu-memory 8 --base-model whisper-huge", "Unknown model"),
        ("--gpu-memory 8 --method full --use-8bit True", "8-bit weights cannot be trained"),
        ("--gpu-memory 8 --per-device-train-batch-size 0", "per_device_train_batch_size is 0"),
        ("--gpu-memory 8 --per-device-train-batch-size -3", "per_device_train_batch_size is -3"),
        ("--gpu-memory 8 --gradient-accumulation-steps 0", "gradient_accumulation_steps is 0"),
        ("--gpu-memory 8 --per-device-eval-batch-size 0", "per_device_eval_batch_size is 0"),
        ("--gpu-memory 8 --gpus 0", "gpus is 0"),
        ("--gpu-memory 8 --max-audio-len 60", "max_audio_len is 60"),
        ("--gpu-memory 8 --label-tokens 500", "label_tokens is 500"),
    ],
)
def test_wrong_use_is_said(arguments: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan-finetune", *arguments.split()]) == 2
    assert said in capsys.readouterr().err


def test_what_is_neither_true_nor_false_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["plan-finetune", "--fp16", "maybe"])
    assert ended.value.code == 2
    assert "neither True nor False" in capsys.readouterr().err


def test_the_parser_has_everything_the_command_reads() -> None:
    args = parser().parse_args(["plan-finetune", "--gpu-memory", "8"])
    assert isinstance(args, argparse.Namespace)
    assert show_plan(args) == 0
