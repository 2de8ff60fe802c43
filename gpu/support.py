"""Which compute types there are, and which a device can run: a GPU by its compute capability.

The rules are CTranslate2's (``src/cuda/helpers.h`` and ``src/types.cc``, 4.8): float16 from 7.0,
int8 at 6.1 and from 7.0, bfloat16 from 8.0. They say what the hardware has; whether it works with
the driver and the libraries that are there, only a real inference tells, and a worker does one
before it is ready.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from core.errors import InvalidOption

Capability = tuple[int, int]

COMPUTE_TYPES = (
    "float16",
    "bfloat16",
    "int8_float16",
    "int8_bfloat16",
    "int8_float32",
    "int8",
    "float32",
)
"""What a model can be run in on GPUs."""

CPU_TYPES = ("int8", "int8_float32", "int16", "float32")
"""What it can be run in on CPUs."""

ALL_TYPES = ("auto", "default", *dict.fromkeys((*CPU_TYPES, *COMPUTE_TYPES)))
"""Everything that can be asked for. ``auto``: the best for the device; ``default``: what the
model's files are in, or the nearest that the device has."""

MAX_BATCH, MAX_BEAM = 1024, 100

NEAREST = {"int4": "int8"}
"""Precisions other engines have, and what comes nearest here."""


def check_compute_type(
    compute_type: str, known: Collection[str] = ALL_TYPES, *, only_cpus: bool = False
) -> None:
    """Refuse a type that the engine does not have, or not on the devices there are.

    Args:
        known: what may be asked for.
        only_cpus: every device that would do the work is a CPU.

    Raises:
        InvalidOption: it cannot be; the hint names what can.
    """
    if compute_type in NEAREST:
        raise InvalidOption(
            f"{cannot_run(compute_type)}.", hint=f"Choose {NEAREST[compute_type]} instead."
        )
    if compute_type not in known:
        raise InvalidOption(
            f"Unknown compute type {compute_type!r}.", hint=f"Choose from: {', '.join(known)}."
        )
    if only_cpus and not runs_on_cpus(compute_type):
        raise InvalidOption(
            f"{compute_type} needs a GPU, and this would run on the CPU.",
            hint="Choose auto, int8 or float32.",
        )


def check_range(what: str, value: int, least: int, most: int) -> None:
    """Raises InvalidOption for a number that cannot be."""
    if not least <= value <= most:
        raise InvalidOption(f"A {what} of {value} is not between {least} and {most}.")


def cannot_run(precision: str) -> str:
    """What is to be said of a precision of other engines."""
    return f"This app cannot run {precision}; the nearest it has is {NEAREST[precision]}"


def runs_on_cpus(compute_type: str) -> bool:
    return compute_type in ("auto", "default", *CPU_TYPES)


_NEEDS: tuple[tuple[str, Callable[[Capability], bool], str], ...] = (
    ("int8", lambda card: card == (6, 1) or card >= (7, 0), "6.1, or 7.0 and newer"),
    ("bfloat16", lambda card: card >= (8, 0), "8.0 or newer"),
    ("float16", lambda card: card >= (7, 0), "7.0 or newer"),
)
"""What a card needs for a type with that word in its name."""


def compute_types(capability: Capability | None) -> tuple[str, ...]:
    """Compute types of a card; all of them for one whose capability is unknown."""
    return tuple(name for name in COMPUTE_TYPES if supports(capability, name))


def supports(capability: Capability | None, compute_type: str) -> bool:
    """Whether the hardware can; True where the capability is unknown."""
    return capability is None or not _missing(capability, compute_type)


def _missing(capability: Capability, compute_type: str) -> str:
    """The capability it takes; empty where the card has it."""
    return next(
        (needs for word, able, needs in _NEEDS if word in compute_type and not able(capability)), ""
    )


def preferred(capability: Capability | None) -> tuple[str, ...]:
    """What ``auto`` takes on a card, best first: the next one where memory or a failed first
    inference forbids the one before.

    int8 with float16 around it costs the fewest words after float16. Pascal (6.1) has fast int8 and
    no float16; older cards have float32 alone.
    """
    order = ("float16", "int8_float16", "int8_float32", "float32")
    return tuple(name for name in order if supports(capability, name))


def why_not(capability: Capability, compute_type: str) -> str:
    """What a card lacks for a compute type, as a sentence."""
    needs = _missing(capability, compute_type)
    has = ".".join(map(str, capability))
    return f"{compute_type} needs compute capability {needs}; this card has {has}."
