"""Counts what a training step of transformers' own Whisper keeps in memory, without a GPU.

The model, the loss and the backward pass run for real, on tensors that have sizes and no storage;
every storage that comes and goes is counted in the allocator's steps of 512 bytes. The two things
that only exist on CUDA are put in: mixed precision (its lists of operations and its cache of
weights) and the fused attention (what it keeps). ``tests/data/finetune_counted.json`` is the
result, to which ``finetuning.memory`` is held.

    pip install -r requirements-finetune.txt
    python -m scripts.count_finetune_memory > tests/data/finetune_counted.json
"""

from __future__ import annotations

import importlib
import json
import sys
import weakref
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from core.models import shape_of

MIB = 1024 * 1024
STEP = 512
RANK = 32

HALF = {functional.linear, functional.conv1d, torch.conv1d, torch.matmul, torch.Tensor.matmul,
        torch.bmm, torch.Tensor.__matmul__}  # fmt: skip
FULL = {functional.layer_norm, torch.layer_norm, functional.softmax, torch.softmax,
        functional.cross_entropy, functional.log_softmax, functional.nll_loss}  # fmt: skip
"""Operations CUDA's mixed precision runs in 16 and in 32 bits (PyTorch, Autocast op reference)."""


@dataclass(frozen=True, slots=True)
class Case:
    base_model: str
    method: str
    per_device_train_batch_size: int
    label_tokens: int
    gradient_checkpointing: bool
    attention: str = "sdpa"
    fp16: bool = True
    accumulating: bool = True
    """Whether gradients of earlier steps are there."""


CASES = (
    Case("tiny", "full", 8, 225, False),
    Case("tiny", "full", 16, 225, True),
    Case("tiny", "full", 2, 100, False, accumulating=False),
    Case("base", "full", 2, 100, True, accumulating=False),
    Case("base", "lora", 8, 225, True, accumulating=False),
    Case("small", "full", 16, 225, True, "eager"),
    Case("small", "full", 16, 225, True),
    Case("small", "full", 8, 225, False, accumulating=False),
    Case("small", "full", 4, 100, False, fp16=False),
    Case("medium", "full", 2, 225, True, "eager"),
    Case("medium", "full", 8, 128, False, accumulating=False),
    Case("medium", "lora", 8, 128, True),
    Case("large-v2", "full", 1, 225, True),
    Case("large-v3", "full", 1, 225, True, accumulating=False),
    Case("large-v3", "full", 16, 225, True, accumulating=False),
    Case("large-v3", "full", 4, 225, False),
    Case("large-v3", "full", 8, 128, False, "eager"),
    Case("large-v3", "lora", 4, 225, False),
    Case("large-v3", "lora", 8, 225, True),
    Case("large-v3", "lora", 2, 128, False, "eager"),
    Case("large-v3", "lora", 8, 128, True, "eager"),
    Case("large-v3", "full", 2, 225, True, fp16=False),
    Case("large-v3", "lora", 4, 225, False, fp16=False, accumulating=False),
    Case("large-v3-turbo", "full", 8, 225, False),
    Case("large-v3-turbo", "full", 8, 225, True, accumulating=False),
    Case("large-v3-turbo", "lora", 4, 225, True),
    Case("distil-large-v3", "lora", 4, 225, False),
)


class Tracker(TorchDispatchMode):
    """Bytes of all storages that are alive, and the most there were."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._alive: dict[int, int] = {}

    def add(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._alive:
            return
        self._alive[key] = -(-storage.nbytes() // STEP) * STEP
        self.now += self._alive[key]
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._drop, key)

    def _drop(self, key: int) -> None:
        self.now -= self._alive.pop(key, 0)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, torch.Tensor) and leaf.device.type == "cpu":
                self.add(leaf)
        return made


class MixedPrecision(TorchFunctionMode):
    """CUDA's, on tensors of any device."""

    def __init__(self, on: bool) -> None:
        super().__init__()
        self.on, self.caching = on, True
        self.cache: dict[int, torch.Tensor] = {}

    def _cast(self, value: Any, kind: torch.dtype) -> Any:
        if not isinstance(value, torch.Tensor) or not value.is_floating_point():
            return value
        if value.dtype == kind:
            return value
        remembered = isinstance(value, nn.Parameter) and value.requires_grad and self.caching
        if kind == torch.float16 and remembered:
            return self.cache.setdefault(id(value), value.to(kind))
        return value.to(kind)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.on and func in HALF | FULL:
            kind = torch.float16 if func in HALF else torch.float32
            args = tuple(self._cast(value, kind) for value in args)
            kwargs = {name: self._cast(value, kind) for name, value in kwargs.items()}
        return func(*args, **kwargs)


class FusedAttention(torch.autograd.Function):
    """Keeps queries, keys, values, output and one number a row, and makes three gradients."""

    @staticmethod
    def forward(ctx: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        out = torch.empty_like(q)
        ctx.save_for_backward(q, k, v, out, torch.empty(q.shape[:3], dtype=torch.float32))
        return out

    @staticmethod
    def backward(ctx: Any, *_: Any) -> Any:
        return tuple(torch.empty_like(tensor) for tensor in ctx.saved_tensors[:3])


class Adapter(nn.Module):
    """A LoRA pair beside a frozen layer."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base
        self.down = nn.Linear(base.in_features, RANK, bias=False)
        self.up = nn.Linear(RANK, base.out_features, bias=False)

    def forward(self, states: torch.Tensor) -> Any:
        return self.base(states) + self.up(self.down(states.to(torch.float32)))


def build(case: Case) -> Any:
    """transformers' model of the case's size; run inside FakeTensorMode."""
    transformers = importlib.import_module("transformers")
    shape = shape_of(case.base_model)
    config = transformers.WhisperConfig(
        vocab_size=shape.vocabulary, num_mel_bins=shape.mels, d_model=shape.width,
        encoder_layers=shape.encoder_layers, decoder_layers=shape.decoder_layers,
        encoder_attention_heads=shape.heads, decoder_attention_heads=shape.heads,
        encoder_ffn_dim=4 * shape.width, decoder_ffn_dim=4 * shape.width, use_cache=False,
    )  # fmt: skip
    config._attn_implementation = "eager"
    model = transformers.WhisperForConditionalGeneration(config)
    model.config._attn_implementation = "fused" if case.attention == "sdpa" else "eager"
    if case.method == "lora":
        _freeze(model)
    model.train()
    if case.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    return model


def _freeze(model: Any) -> None:
    model.requires_grad_(False)
    for module in list(model.modules()):
        for name in ("q_proj", "v_proj"):
            if isinstance(getattr(module, name, None), nn.Linear):
                setattr(module, name, Adapter(getattr(module, name)))
    # Without a gradient at the input, checkpointing would cut the adapters off.
    model.model.encoder.conv1.register_forward_hook(lambda *args: args[2].requires_grad_(True))


def count(case: Case) -> float:
    """MiB at the peak of one step after the first, optimizer states included."""
    tracker, mixed = Tracker(), MixedPrecision(case.fp16)

    def fused(module: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> Any:
        kind = torch.float16 if case.fp16 else query.dtype
        states = (tensor.to(kind) for tensor in (query, key, value))
        return FusedAttention.apply(*states).transpose(1, 2), None

    utilities = importlib.import_module("transformers.modeling_utils")
    utilities.ALL_ATTENTION_FUNCTIONS.register("fused", fused)
    with FakeTensorMode():
        model = build(case)
        trained = [weight for weight in model.parameters() if weight.requires_grad]
        for tensor in (*model.parameters(), *model.buffers()):
            tracker.add(tensor)
        with tracker:
            states = [torch.zeros_like(weight) for weight in trained for _ in range(2)]
            if case.accumulating:
                for weight in trained:
                    weight.grad = torch.zeros_like(weight)
            shape, rows = shape_of(case.base_model), case.per_device_train_batch_size
            sound = torch.empty(rows, shape.mels, 3000)
            labels = torch.zeros(rows, case.label_tokens, dtype=torch.long)
            tracker.peak = 0
            with mixed:
                loss = model(input_features=sound, labels=labels).loss
            mixed.cache.clear()
            mixed.caching = False
            # A torch function would switch the mode off while layers are calculated again.
            with mixed, torch._C.DisableTorchFunctionSubclass():
                torch.autograd.Variable._execution_engine.run_backward(
                    (loss,), (torch.ones_like(loss),), False, False, (),
                    allow_unreachable=True, accumulate_grad=True,
                )  # fmt: skip
        del states
    return tracker.peak / MIB


def main() -> int:
    rows = [asdict(case) | {"peak_mib": round(count(case))} for case in CASES]
    json.dump(rows, sys.stdout, indent=1)
    sys.stdout.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
