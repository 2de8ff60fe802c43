"""What PyTorch says when it runs out of memory, in figures: wanted, free, and who holds how much.

This app's engine is not PyTorch; its words reach us from servers that run speech models on it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_UNITS = {"bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_SIZE = rf"(\d+(?:\.\d+)?) ({'|'.join(_UNITS)})"

_WANTED = re.compile(rf"out of memory\. Tried to allocate {_SIZE}")
_GPU = re.compile(r"\bGPU (\d+)(?:;| has a total)")
# PyTorch 2.0 and 2.1 wrote "capacty"; older ones put the figure before the word.
_CAPACITY = re.compile(rf"total capaci?ty of {_SIZE}|{_SIZE} total capacity")
_FREE = re.compile(rf"of which {_SIZE} is free|{_SIZE} free")
_ITS_OWN = re.compile(rf"this process has {_SIZE} memory in use|{_SIZE} reserved in total by PyT")
# Beside the line above it is the smaller figure.
_ALLOCATED = re.compile(rf"{_SIZE} already allocated")
_HOLDER = re.compile(rf"\bProcess (\d+) has {_SIZE} memory in use")


@dataclass(frozen=True, slots=True)
class Shortage:
    """An allocation that failed. Sizes in bytes; None where PyTorch does not say."""

    wanted: int
    gpu: int | None = None
    """As the process that failed counts them."""
    capacity: int | None = None
    free: int | None = None
    its_own: int | None = None
    """What the process that failed holds itself."""
    holders: tuple[tuple[int, int], ...] = ()
    """Other processes on the card: number and bytes. Numbers as seen from inside the container."""

    def told(self) -> str:
        """One or two sentences for people."""
        text = f"It asked for {_size(self.wanted)}"
        if self.free is not None:
            place = "the GPU" if self.gpu is None else f"GPU {self.gpu}"
            of = "" if self.capacity is None else f" of {_size(self.capacity)}"
            text += f", and {place} had {_size(self.free)}{of} free"
        held = [f"process {number} holds {_size(size)}" for number, size in self.holders]
        if self.its_own is not None:
            held.append(f"the process itself holds {_size(self.its_own)}")
        return f"{text}; {', '.join(held)}." if held else f"{text}."


def shortage_of(text: str) -> Shortage | None:
    """The figures in what PyTorch said, or in text that quotes it; None where there are none."""
    wanted = _first(_WANTED, text)
    if wanted is None:
        return None
    gpu, capacity = _GPU.search(text), _first(_CAPACITY, text)
    holders = tuple(
        (int(number), _bytes(figure, unit)) for number, figure, unit in _HOLDER.findall(text)
    )
    return Shortage(
        wanted,
        int(gpu[1]) if gpu else None,
        capacity,
        _first(_FREE, text),
        _first(_ITS_OWN, text) or _first(_ALLOCATED, text),
        # Where the driver does not tell, PyTorch prints 17179869184 GiB.
        tuple(each for each in holders if capacity is None or each[1] <= capacity),
    )


def _first(pattern: re.Pattern[str], text: str) -> int | None:
    found = pattern.search(text)
    if found is None:
        return None
    figure, unit = (group for group in found.groups() if group is not None)
    return _bytes(figure, unit)


def _bytes(figure: str, unit: str) -> int:
    return round(float(figure) * _UNITS[unit])


def _size(size: int) -> str:
    unit = "GiB" if size >= _UNITS["GiB"] else "MiB"
    return f"{size / _UNITS[unit]:,.1f} {unit}"
