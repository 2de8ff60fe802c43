"""Peaks other people measured and published: what ``gpu.physical`` is fitted to and held to.

``docs/gpu-memory.md`` shows each beside the calculation; tests hold those whose batch, beam and
precision are stated to 10 %.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    model: str
    compute_type: str
    batch_size: int
    peak_mib: float
    """As nvidia-smi counts: MiB, though some write MB."""
    source: str
    beam_size: int | None = 5
    """None: not stated."""
    with_context: bool = True
    """False: the number can only be the process's allocations without its CUDA context."""
    remark: str = ""

    @property
    def stated(self) -> bool:
        """Batch, beam and precision are known, so the calculation has to meet it."""
        return self.beam_size is not None and not self.remark


_README = "faster-whisper README, RTX 3070 Ti"
_ISSUE_1030 = "faster-whisper#1030, RTX 2080 Ti"

PUBLISHED = (
    Published(model="large-v2", compute_type="float16", batch_size=1, peak_mib=4525,
              source=_README),
    Published(model="large-v2", compute_type="float16", batch_size=8, peak_mib=6090,
              source=_README),
    Published(model="large-v2", compute_type="int8", batch_size=1, peak_mib=2926, source=_README),
    Published(model="large-v2", compute_type="int8", batch_size=8, peak_mib=4500, source=_README),
    Published(model="large-v2", compute_type="float16", batch_size=1, peak_mib=4755,
              source="faster-whisper README of 2023"),
    Published(model="large-v2", compute_type="int8", batch_size=1, peak_mib=3091,
              source="faster-whisper README of 2023"),
    Published(model="large-v3", compute_type="float16", batch_size=1, peak_mib=4521,
              source=_ISSUE_1030),
    Published(model="large-v3", compute_type="int8", batch_size=1, peak_mib=2953,
              source=_ISSUE_1030),
    Published(model="distil-large-v3", compute_type="float16", batch_size=1, peak_mib=2409,
              source=_ISSUE_1030),
    Published(model="distil-large-v3", compute_type="int8", batch_size=1, peak_mib=1481,
              source=_ISSUE_1030),
    Published(model="large-v3-turbo", compute_type="float16", batch_size=1, peak_mib=2537,
              source=_ISSUE_1030),
    Published(model="large-v3-turbo", compute_type="int8", batch_size=1, peak_mib=1545,
              source=_ISSUE_1030),
    Published(model="small", compute_type="float16", batch_size=1, peak_mib=1158, beam_size=None,
              source="wyoming-faster-whisper#122, Blackwell"),
    Published(model="small", compute_type="int8", batch_size=1, peak_mib=426, beam_size=None,
              source="wyoming-faster-whisper#122, Blackwell", with_context=False,
              remark="less than weights and a CUDA context together, so it is without the context"),
    Published(model="large-v3", compute_type="int8", batch_size=1, peak_mib=2723, beam_size=None,
              source="RTX 3050 4 GB", remark="whole card, desktop included"),
    Published(model="large-v3", compute_type="int8", batch_size=2, peak_mib=3043, beam_size=None,
              source="RTX 3050 4 GB", remark="whole card, desktop included"),
    Published(model="large-v3", compute_type="int8_float32", batch_size=4, peak_mib=4855,
              beam_size=None, source="GTX 1060", remark="5,180 less 325 of the desktop"),
    Published(model="large-v3", compute_type="int8_float32", batch_size=8, peak_mib=5635,
              beam_size=None, source="GTX 1060", remark="5,960 less 325; out of memory after that"),
    Published(model="large-v3", compute_type="float16", batch_size=1, peak_mib=4600, beam_size=None,
              source="RTX 5090, sovereign-asr-bench", remark="engine not stated"),
    Published(model="large-v3-turbo", compute_type="float16", batch_size=1, peak_mib=2500,
              beam_size=None, source="RTX 5090, sovereign-asr-bench", remark="engine not stated"),
    Published(model="large-v2", compute_type="float16", batch_size=1, peak_mib=5850,
              source="faster-whisper#390, 2023", remark="3 hours of audio; features of the whole"
              " file were on the card in that version"),
)  # fmt: skip
