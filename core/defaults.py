"""What a request leaves open, filled in from the settings and the model: once for all fronts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from core.models import ModelInfo, check_request
from core.settings import Settings
from core.types import DecodeOptions


def decode_options(settings: Settings, **chosen: Any) -> DecodeOptions:
    """Options with what was chosen (None: not chosen) over what the settings say."""
    defaults = DecodeOptions(beam_size=settings.beam_size, batch_size=settings.batch_size)
    return replace(defaults, **{k: v for k, v in chosen.items() if v is not None})


def for_model(options: DecodeOptions, info: ModelInfo, *, audit: bool) -> DecodeOptions:
    """The options as the workers get them: language checked, and given where the model has one.

    Raises:
        InvalidOption, ModelError: the model cannot do the language or the task.
    """
    language = check_request(info, options.language, options.task) or info.only_language
    return replace(options, language=language, audit=audit)
