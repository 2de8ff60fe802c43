"""What the commands about GPUs and their memory take. Only the standard library is imported."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

PLAN = """\
How much of a GPU's memory a model takes, part by part, and what fits beside it: for a GPU of the
size given by --gpu-memory, or else for the GPUs of this machine.
"""

GPU = """\
The GPUs of this machine: temperature, load, power, memory in use and the processes that hold it,
the largest first. On a terminal the view is live until Ctrl-C.

exit codes: 0 shown, 1 there is no GPU to show (with --json always 0)
"""

FINETUNE = """\
How much GPU memory fine-tuning a Whisper model takes, part by part, and the settings that fit:
the same effective batch size (per-device batch x accumulation x GPUs) in less memory, step by step.
Options may be spelled with underscores, as training scripts do. Options that are not given are
chosen, with an effective batch of 16. The exit code is 0 when there is a plan, even if it does not
fit.
"""

DOCTOR = """\
Checks everything that transcribing needs here and says what is wrong and how to fix it.

exit codes: 0 nothing is wrong, 1 something does not work, 3 it works but could be better
"""


def add_gpu_commands(commands: Commands) -> None:
    _add_gpu(commands)
    _add_plan(commands)
    _add_finetune(commands)
    doctor = commands.add_parser(
        "doctor",
        help="find out what is wrong with this machine or set-up, and the fix",
        description=DOCTOR,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    doctor.add_argument("--json", action="store_true", help="for programs")
    doctor.add_argument("--offline", action="store_true", help="do not ask the model hub")
    bundle = doctor.add_argument_group("for a bug report")
    bundle.add_argument(
        "--bundle",
        type=Path,
        metavar="FILE.zip",
        help="write the findings, versions, settings, last jobs and log lines into a zip, without"
        " secrets, links and names; what it will hold is shown first",
    )
    bundle.add_argument(
        "--log", type=Path, metavar="FILE", help="take the last lines of the app's log from there"
    )
    bundle.add_argument(
        "--with-names", action="store_true", help="leave names of recordings and prompts in it"
    )
    bundle.add_argument("--yes", action="store_true", help="write it without asking")


def _add_gpu(commands: Commands) -> None:
    command = commands.add_parser(
        "gpu",
        help="show the GPUs, their memory and what uses it",
        description=GPU,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--json", action="store_true", help="once, for programs")
    command.add_argument(
        "--interval",
        type=float,
        metavar="S",
        help="refresh every S seconds until Ctrl-C (default: 2 on a terminal, else once)",
    )
    command.add_argument("--once", action="store_true", help="show once, also on a terminal")


def _add_plan(commands: Commands) -> None:
    command = commands.add_parser(
        "plan", help="show how much GPU memory a model takes, and what fits", description=PLAN
    )
    add = command.add_argument
    add("--model", default="auto", help="name of a model (default: the best that fits)")
    add("--precision", "--compute-type", default="auto", metavar="TYPE", help="float16, int8 …")
    add("--batch-size", type=int, metavar="N", help="windows decoded together (default: what fits)")
    add("--beam-size", type=int, default=5, metavar="N", help="default 5")
    add("--segment-duration", type=float, metavar="S", help="seconds, for the"
        " backend pytorch (default 30)")  # fmt: skip
    add(
        "--gpu-memory",
        type=float,
        metavar="GB",
        help="default: the GPUs of this machine",
    )
    add("--tasks", type=int, default=1, metavar="N", help="how many run at once (default 1)")
    add("--task", choices=("transcribe", "translate"), default="transcribe")
    add("--backend", choices=("ctranslate2", "pytorch"), default="ctranslate2",
        help="pytorch: the rule of thumb for openai-whisper")  # fmt: skip
    add("--json", action="store_true", help="for programs")


def _add_finetune(commands: Commands) -> None:
    command = commands.add_parser(
        "plan-finetune", help="show how much GPU memory fine-tuning takes", description=FINETUNE
    )

    def add(name: str, **options: Any) -> None:
        # Training scripts spell their options with underscores.
        command.add_argument(f"--{name}", f"--{name.replace('-', '_')}", **options)

    add("base-model", default="whisper-large-v3", help="such as whisper-small")
    add(
        "gpu-memory",
        type=float,
        metavar="GB",
        help="of each GPU (default: the first one)",
    )
    add("gpus", type=int, default=1, metavar="N", help="how many train together (default 1)")
    add("method", choices=("auto", "full", "8bit", "lora"), default="auto",
        help="full, 8bit: all weights, with Adam's states in 32 or in 8 bits; lora: adapters"
        " (default: the first that fits)")  # fmt: skip
    add("per-device-train-batch-size", type=int, metavar="N", help="default: what fits")
    add("per-device-eval-batch-size", type=int, metavar="N", help="default: what fits")
    add("gradient-accumulation-steps", type=int, metavar="N", help="default: for 8-32 in effect")
    add("use-8bit", type=_truth, metavar="BOOL", help="LoRA beside weights in 8 bits")
    add("fp16", type=_truth, default=True, metavar="BOOL", help="mixed precision (default True)")
    add("max-audio-len", type=float, default=30.0, metavar="S", help="longest clip; longer ones are"
        " left out (default 30)")  # fmt: skip
    add("pad-to-30s", type=_truth, default=True, metavar="BOOL", help="every clip is filled up to"
        " 30 s, as in all known trainings (default True)")  # fmt: skip
    add("label-tokens", type=int, default=0, metavar="N", help="tokens of the longest transcript"
        " (default: 225 for 30 s)")  # fmt: skip
    add("lora-rank", type=int, default=32, metavar="N", help="of the adapters (default 32)")
    add("attention", choices=("sdpa", "eager"), default="sdpa", help="eager: transformers before"
        " 4.37, much more memory (default sdpa)")  # fmt: skip
    add("gradient-checkpointing", type=_truth, metavar="BOOL", help="activations computed again"
        " instead of kept: less memory, a third slower (default: when needed)")  # fmt: skip
    command.add_argument("--json", action="store_true", help="for programs")


def _truth(text: str) -> bool:
    answers = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    try:
        return answers[text.lower()]
    except KeyError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither True nor False") from None
