"""Which compute types a GPU can run, by its compute capability.

The rules are CTranslate2's (``src/cuda/helpers.h`` and ``src/types.cc``, 4.8): float16 from 7.0,
int8 at 6.1 and from 7.0, bfloat16 from 8.0. They say what the hardware has; whether it works with
the driver and the libraries that are there, only a real inference tells, and a worker does one
before it is ready.
"""

from __future__ import annotations

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


def has_float16(capability: Capability) -> bool:
    return capability >= (7, 0)


def has_int8(capability: Capability) -> bool:
    return capability == (6, 1) or capability >= (7, 0)


def has_bfloat16(capability: Capability) -> bool:
    return capability >= (8, 0)


def compute_types(capability: Capability | None) -> tuple[str, ...]:
    """Compute types of a card; all of them for one whose capability is unknown."""
    return tuple(name for name in COMPUTE_TYPES if supports(capability, name))


def supports(capability: Capability | None, compute_type: str) -> bool:
    """Whether the hardware can; True where the capability is unknown."""
    if capability is None:
        return True
    if "int8" in compute_type and not has_int8(capability):
        return False
    if "bfloat16" in compute_type:
        return has_bfloat16(capability)
    return "float16" not in compute_type or has_float16(capability)


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
    major, minor = capability
    if "int8" in compute_type and not has_int8(capability):
        needs = "6.1, or 7.0 and newer"
    elif "bfloat16" in compute_type:
        needs = "8.0 or newer"
    else:
        needs = "7.0 or newer"
    return f"{compute_type} needs compute capability {needs}; this card has {major}.{minor}."
