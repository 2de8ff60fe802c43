"""Look at the cards and write the settings that suit them: ``python cli/gpu_optimize.py``.

They go into the settings file (``.env`` in the project's folder), beside whatever else it holds;
``--dry-run`` prints them instead. Nothing else is changed, and no process is ended.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":
    # Run as a file, Python looks for modules in this folder alone.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import dotenv

from cli.failures import exit_code, tell
from cli.options import build_settings
from core.errors import DiskFull, OutOfMemory, SubtitleError
from core.gpu.choice import CPU_BATCH, Card, Choice, candidates, choose
from core.gpu_manager import gpu_manager
from core.models import AUTO
from core.settings import PROJECT, Settings
from jobs.cards import gpus_here
from jobs.peaks import load_learned


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="gpu_optimize.py",
        description="Find the best settings for the GPUs of this machine and write them to the"
        " settings file.",
    )
    made.add_argument("--dry-run", action="store_true", help="print the settings, write nothing")
    made.add_argument("--model", default=AUTO, help="for this model (default: the best that fits)")
    made.add_argument("--task", choices=("transcribe", "translate"), default="transcribe")
    made.add_argument("--env-file", type=Path, default=PROJECT / ".env", metavar="FILE",
                      help="settings file (default: .env in the project's folder)")  # fmt: skip
    return made


def optimize(args: argparse.Namespace) -> int:
    """Raises what ``main`` tells."""
    settings = build_settings({})
    load_learned(settings)
    cards = [seen.card for seen in gpus_here(settings)]
    wanted = _for_gpus(cards, args, settings) if cards else _for_the_cpu(args)
    lines = [f"{name}={value}" for name, value in wanted.items()]
    if args.dry_run:
        print("\n".join(lines))
        return 0
    _write(args.env_file, wanted)
    print(f"Written to {args.env_file}:", file=sys.stderr)
    print("\n".join(lines))
    return 0


def _for_gpus(
    cards: Sequence[Card], args: argparse.Namespace, settings: Settings
) -> dict[str, str]:
    """One model for all, the best that fits the card with the most room; what differs between the
    cards is left to each worker."""
    roomiest = max(cards, key=lambda card: card.free_mib)
    models = candidates(args.task) if args.model == AUTO else (args.model,)
    best = choose(roomiest, models, beam_size=settings.beam_size, peaks=gpu_manager.peaks)
    if best is None:
        raise OutOfMemory(
            f"No model fits {roomiest.label}, which has {roomiest.free_mib:,.0f} MiB free.",
            hint="python -m cli.main gpu shows who holds the rest; WHISPER_DEVICE=cpu needs none.",
        )
    choices: list[Choice] = []
    for card in cards:
        choice = choose(
            card, [best.setup.model], beam_size=settings.beam_size, peaks=gpu_manager.peaks
        )
        what = "too small for it, and left out" if choice is None else _told(choice)
        print(f"{card.label} ({card.name}, {card.free_mib:,.0f} MiB free): {what}", file=sys.stderr)
        choices += [] if choice is None else [choice]
    types = {choice.setup.compute_type for choice in choices}
    batches = {choice.setup.batch_size for choice in choices}
    return {
        "WHISPER_DEVICE": "cuda",
        "WHISPER_MODEL": best.setup.model,
        "WHISPER_COMPUTE_TYPE": types.pop() if len(types) == 1 else AUTO,
        # 0: each worker takes the batch that fits its card.
        "WHISPER_BATCH_SIZE": str(batches.pop() if len(batches) == 1 else 0),
    }


def _for_the_cpu(args: argparse.Namespace) -> dict[str, str]:
    print("There is no GPU here; these are settings for the CPU.", file=sys.stderr)
    return {
        "WHISPER_DEVICE": "cpu",
        "WHISPER_MODEL": args.model,
        "WHISPER_COMPUTE_TYPE": "int8",
        "WHISPER_BATCH_SIZE": str(CPU_BATCH),
    }


def _told(choice: Choice) -> str:
    setup = choice.setup
    return f"{setup.model} in {setup.compute_type}, batches of {setup.batch_size}: {choice.needs}"


def _write(path: Path, wanted: dict[str, str]) -> None:
    try:
        for name, value in wanted.items():
            dotenv.set_key(path, name, value, quote_mode="never")
    except OSError as error:
        raise DiskFull(
            f"{path} cannot be written: {error.strerror}.",
            hint="Choose another place with --env-file, or print the settings with --dry-run.",
        ) from error


def main(argv: Sequence[str] | None = None) -> int:
    try:
        return optimize(parser().parse_args(argv))
    except SubtitleError as error:
        tell(error)
        return exit_code(error)


if __name__ == "__main__":
    sys.exit(main())
