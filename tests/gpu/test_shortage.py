"""PyTorch's words about memory that ran out, of several versions, as figures."""

from __future__ import annotations

import pytest

from core.shortage import Shortage, shortage_of

MIB, GIB = 1 << 20, 1 << 30

SAID = {
    "today": (
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.50 GiB. GPU 1 has a total"
        " capacity of 23.50 GiB of which 11.25 MiB is free. Process 2886328 has 21.25 GiB memory in"
        " use. Process 17 has 512.00 MiB memory in use. Including non-PyTorch memory, this process"
        " has 1.75 GiB memory in use. Of the allocated memory 1.25 GiB is allocated by PyTorch, and"
        " 40.00 MiB is reserved by PyTorch but unallocated.",
        Shortage(
            wanted=GIB * 3 // 2,
            gpu=1,
            capacity=GIB * 47 // 2,
            free=MIB * 45 // 4,
            its_own=GIB * 7 // 4,
            holders=((2886328, GIB * 85 // 4), (17, 512 * MIB)),
        ),
    ),
    "2.1": (
        "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 512 bytes. GPU 0 has a"
        " total capacty of 8.00 GiB of which 0 bytes is free. Process 9 has 17179869184.00 GiB"
        " memory in use.",
        Shortage(wanted=512, gpu=0, capacity=8 * GIB, free=0),
    ),
    "1.x": (
        "RuntimeError: CUDA out of memory. Tried to allocate 20.00 MiB (GPU 0; 7.75 GiB total"
        " capacity; 6.00 GiB already allocated; 17.50 MiB free; 6.25 GiB reserved in total by"
        " PyTorch)",
        Shortage(
            wanted=20 * MIB,
            gpu=0,
            capacity=GIB * 31 // 4,
            free=MIB * 35 // 2,
            its_own=GIB * 25 // 4,
        ),
    ),
    "no figures": ("Model actor is out of memory, model id: whisper-0", None),
    "another engine": ("CUDA failed with error out of memory", None),
    "only what was wanted": (
        "CUDA out of memory. Tried to allocate 2.00 GiB.",
        Shortage(wanted=2 * GIB),
    ),
}


@pytest.mark.parametrize("version", SAID)
def test_the_figures_are_read(version: str) -> None:
    said, expected = SAID[version]
    assert shortage_of(f'{{"detail": "{said}"}}') == expected


def test_they_are_told_in_plain_words() -> None:
    assert Shortage(2 * GIB).told() == "It asked for 2.0 GiB."
    today = SAID["today"][1]
    assert today is not None
    assert today.told() == (
        "It asked for 1.5 GiB, and GPU 1 had 11.2 MiB of 23.5 GiB free; process 2886328 holds"
        " 21.2 GiB, process 17 holds 512.0 MiB, the process itself holds 1.8 GiB."
    )
