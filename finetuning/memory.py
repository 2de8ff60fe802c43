"""What fine-tuning takes of one GPU's memory, part by part, at the moment it takes most.

The bytes each layer keeps were counted on the training step of transformers itself, on tensors
without storage (``scripts/count_finetune_memory.py``); ``docs/fine-tuning-memory.md`` explains
them and compares with what people measured. Everything is for one GPU of a data-parallel run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from finetuning.options import FinetuneOptions
from gpu.estimate import Estimate

MIB = 1024.0 * 1024.0
ERROR = 0.15
"""Bar of every estimate: drivers, allocators and trainers differ by so much."""

CONTEXT_MIB = 500.0
"""CUDA context, kernels and library workspaces of a PyTorch process."""
FRAGMENTATION = 0.05
"""Of what comes and goes, the share the allocator holds without using it."""

WEIGHT, HALF, GRADIENT = 4, 2, 4
ADAM, ADAM_8BIT = 8.0, 2.03
"""Two moments a weight: 4 bytes each, or 1 byte and a scale for every 256."""

CHECKPOINT = 4
"""A layer's input, in 32 bits: all that checkpointing keeps of it."""
LOGITS = 12
"""Of each logit at the loss: its logarithm, and a gradient before and after the softmax; 4 each."""
LOGITS_FORWARD = 10
"""The same while the loss is calculated: 16 bits, 32 bits and the logarithm."""
EMBEDDING_GRADIENT = 10
"""Of each weight of the embedding, which is the output projection too: its gradients in passing."""


@dataclass(frozen=True, slots=True)
class KeptBytes:
    """Bytes kept for the backward pass. Of an encoder layer: for each position and unit of width;
    eager attention adds some for each score (heads x positions, by width)."""

    encoder: float
    encoder_eager: tuple[float, float]
    token: float
    """Of a decoder layer, for each token and unit of width."""
    position: float
    """Of a decoder layer's keys and values, for each encoder position and unit of width."""
    front: float
    """Convolutions, positions and last norm of the encoder, like a layer."""
    passing: float
    """What a layer's backward pass needs beside what is kept …"""
    passing_eager: tuple[float, float]
    recomputed: float
    """… and where checkpointing calculates the layer again."""
    recomputed_eager: tuple[float, float]


KEPT: dict[tuple[bool, bool], KeptBytes] = {
    (True, True): KeptBytes(42, (40, 6), 54, 8, 14.5, 2.4, (-34, 6), 43, (6.6, 12)),
    (True, False): KeptBytes(68, (64, 4), 88, 8, 28.5, 6.4, (-58, 8), 75, (10.6, 12)),
    (False, True): KeptBytes(28, (26, 6), 38.3, 6, 14.5, 8.3, (-20, 6), 35, (4.7, 12)),
    (False, False): KeptBytes(44, (40, 4), 60.5, 8, 28.5, 18, (-34, 8), 67, (10.8, 12)),
}
"""By whether all weights are trained, and whether in mixed precision."""

EVALUATION = 34.6
EVALUATION_EAGER = (10.6, 8)
"""Of one encoder layer without gradients; ``generate`` runs it outside mixed precision."""

WEIGHTS, COPIES, ADAPTERS = "weights", "16-bit copies", "adapters"
OPTIMIZER, GRADIENTS, BUCKETS = "optimizer states", "gradients", "gradient exchange"
ACTIVATIONS, PASSING, LOGIT_PART = "activations", "layer being calculated", "logits"
CACHES, RESERVE, CONTEXT = "evaluation caches", "allocator reserve", "CUDA context"
PARTS = (
    WEIGHTS, COPIES, ADAPTERS, OPTIMIZER, GRADIENTS, BUCKETS, ACTIVATIONS, PASSING, LOGIT_PART,
    CACHES, RESERVE, CONTEXT,
)  # fmt: skip
"""In the order a bar shows them."""
_COMES_AND_GOES = (COPIES, GRADIENTS, ACTIVATIONS, PASSING, LOGIT_PART, CACHES)

LOSS, DECODER, ENCODER = "at the loss", "after the decoder's backward pass", "in the encoder"
END, EVALUATING = "at the end of the backward pass", "in evaluation"


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneEstimate(Estimate):
    """Memory of one GPU that trains; the parts are those at the peak."""

    moment: str
    """When the peak is."""
    moments: Mapping[str, float]
    """MiB at each of the moments that can be the peak."""
    trainable: int
    """Parameters that are trained."""
    error: float = ERROR
    source: str = "calculated"


def trainable_parameters(options: FinetuneOptions) -> int:
    """All of them, or those of the adapters: two of each attention, for queries and values."""
    shape = options.shape
    if options.method != "lora":
        return shape.parameters
    attentions = shape.encoder_layers + 2 * shape.decoder_layers
    return attentions * 2 * 2 * shape.width * options.lora_rank


def weight_bytes(options: FinetuneOptions) -> float:
    """32 bits each; with ``use_8bit`` the matrices of the layers in 8 bits, all else in 32."""
    parameters = options.shape.parameters
    if not options.use_8bit:
        return WEIGHT * parameters
    matrices = sum(_matrices(options))
    return matrices + WEIGHT * (parameters - matrices)


def estimate_finetune(options: FinetuneOptions) -> FinetuneEstimate:
    """The peak of training and evaluation together, with its parts."""
    moments = {
        name: _complete(parts)
        for name, parts in (
            (LOSS, _at_the_loss(options)),
            (DECODER, _after_the_decoder(options)),
            (ENCODER, _in_the_encoder(options)),
            (END, _at_the_end(options)),
            (EVALUATING, _evaluating(options)),
        )
    }
    sums = {name: sum(parts.values()) for name, parts in moments.items()}
    peak = max(sums, key=lambda name: sums[name])
    return FinetuneEstimate(
        parts=MappingProxyType(moments[peak]),
        total_mib=sums[peak],
        moment=peak,
        moments=MappingProxyType(sums),
        trainable=trainable_parameters(options),
    )


def _complete(bytes_by_part: dict[str, float]) -> dict[str, float]:
    """In MiB, in order, with what every process has."""
    mib = {part: amount / MIB for part, amount in bytes_by_part.items()}
    mib[RESERVE] = FRAGMENTATION * sum(mib.get(part, 0.0) for part in _COMES_AND_GOES)
    mib[CONTEXT] = CONTEXT_MIB
    return {part: mib[part] for part in PARTS if mib.get(part, 0.0) > 0}


def _standing(options: FinetuneOptions) -> dict[str, float]:
    """What is there all the time, gradients apart."""
    trainable = trainable_parameters(options)
    state = ADAM_8BIT if options.method == "8bit" else ADAM
    parts = {WEIGHTS: weight_bytes(options), OPTIMIZER: state * trainable}
    if options.method == "lora":
        parts[ADAPTERS] = float(WEIGHT * trainable)
    if options.gpus > 1:
        parts[BUCKETS] = float(GRADIENT * trainable)
    return parts


def _gradients(options: FinetuneOptions, done: float) -> dict[str, float]:
    """Kept from step to step of an accumulation; otherwise as many as the pass has ``done``."""
    share = 1.0 if options.gradient_accumulation_steps > 1 else done
    return {GRADIENTS: GRADIENT * trainable_parameters(options) * share}


def _at_the_loss(options: FinetuneOptions) -> dict[str, float]:
    """Everything is kept and nothing given back yet. With checkpointing the 16-bit copies are
    there until the loss is known, then the logits' gradients come."""
    logits = options.per_device_train_batch_size * options.tokens * options.shape.vocabulary
    parts = _standing(options) | _gradients(options, 0.0)
    parts[ACTIVATIONS] = _front(options) + _encoder(options) + _decoder(options)
    before = {COPIES: _cached(options), LOGIT_PART: LOGITS_FORWARD * logits}
    after = {COPIES: _copies(options), LOGIT_PART: LOGITS * logits}
    if not options.gradient_checkpointing:
        return parts | after
    return parts | max(before, after, key=lambda some: sum(some.values()))


def _after_the_decoder(options: FinetuneOptions) -> dict[str, float]:
    """The embedding's gradient is put together while all of the encoder is still kept."""
    embedding = options.shape.vocabulary * options.shape.width
    passing = EMBEDDING_GRADIENT * embedding if options.method != "lora" else 0.0
    return _encoder_moment(options, passing)


def _in_the_encoder(options: FinetuneOptions) -> dict[str, float]:
    return _encoder_moment(options, _passing(options))


def _encoder_moment(options: FinetuneOptions, passing: float) -> dict[str, float]:
    shape = options.shape
    parts = _standing(options) | _gradients(options, shape.decoder_parameters / shape.parameters)
    parts[ACTIVATIONS] = _front(options) + _encoder(options)
    if not options.gradient_checkpointing and options.fp16:
        parts[COPIES] = float(HALF * _matrices(options)[0])
    return parts | {PASSING: passing}


def _at_the_end(options: FinetuneOptions) -> dict[str, float]:
    """All gradients are there, of the activations only the first layer's."""
    parts = _standing(options) | _gradients(options, 1.0)
    parts[ACTIVATIONS] = _front(options) + _encoder(options) / options.shape.encoder_layers
    return parts | {PASSING: _passing(options)}


def _evaluating(options: FinetuneOptions) -> dict[str, float]:
    """Encoder, then either the loss or a search with its caches; the gradients are gone."""
    shape, batch = options.shape, options.per_device_eval_batch_size
    layer = batch * options.positions * shape.width * _scored(options, EVALUATION, EVALUATION_EAGER)
    logits = float(LOGITS_FORWARD * batch * options.tokens * shape.vocabulary)
    kept = WEIGHT if not options.fp16 else HALF
    states = 2 * shape.decoder_layers * shape.width * batch * kept
    caches = float(states * (options.positions + options.tokens))
    parts = _standing(options) | {COPIES: _cached(options)}
    if logits > max(layer, caches):
        return parts | {LOGIT_PART: logits}
    return parts | ({PASSING: layer} if layer > caches else {CACHES: caches})


def _kept(options: FinetuneOptions) -> KeptBytes:
    return KEPT[options.method != "lora", options.fp16]


def _scored(options: FinetuneOptions, fused: float, eager: tuple[float, float]) -> float:
    """Bytes for each position and unit of width with the attention that is used."""
    if options.attention == "sdpa":
        return fused
    plain, score = eager
    return max(fused, plain + score * options.shape.heads * options.positions / options.shape.width)


def _states(options: FinetuneOptions) -> float:
    return float(options.per_device_train_batch_size * options.positions * options.shape.width)


def _front(options: FinetuneOptions) -> float:
    mels = 4.0 * options.per_device_train_batch_size * 2 * options.positions * options.shape.mels
    checkpoint = CHECKPOINT if options.gradient_checkpointing and options.fp16 else 0
    return mels + _states(options) * (_kept(options).front + checkpoint)


def _encoder(options: FinetuneOptions) -> float:
    kept = _kept(options)
    layer = _scored(options, kept.encoder, kept.encoder_eager)
    if options.gradient_checkpointing:
        layer = CHECKPOINT
    return options.shape.encoder_layers * _states(options) * layer


def _decoder(options: FinetuneOptions) -> float:
    shape, kept = options.shape, _kept(options)
    tokens = float(options.per_device_train_batch_size * options.tokens * shape.width)
    if options.gradient_checkpointing:
        return shape.decoder_layers * tokens * CHECKPOINT
    layer = tokens * kept.token + _states(options) * kept.position
    if options.attention == "eager":
        seen = options.positions + options.tokens
        score = kept.encoder_eager[1]
        layer += tokens / shape.width * score * shape.heads * seen
    return shape.decoder_layers * layer


def _passing(options: FinetuneOptions) -> float:
    kept = _kept(options)
    if options.gradient_checkpointing:
        layer = _scored(options, kept.recomputed, kept.recomputed_eager)
    else:
        layer = _scored(options, kept.passing, kept.passing_eager)
    return _states(options) * layer


def _matrices(options: FinetuneOptions) -> tuple[int, int]:
    """Weights in matrices of the encoder's and of the decoder's layers."""
    shape = options.shape
    square = shape.width * shape.width
    return 12 * square * shape.encoder_layers, 16 * square * shape.decoder_layers


def _copies(options: FinetuneOptions) -> float:
    """What the backward pass keeps in 16 bits: the output projection, and the layers' matrices
    unless they are checkpointed. 8-bit matrices are unpacked one by one."""
    if not options.fp16:
        return 0.0
    projection = float(HALF * options.shape.vocabulary * options.shape.width)
    if options.gradient_checkpointing or options.use_8bit:
        return projection
    return projection + HALF * sum(_matrices(options))


def _cached(options: FinetuneOptions) -> float:
    """What a forward pass keeps in 16 bits: mixed precision remembers the copies of weights that
    are trained until the pass has ended, checkpointed or not."""
    if not options.fp16 or options.method == "lora":
        return _copies(options)
    projection = options.shape.vocabulary * options.shape.width
    return float(HALF * (projection + sum(_matrices(options))))
