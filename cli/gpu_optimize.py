"""Write the settings that suit this machine's GPUs: ``python cli/gpu_optimize.py``.

They go into the settings file (``.env`` in the project's folder), beside whatever else it holds;
``--dry-run`` prints them instead, and what each profile would be. Nothing else is changed, and no
process is ended.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":
    # Run as a file, Python looks for modules in this folder alone.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import dotenv

from cli.failures import exit_code, tell
from cli.models import table
from cli.options import build_settings
from core.errors import DiskFull, OutOfMemory, SubtitleError
from core.models import AUTO
from core.settings import PROJECT
from gpu.choice import CPU_BATCH, Card, Choice, candidates, choose
from gpu.manager import gpu_manager
from jobs.cards import devices_here, gpus_here
from jobs.peaks import load_learned


@dataclass(frozen=True, slots=True)
class Profile:
    """What matters most; the machine decides the rest."""

    name: str
    why: str
    """One sentence."""
    beam_size: int
    jobs: int
    """At once, at least."""
    a_job_ahead: bool = False
    """One job more than there are GPUs."""
    first: tuple[str, ...] = ()
    """Models better than those that ``auto`` takes …"""
    never: tuple[str, ...] = ()
    """… and slower ones."""

    def models(self, task: str) -> tuple[str, ...]:
        """Best first."""
        order = dict.fromkeys((*self.first, *candidates(task)))
        return tuple(name for name in order if name not in self.never)


PROFILES = {
    profile.name: profile
    for profile in (
        Profile(
            "quality",
            "The fewest wrong words: the best model that fits, and each recording has all devices"
            " to itself.",
            beam_size=5,
            jobs=1,
            first=("large-v3",),
        ),
        Profile(
            "balanced",
            "What auto takes: good subtitles in reasonable time; a second recording fills the"
            " pauses of the first.",
            beam_size=5,
            jobs=2,
        ),
        Profile(
            "speed",
            "The most recordings in an hour: no beam search, and one more recording at work than"
            " there are GPUs.",
            beam_size=1,
            jobs=2,
            a_job_ahead=True,
            never=("large-v3", "large-v2"),
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Proposal:
    """A profile on this machine."""

    profile: Profile
    device: str
    model: str
    compute_type: str
    batch_size: int
    """0: each worker takes the batch that fits its card."""
    jobs: int
    choices: tuple[tuple[Card, Choice | None], ...] = ()
    """What each GPU takes; None: the model does not fit it."""

    def settings(self) -> dict[str, str]:
        return {
            "WHISPER_DEVICE": self.device,
            "WHISPER_MODEL": self.model,
            "WHISPER_COMPUTE_TYPE": self.compute_type,
            "WHISPER_BATCH_SIZE": str(self.batch_size),
            "WHISPER_BEAM_SIZE": str(self.profile.beam_size),
            "WHISPER_MAX_RUNNING_JOBS": str(self.jobs),
        }


def propose(profile: Profile, cards: Sequence[Card], model: str, task: str) -> Proposal | None:
    """The profile's settings for the GPUs, or for the CPU where ``cards`` has none.

    One model for all GPUs, the best that fits the one with the most room; what differs between
    them is left to each worker. None: no model fits.
    """
    models = profile.models(task) if model == AUTO else (model,)
    if not cards or cards[0].kind == "cpu":
        return _for_the_cpu(profile, cards, model, models)
    best = _choose(max(cards, key=lambda card: card.free_mib), models, profile)
    if best is None:
        return None
    choices = tuple((card, _choose(card, [best.setup.model], profile)) for card in cards)
    types = {choice.setup.compute_type for _, choice in choices if choice}
    batches = {choice.setup.batch_size for _, choice in choices if choice}
    return Proposal(
        profile,
        "cuda",
        best.setup.model,
        types.pop() if len(types) == 1 else AUTO,
        batches.pop() if len(batches) == 1 else 0,
        max(profile.jobs, len(cards) + 1) if profile.a_job_ahead else profile.jobs,
        choices,
    )


def _for_the_cpu(
    profile: Profile, cards: Sequence[Card], model: str, models: Sequence[str]
) -> Proposal:
    """``auto`` stays where the profile wants nothing better: it is base there, which is installed
    with the app."""
    best = _choose(cards[0], models, profile) if cards and profile.first and model == AUTO else None
    if best is not None:
        model = best.setup.model
    batch_size = CPU_BATCH if best is None else best.setup.batch_size
    return Proposal(profile, "cpu", model, "int8", batch_size, profile.jobs)


def _choose(card: Card, models: Sequence[str], profile: Profile) -> Choice | None:
    return choose(card, models, beam_size=profile.beam_size, peaks=gpu_manager.peaks)


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
