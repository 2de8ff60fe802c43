"""What others reported and measured about the memory of fine-tuning, as options of this planner.

``docs/fine-tuning-memory.md`` shows each beside the calculation and explains the differences.
"""

from __future__ import annotations

from dataclasses import dataclass

from finetuning.options import FinetuneOptions

GUIDE_GB = {
    "tiny": (2.0, 1.0, 0.5),
    "base": (3.0, 1.5, 1.0),
    "small": (4.0, 2.0, 1.5),
    "medium": (6.0, 3.0, 2.0),
    "large-v3": (12.0, 6.0, 4.0),
}
"""The guide's table: normal mode, 8-bit mode, batch 1."""
GUIDE_MODELS = tuple(GUIDE_GB)

GUIDE_CARDS_GB = (8, 12, 16)


def guide_columns(model: str) -> tuple[FinetuneOptions, FinetuneOptions, FinetuneOptions]:
    """What the columns of the guide's table mean: its trainer trains adapters whatever the mode.

    The guide does not say whether its normal mode checkpoints; only with it is there a match.
    """

    def options(batch: int, *, use_8bit: bool) -> FinetuneOptions:
        return FinetuneOptions(
            base_model=model,
            method="lora",
            use_8bit=use_8bit,
            gradient_checkpointing=True,
            per_device_train_batch_size=batch,
            per_device_eval_batch_size=batch,
        )

    return options(8, use_8bit=False), options(8, use_8bit=True), options(1, use_8bit=True)


def guide_recommendation(card_gb: int) -> FinetuneOptions | None:
    """The guide's command for a card, run as its trainer does: checkpointing only with 8 bits."""
    if card_gb == 8:
        return FinetuneOptions(
            base_model="medium",
            method="lora",
            use_8bit=True,
            gradient_checkpointing=True,
            per_device_train_batch_size=4,
            gradient_accumulation_steps=2,
            max_audio_len=25,
        )
    if card_gb == 12:
        return FinetuneOptions(
            base_model="large-v3",
            method="lora",
            use_8bit=True,
            gradient_checkpointing=True,
            per_device_train_batch_size=2,
            gradient_accumulation_steps=4,
            max_audio_len=25,
        )
    if card_gb >= 16:
        return FinetuneOptions(
            base_model="large-v3",
            method="lora",
            per_device_train_batch_size=4,
            gradient_accumulation_steps=2,
        )
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A reported run."""

    what: str
    options: FinetuneOptions
    source: str
    card_mib: float | None = None
    """It ran on a card of this size …"""
    next_batch: int | None = None
    """… and this batch, twice or more, was not advised there."""
    peak_mib: float | None = None
    """Memory it was seen to take."""
    stated: bool = True
    """Whether everything the calculation needs was said."""
    remark: str = ""


V100_MIB, A100_MIB, T4_MIB = 16_160.0, 40_536.0, 15_360.0
"""As nvidia-smi shows a 16 GB V100, a 40 GB A100 and a T4."""

_EVENT = "Hugging Face Whisper event, README"
_PEFT = "Vaibhavs10/fast-whisper-finetuning, README"
_TRAINER = "yeyupiaoling/Whisper-Finetune"


def _full(model: str, batch: int, evaluation: int, steps: int = 1) -> FinetuneOptions:
    """As in 2022 and 2023: transformers kept every attention score then."""
    return FinetuneOptions(
        base_model=model,
        method="full",
        gradient_checkpointing=True,
        attention="eager",
        per_device_train_batch_size=batch,
        per_device_eval_batch_size=evaluation,
        gradient_accumulation_steps=steps,
    )


def _adapters(batch: int, **other: object) -> FinetuneOptions:
    return FinetuneOptions(
        base_model="large-v2",
        method="lora",
        per_device_train_batch_size=batch,
        **other,  # type: ignore[arg-type]
    )


MEASURED = (
    Measured(what="small, full, V100 16 GB", options=_full("small", 16, 8, 2), source=_EVENT,
             card_mib=V100_MIB, next_batch=32),
    Measured(what="medium, full, V100 16 GB", options=_full("medium", 2, 1, 16), source=_EVENT,
             card_mib=V100_MIB, next_batch=8,
             remark="by calculation batch 4 just fits; no report says that it was tried"),
    Measured(what="small, full, A100 40 GB", options=_full("small", 64, 32), source=_EVENT,
             card_mib=A100_MIB, next_batch=128),
    Measured(what="medium, full, A100 40 GB", options=_full("medium", 32, 16), source=_EVENT,
             card_mib=A100_MIB, next_batch=64),
    Measured(what="large-v2, LoRA + 8 bits, T4", source=_PEFT, peak_mib=8192.0,
             options=_adapters(8, use_8bit=True, gradient_checkpointing=True, attention="eager",
                               label_tokens=128),
             remark="the batch of its notebook; PEFT of 2023 kept states in 16 bits, 940 MiB less"),
    Measured(what="the same row read as 8 GB with batch 24", source=_PEFT, peak_mib=8192.0,
             options=_adapters(24, use_8bit=True, gradient_checkpointing=True, label_tokens=128),
             stated=False,
             remark="weights, context and the inputs of 32 layers alone are 7,800 MiB; the table"
             " has 8 GB and “max. batch size 24” in two columns"),
    Measured(what="large-v2, LoRA + 8 bits, T4, its largest batch", source=_PEFT,
             options=_adapters(24, use_8bit=True, gradient_checkpointing=True, label_tokens=128),
             card_mib=T4_MIB, next_batch=40, remark="only with fused attention"),
    Measured(what="large, LoRA without 8 bits", source=f"{_TRAINER}#30", peak_mib=37 * 1024.0,
             options=_adapters(2, attention="eager", gpus=8)),
    Measured(what="large, LoRA without 8 bits", source=f"{_TRAINER}#30", peak_mib=63 * 1024.0,
             options=_adapters(4, attention="eager", gpus=8)),
    Measured(what="large-v2, full", source=f"{_TRAINER}#23", peak_mib=42 * 1024.0, stated=False,
             options=_full("large-v2", 16, 8),
             remark="batch “16, I think”; neither checkpointing nor accumulation is stated"),
    Measured(what="large-v2, full, 16 bytes a parameter", source=_PEFT, peak_mib=24 * 1024.0,
             options=_full("large-v2", 1, 1), stated=False,
             remark="about 24 GB is the rule of thumb, without a batch"),
    Measured(what="large-v3, full, A100 80 GB", source="vasistalodagala/whisper-finetune#20",
             peak_mib=41 * 1024.0, options=_full("large-v3", 16, 8, 2), stated=False,
             remark="the batch is not stated"),
)  # fmt: skip
