"""Named settings for this machine, which ``cli/gpu_optimize.py --profile`` chooses between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.models import AUTO
from gpu.choice import CPU_BATCH, Card, Choice, candidates, choose
from gpu.manager import gpu_manager


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
