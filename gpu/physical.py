"""Memory of a worker, calculated from what CTranslate2 keeps there.

    total = context and libraries + weights + the larger of
              encoder scratch                 B x (attention scores and activations)
              decoder: cross-attention cache  B x 2 x layers x 1500 x width
                       self-attention cache   beams x 2 x layers x tokens x width
                       logits                 B x beams x vocabulary x 4 bytes

The encoder has ended when the decoder begins, and the allocator gives its memory to the caches:
hence the larger of the two. The cross-attention cache is not repeated for beams
(transformer.cc). Windows are never longer than 30 s, so the length of a segment plays no part.

Constants marked *fitted* come from least squares over the published peaks of
``bench.published_peaks``, which the result meets within 5 % where they were measured with today's
version; ``python -m bench.memory --published`` shows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from core.models import (
    DECODER_POSITIONS,
    ENCODER_POSITIONS,
    MODELS,
    Shape,
    find_model,
    shape_of,
)
from core.types import ModelSpec
from gpu.peaks import Key
from gpu.support import Capability, supports

MIB = 2**20

WEIGHT_BYTES = {
    "int4": 0.5,
    "int8": 1.0,
    "int8_float16": 1.0,
    "int8_bfloat16": 1.0,
    "int8_float32": 1.0,
    "int16": 2.0,
    "float16": 2.0,
    "bfloat16": 2.0,
    "float32": 4.0,
}
"""In memory, whatever type the files have: CTranslate2 converts while it loads. It has no int4 for
Whisper; the row answers the guide's question what it would take."""

DISK_BYTES_PER_WEIGHT = 2.0
"""Conversions are published in float16; only a model outside ``core.models`` is judged by it."""

CUDA_CONTEXT_MIB = 440.0
"""CUDA context, kernels and cuBLAS of one process (*fitted*; drivers differ by 100 MiB)."""
FLOAT_WORKSPACE_MIB = 100.0
"""What matrix products in floating point keep besides (*fitted*)."""
SCORE_BUFFERS = 3.6
"""Matrices of heads x 1500 x 1500 that one window's encoder pass keeps at a time (*fitted*)."""
ACTIVATIONS = 10
"""Buffers of 1500 x width beside them: input, norms, queries, keys, values, feed-forward."""
LONGEST_COPIES = 2
"""The longest window's self-attention cache is copied when beams change places (*fitted*)."""
USUAL_TOKENS = 30
"""Tokens that the other windows of a batch hold when the longest is at its end (*fitted*): most
have ended by then and left the batch."""

CPU_BASE_MIB = 200.0
"""Interpreter and libraries of a CPU worker (*fitted* to ``python -m bench.memory`` with tiny.en
and base on two cores, which it meets within 12 %)."""
CPU_SCORE_BUFFERS = 0.93
"""As ``SCORE_BUFFERS`` on a CPU (*fitted* likewise)."""
CPU_ENCODE_ROWS = 3
"""Windows encoded at a time there, whatever the batch (``decoding.model``)."""

CALIBRATED = frozenset(
    name for name in MODELS if shape_of(name).width == 1280 or name.startswith("small")
)
"""Models of the sizes the published peaks are of."""
CALIBRATED_BATCH = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What is to run."""

    model: str
    """A name of ``core.models``; any other needs ``parameters_m``."""
    compute_type: str = "float16"
    batch_size: int = 1
    beam_size: int = 5
    kind: Literal["cuda", "cpu"] = "cuda"
    capability: Capability | None = None
    parameters_m: float | None = None
    """Millions of parameters of a model that is not in the table; its shape is the nearest's."""

    @property
    def key(self) -> Key:
        return Key(self.model, self.compute_type, self.batch_size, self.beam_size)

    @property
    def shape(self) -> Shape:
        """Raises ModelError for an unknown model."""
        if self.model in MODELS or self.parameters_m is None:
            return shape_of(self.model)
        wanted = self.parameters
        return min(map(shape_of, MODELS), key=lambda shape: abs(shape.parameters - wanted))

    @property
    def parameters(self) -> float:
        if self.model in MODELS or self.parameters_m is None:
            return shape_of(self.model).parameters
        return self.parameters_m * 1e6

    @property
    def activation_bytes(self) -> int:
        """Of everything that is calculated: int8 is a type of weights alone."""
        wide = self.compute_type in ("float32", "int8_float32", "int16") or self.kind == "cpu"
        if self.compute_type == "int8":
            wide = wide or not supports(self.capability, "float16")
        return 4 if wide else 2


SEGMENT_NOTE = (
    "The length of a segment does not change the memory: Whisper decodes windows of 30 s."
)


def setup_of(
    model: ModelSpec, capability: Capability | None, *, batch_size: int = 1, beam_size: int = 5
) -> Setup:
    """What a worker runs; a model outside the table is judged by the size of its file."""
    info = find_model(model.name)
    name = model.name if info is None else info.name
    return Setup(
        model=name,
        compute_type=model.compute_type,
        batch_size=batch_size,
        beam_size=beam_size,
        kind=model.device,
        capability=capability,
        parameters_m=None if name in MODELS else _parameters_m(model),
    )


def _parameters_m(model: ModelSpec) -> float:
    """Millions of parameters, by the size of the file."""
    try:
        size = Path(model.path, "model.bin").stat().st_size
    except OSError:
        # The load itself will say what is wrong with the files.
        size = 0
    return max(1.0, size / DISK_BYTES_PER_WEIGHT / 1e6)


def calculate(setup: Setup) -> Mapping[str, float]:
    """MiB by part; the parts add up to the peak.

    Raises:
        ModelError: the model is unknown and its size was not given.
    """
    weights = setup.parameters * WEIGHT_BYTES.get(setup.compute_type, 2.0) / MIB
    if setup.kind == "cpu":
        return _on_cpu(setup, weights)
    context = CUDA_CONTEXT_MIB
    if "int" not in setup.compute_type:
        context += FLOAT_WORKSPACE_MIB
    encoder, decoder = _encoder_mib(setup), _decoder_mib(setup)
    parts = {"context and libraries": context, "weights": weights}
    held = sum(decoder.values())
    parts |= decoder
    # What the encoder needs beyond the memory that the caches will take over.
    parts["encoder scratch"] = max(0.0, encoder - held)
    return parts


def _encoder_mib(setup: Setup) -> float:
    shape = setup.shape
    scores = SCORE_BUFFERS * shape.heads * ENCODER_POSITIONS**2
    activations = ACTIVATIONS * ENCODER_POSITIONS * shape.width
    return setup.batch_size * (scores + activations) * setup.activation_bytes / MIB


def _decoder_mib(setup: Setup) -> dict[str, float]:
    shape, rows = setup.shape, setup.batch_size
    state = 2 * shape.decoder_layers * shape.width * setup.activation_bytes / MIB
    tokens = DECODER_POSITIONS * LONGEST_COPIES + (rows - 1) * USUAL_TOKENS
    return {
        "cross-attention cache": rows * ENCODER_POSITIONS * state,
        "self-attention cache": setup.beam_size * tokens * state,
        "logits": rows * setup.beam_size * shape.vocabulary * 4 / MIB,
    }


def _on_cpu(setup: Setup, weights: float) -> dict[str, float]:
    """Encoder output is kept there for a second search, so its rows lie beside the caches."""
    shape, rows = setup.shape, setup.batch_size
    scores = CPU_SCORE_BUFFERS * shape.heads * ENCODER_POSITIONS**2 * setup.activation_bytes
    output = ENCODER_POSITIONS * shape.width * setup.activation_bytes
    state = 2 * shape.decoder_layers * output
    return {
        "context and libraries": CPU_BASE_MIB,
        "weights": weights,
        "encoder scratch": min(rows, CPU_ENCODE_ROWS) * scores / MIB,
        "encoder output": rows * output / MIB,
        "cross-attention cache": rows * state / MIB,
    }


def calibrated_error(setup: Setup) -> float:
    """Share that a calculated total may be off: the published peaks are met within 5 %, and other
    drivers, sizes, beams and larger batches are further from them."""
    if setup.batch_size > 2 * CALIBRATED_BATCH:
        return 0.20
    if setup.kind == "cpu":
        return 0.15
    known = setup.model in CALIBRATED and setup.activation_bytes == 2
    if known and setup.beam_size == 5 and setup.batch_size <= CALIBRATED_BATCH:
        return 0.10
    return 0.15
