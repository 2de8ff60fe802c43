"""How patient the pool is, each number with its reason."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """Times in seconds. Defaults are for production; a caller may tighten them."""

    deaths_to_retire: int = 5
    """Deaths in a row, without one finished segment between, after which a slot is given up:
    a device that kills every process would otherwise load the model for ever."""

    stable_s: float = 600.0
    """A worker that lived this long does not count as part of a row of deaths."""

    kills_to_fail: int = 2
    """Workers a segment may kill before it is left as a gap; one may have been bad luck (the
    system's out-of-memory killer, an operator), two are not."""

    errors_to_fail: int = 2
    """Times a segment may raise before it is left as a gap."""

    load_kills_to_fail: int = 2
    """Workers that may die while loading one model before the slot refuses that model."""

    detections_to_fail: int = 2
    """Times language detection may fail before the job fails."""

    backoff_first_s: float = 0.5
    backoff_max_s: float = 30.0
    """The first replacement of a worker starts at once, the second in a row after the first
    back-off, then it doubles."""

    hang_floor_s: float = 120.0
    hang_factor: float = 20.0
    """A task may be silent for floor + factor x its unfinished audio. Chosen generous, not
    measured: a large model on one slow CPU thread with every temperature of the fallback must
    never look like a hang. A full batch of 240 s of audio may so be stuck for 82 minutes."""

    start_deadline_s: float = 300.0
    """From spawn to ``Ready``: an interpreter and imports, possibly from a cold network disk."""

    load_deadline_s: float = 900.0
    """Model load and warm-up; loads of 53-83 s have been reported, and Hopper and Blackwell compile
    the kernels on first use."""

    cancel_grace_s: float = 1.5
    """A worker that has not let go of a cancelled task by then is killed: the user is promised
    an answer within two seconds, and an encoder pass on a slow CPU can take longer."""

    heartbeat_s: float = 1.0

    language_patience_s: float = 2.0
    """Language is voted over three segments; where the recording is so sparse that they take
    longer to come, those that are there decide, so that the first cue is not late."""

    switch_model_s: float = 20.0
    """A worker busy with one model's jobs changes to another model's job when that has waited
    this long with no worker: less would spend the time on loading, twice for each change."""
