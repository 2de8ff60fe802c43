"""Write the settings that suit this machine's GPUs: ``python cli/gpu_optimize.py``.

They go into the settings file (``.env`` in the project's folder), beside whatever else it holds;
``--dry-run`` prints them instead, and what each profile would be. Nothing else is changed, and no
process is ended.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

if __name__ == "__main__":
    # Run as a file, Python looks for modules in this folder alone.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import dotenv

from cli.failures import exit_code, tell
from cli.options import build_settings
from cli.profiles import PROFILES, Proposal, propose
from cli.table import table
from core.errors import DiskFull, OutOfMemory, SubtitleError
from core.models import AUTO
from core.settings import PROJECT
from gpu.choice import Choice
from jobs.cards import devices_here, gpus_here
from jobs.peaks import load_learned


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="gpu_optimize.py",
        description="Find the best settings for the GPUs of this machine and write them to the"
        " settings file.",
    )
    made.add_argument("--dry-run", action="store_true", help="print the settings, write nothing")
    made.add_argument("--profile", choices=tuple(PROFILES), default="balanced",
                      help="what matters most (default balanced); --dry-run compares"
                      " them")  # fmt: skip
    made.add_argument("--model", default=AUTO, help="for this model (default: the best that fits)")
    made.add_argument("--task", choices=("transcribe", "translate"), default="transcribe")
    made.add_argument("--env-file", type=Path, default=PROJECT / ".env", metavar="FILE",
                      help="settings file (default: .env in the project's folder)")  # fmt: skip
    return made


def optimize(args: argparse.Namespace) -> int:
    settings = build_settings({})
    load_learned(settings)
    cards = gpus_here(settings) or devices_here(settings)
    proposals = {
        name: propose(profile, cards, args.model, args.task) for name, profile in PROFILES.items()
    }
    chosen = proposals[args.profile]
    if chosen is None:
        roomiest = max(cards, key=lambda card: card.free_mib)
        raise OutOfMemory(
            f"No model fits {roomiest.label}, which has {roomiest.free_mib:,.0f} MiB free.",
            hint="python -m cli.main gpu shows what uses the rest; WHISPER_DEVICE=cpu needs none.",
        )
    _tell(chosen)
    wanted = chosen.settings()
    lines = [f"{name}={value}" for name, value in wanted.items()]
    if args.dry_run:
        print("\n".join(_compared(proposals, args.profile)), file=sys.stderr)
    else:
        _write(args.env_file, wanted)
        print(f"{chosen.profile.name}: {chosen.profile.why}", file=sys.stderr)
        print(f"Written to {args.env_file}:", file=sys.stderr)
    print("\n".join(lines))
    return 0


def _tell(proposal: Proposal) -> None:
    """What each device will do."""
    if proposal.device == "cpu":
        print("There is no GPU here; these are settings for the CPU.", file=sys.stderr)
    for card, choice in proposal.choices:
        what = "too small for it, and left out" if choice is None else _told(choice)
        print(f"{card.label} ({card.name}, {card.free_mib:,.0f} MiB free): {what}", file=sys.stderr)


def _told(choice: Choice) -> str:
    setup = choice.setup
    return f"{setup.model} in {setup.compute_type}, batches of {setup.batch_size}: {choice.needs}"


def _compared(proposals: Mapping[str, Proposal | None], chosen: str) -> list[str]:
    """The profiles side by side, then why."""
    rows = [("", "PROFILE", "MODEL", "COMPUTE TYPE", "BATCH", "BEAM", "JOBS AT ONCE")]
    for name, proposal in proposals.items():
        mark = "*" if name == chosen else ""
        if proposal is None:
            rows.append((mark, name, "does not fit", "", "", "", ""))
            continue
        beam, batch = str(proposal.profile.beam_size), str(proposal.batch_size or AUTO)
        rows.append((mark, name, proposal.model, proposal.compute_type, batch, beam,
                     str(proposal.jobs)))  # fmt: skip
    whys = [f"{name}: {profile.why}" for name, profile in PROFILES.items()]
    return ["", *table(rows), "", *whys, ""]


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
