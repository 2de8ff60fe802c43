"""Damage for media files: what a broken disk, a bad transfer or an attacker does to bytes.

``mutated(seeds, seed, number)`` is a pure function: the same seed files, seed and number give the
same input on every machine, so a report needs to name only two numbers.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

HEADER_BYTES = 512
"""Where containers keep what they say about themselves: half of all damage goes here."""

MAX_INPUT_BYTES = 512 * 1024
MAX_OPERATIONS = 5

_EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0xFFFFFF)
_WIDE_EXTREMES = (0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF)

Operation = Callable[[random.Random, bytearray, bytes], None]
"""Damages the bytearray in place; the bytes are another seed file, for splices."""


def mutated(seeds: Mapping[str, bytes], seed: int, number: int) -> tuple[str, bytes]:
    """Input ``number``: the name of the seed file it was made of, and its bytes."""
    rng = random.Random(f"{seed}/{number}")
    names = sorted(seeds)
    name = names[number % len(names)]
    data = bytearray(seeds[name])
    for _ in range(rng.randint(1, MAX_OPERATIONS)):
        operation = rng.choice(_OPERATIONS)
        operation(rng, data, seeds[rng.choice(names)])
        del data[MAX_INPUT_BYTES:]
        if not data:
            break
    return name, bytes(data)


def _position(rng: random.Random, data: bytearray) -> int:
    where = rng.random()
    if where < 0.5:
        return rng.randrange(min(HEADER_BYTES, len(data)))
    if where < 0.6:
        return len(data) - 1 - rng.randrange(min(HEADER_BYTES, len(data)))
    return rng.randrange(len(data))


def _length(rng: random.Random, data: bytearray) -> int:
    """Mostly a few bytes, sometimes much of the file."""
    return max(1, int(len(data) ** rng.random()))


def _flip_bits(rng: random.Random, data: bytearray, other: bytes) -> None:
    for _ in range(rng.choice((1, 1, 2, 4, 16, 64))):
        data[_position(rng, data)] ^= 1 << rng.randrange(8)


def _overwrite_with_noise(rng: random.Random, data: bytearray, other: bytes) -> None:
    at = _position(rng, data)
    count = min(_length(rng, data), len(data) - at)
    data[at : at + count] = rng.randbytes(count)


def _overwrite_with_one_byte(rng: random.Random, data: bytearray, other: bytes) -> None:
    at = _position(rng, data)
    count = min(_length(rng, data), len(data) - at)
    data[at : at + count] = bytes([rng.choice((0x00, 0xFF, 0x20, rng.randrange(256)))]) * count


def _truncate(rng: random.Random, data: bytearray, other: bytes) -> None:
    del data[_position(rng, data) :]


def _delete(rng: random.Random, data: bytearray, other: bytes) -> None:
    at = _position(rng, data)
    del data[at : at + _length(rng, data)]


def _duplicate(rng: random.Random, data: bytearray, other: bytes) -> None:
    at = _position(rng, data)
    chunk = bytes(data[at : at + _length(rng, data)])
    data[at:at] = chunk * rng.choice((1, 1, 2, 8, 64))


def _move(rng: random.Random, data: bytearray, other: bytes) -> None:
    at = _position(rng, data)
    chunk = bytes(data[at : at + _length(rng, data)])
    del data[at : at + len(chunk)]
    to = _position(rng, data) if data else 0
    data[to:to] = chunk


def _set_number(rng: random.Random, data: bytearray, other: bytes) -> None:
    """A length, count, rate or offset field to a value at the edge of what fits."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        width = rng.choice((1, 2, 3, 4, 4, 8))
        value = rng.choice((*_EXTREMES, *_WIDE_EXTREMES, len(data), 2 * len(data)))
        order = rng.choice(("big", "little"))
        at = _position(rng, data)
        field = (value & ((1 << 8 * width) - 1)).to_bytes(width, "big")
        data[at : at + width] = field if order == "big" else field[::-1]


def _nudge_number(rng: random.Random, data: bytearray, other: bytes) -> None:
    at = _position(rng, data)
    data[at] = (data[at] + rng.choice((-16, -2, -1, 1, 2, 16))) % 256


def _splice(rng: random.Random, data: bytearray, other: bytes) -> None:
    """This file's beginning, then another's rest."""
    del data[_position(rng, data) :]
    data += other[rng.randrange(len(other)) :]


def _insert_of_another(rng: random.Random, data: bytearray, other: bytes) -> None:
    start = rng.randrange(len(other))
    at = _position(rng, data)
    data[at:at] = other[start : start + _length(rng, bytearray(other))]


_OPERATIONS: tuple[Operation, ...] = (
    _flip_bits,
    _flip_bits,
    _overwrite_with_noise,
    _overwrite_with_one_byte,
    _truncate,
    _delete,
    _duplicate,
    _move,
    _set_number,
    _set_number,
    _nudge_number,
    _splice,
    _insert_of_another,
)
