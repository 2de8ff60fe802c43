"""What a fine-tuning is told to do: the options of the guide, complete, checked and frozen.

The planner calculates with them; the training that is to come takes the same object. Commands
spell them with underscores, as training scripts do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from core.errors import InvalidOption
from core.models import ENCODER_POSITIONS, Shape, named_model, shape_of

Method = Literal["full", "8bit", "lora"]
"""full: every weight, Adam in 32 bits. 8bit: every weight, Adam's states in 8 bits. lora: adapters
beside frozen weights, which ``use_8bit`` keeps in 8 bits."""
METHODS: dict[Method, str] = {
    "full": "all weights",
    "8bit": "all weights, optimizer in 8 bits",
    "lora": "LoRA adapters",
}
"""As people call them."""

Attention = Literal["sdpa", "eager"]
"""sdpa: fused kernels, the default of transformers since 4.37. eager: keeps every score."""

WINDOW_S = 30.0
"""What Whisper's feature extractor pads every clip to."""
LABEL_TOKENS = 225
"""Tokens of 30 s, generously: ``generation_max_length`` of the Hugging Face recipes."""
MAX_LABEL_TOKENS = 448
_DISTIL = "distil-whisper/"
"""Owner on the hub of the distil models, whose own names begin alike."""
EFFECTIVE = range(8, 33)
"""Batch sizes the guide advises: per-device batch x accumulation x GPUs."""
MAX_BATCH = 1024
MAX_RANK = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneOptions:
    """One fine-tuning. Raises InvalidOption or ModelError for what cannot be."""

    base_model: str = "large-v3"
    """Any spelling of a Whisper model; kept by the table's name."""
    method: Method = "full"
    per_device_train_batch_size: int = 8
    per_device_eval_batch_size: int = 8
    gradient_accumulation_steps: int = 1
    gpus: int = 1
    """GPUs that train together, each with a whole copy of everything (data parallel)."""
    use_8bit: bool = False
    """Frozen weights in 8 bits: LoRA only, because 8-bit weights cannot be trained."""
    fp16: bool = True
    """Mixed precision: calculated in 16 bits from 32-bit weights."""
    gradient_checkpointing: bool = False
    """Activations are calculated again when they are needed: less memory, a third slower."""
    max_audio_len: float = WINDOW_S
    """Longest clip in seconds; longer ones are left out."""
    pad_to_30s: bool = True
    """As every known recipe does. False: the training really shortens the encoder's input."""
    label_tokens: int = 0
    """Tokens in the longest transcript; 0: by the clip's length."""
    lora_rank: int = 32
    attention: Attention = "sdpa"

    def __post_init__(self) -> None:
        name = self.base_model.strip().removeprefix(_DISTIL)
        object.__setattr__(self, "base_model", named_model(name).name)
        _one_of("method", self.method, tuple(METHODS))
        _one_of("attention", self.attention, get_args(Attention))
        for name, highest in (
            ("per_device_train_batch_size", MAX_BATCH),
            ("per_device_eval_batch_size", MAX_BATCH),
            ("gradient_accumulation_steps", MAX_BATCH),
            ("gpus", MAX_BATCH),
            ("lora_rank", MAX_RANK),
        ):
            _between(name, getattr(self, name), 1, highest)
        _between("label_tokens", self.label_tokens, 0, MAX_LABEL_TOKENS)
        _between("max_audio_len", self.max_audio_len, 1, WINDOW_S)
        if self.use_8bit and self.method != "lora":
            raise InvalidOption(
                f"The method {self.method} trains all weights; 8-bit weights cannot be trained.",
                hint="Choose the method lora, which is what the guide means by --use_8bit=True, "
                "or leave use_8bit out (the method 8bit keeps the optimizer's states in 8 bits).",
            )

    @property
    def shape(self) -> Shape:
        return shape_of(self.base_model)

    @property
    def method_name(self) -> str:
        """What is trained, and how: ``LoRA adapters, weights in 8 bits``."""
        name = METHODS[self.method]
        return f"{name}, weights in 8 bits" if self.use_8bit else name

    @property
    def effective_batch_size(self) -> int:
        """Clips each step of the optimizer learns from."""
        return self.per_device_train_batch_size * self.gradient_accumulation_steps * self.gpus

    @property
    def positions(self) -> int:
        """Positions of the encoder: 1,500 unless the training shortens its input."""
        if self.pad_to_30s:
            return ENCODER_POSITIONS
        return math.ceil(ENCODER_POSITIONS * self.max_audio_len / WINDOW_S)

    @property
    def tokens(self) -> int:
        """Length of the longest row of labels: shorter clips have shorter transcripts."""
        return self.label_tokens or math.ceil(LABEL_TOKENS * self.max_audio_len / WINDOW_S)

    def arguments(self) -> tuple[str, ...]:
        """The options as a command line has them: the guide's, then those that differ."""
        options: dict[str, object] = {
            "base_model": f"{_hub_owner(self.base_model)}{self.base_model}",
            "method": self.method,
            "per_device_train_batch_size": self.per_device_train_batch_size,
            "per_device_eval_batch_size": self.per_device_eval_batch_size,
            "gradient_accumulation_steps": self.gradient_accumulation_steps,
            "use_8bit": self.use_8bit,
            "fp16": self.fp16,
            "max_audio_len": f"{self.max_audio_len:g}",
            "gradient_checkpointing": self.gradient_checkpointing,
        }
        if self.gpus != 1:
            options["gpus"] = self.gpus
        for name, usual in _USUAL.items():
            if getattr(self, name) != usual:
                options[name] = getattr(self, name)
        return tuple(f"--{name}={value}" for name, value in options.items())


_USUAL = {"pad_to_30s": True, "label_tokens": 0, "lora_rank": 32, "attention": "sdpa"}


def _hub_owner(model: str) -> str:
    return _DISTIL if model.startswith("distil-") else "openai/whisper-"


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InvalidOption(f"{name} {value!r} is not known.", hint=f"Choose {', '.join(known)}.")


def _between(name: str, value: float, lowest: float, highest: float) -> None:
    if not lowest <= value <= highest:
        raise InvalidOption(
            f"{name} is {value:g}.", hint=f"Choose a number from {lowest:g} to {highest:g}."
        )
