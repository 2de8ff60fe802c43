"""What to know about a fine-tuning before it is started: short sentences for people."""

from __future__ import annotations

from finetuning.options import EFFECTIVE, WINDOW_S, FinetuneOptions

DATA_HINT = (
    "How much transcribed speech a model needs: under 10 hours small or medium, 10 to 50 hours"
    " medium or large-v3, over 50 hours large-v3."
)

METHOD_NAMES = {
    "full": "all weights",
    "8bit": "all weights, optimizer in 8 bits",
    "lora": "LoRA adapters",
}


def method_name(options: FinetuneOptions) -> str:
    """What is trained, and how: ``LoRA adapters, weights in 8 bits``."""
    name = METHOD_NAMES[options.method]
    return f"{name}, weights in 8 bits" if options.use_8bit else name


def warnings_of(options: FinetuneOptions, used_mib: float = 0.0) -> tuple[str, ...]:
    """Everything worth saying, the gravest first."""
    return tuple(_of_the_batch(options)) + tuple(_of_the_rest(options, used_mib))


def _of_the_batch(options: FinetuneOptions) -> list[str]:
    found = []
    effective = options.effective_batch_size
    if effective not in EFFECTIVE:
        way = "small: training may be unstable" if effective < EFFECTIVE.start else "large"
        advice = "more" if effective < EFFECTIVE.start else "fewer"
        found.append(
            f"The effective batch of {effective} is {way}. {EFFECTIVE.start} to"
            f" {EFFECTIVE.stop - 1} is usual: take {advice} accumulation steps."
        )
    if options.per_device_train_batch_size == 1:
        found.append("One clip at a time leaves much of the GPU idle: expect slow training.")
    return found


def _of_the_rest(options: FinetuneOptions, used_mib: float) -> list[str]:
    found = []
    if options.use_8bit and not options.fp16:
        found.append("8-bit weights are multiplied in 16 bits: without fp16 they only get slower.")
    elif not options.fp16:
        found.append("Without fp16 activations take about 60 % more, and training is slower.")
    if options.use_8bit or options.method == "8bit":
        found.append("8 bits need the package bitsandbytes.")
    if options.use_8bit and not options.gradient_checkpointing:
        found.append("Trainers that load weights in 8 bits switch checkpointing on by themselves.")
    if options.max_audio_len < WINDOW_S and options.pad_to_30s:
        found.append(
            f"max_audio_len {options.max_audio_len:g} leaves longer clips out. The others are"
            " padded to 30 s all the same, so that only the shorter transcripts save memory."
        )
    if not options.pad_to_30s:
        found.append(
            "Shortened input needs a training program made for it: transformers refuses it."
        )
    if options.gpus > 1:
        found.append(
            "Each GPU holds a whole copy: more GPUs train faster, but each still needs the same "
            "memory."
        )
    if used_mib > 0:
        found.append(f"Others hold {used_mib:,.0f} MiB of the card; they are planned around.")
    return found
