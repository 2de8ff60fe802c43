"""The measures of every Whisper model: what memory is calculated from.

Numbers of layers, widths and heads are those of the released checkpoints (whisper/model.py,
``ModelDimensions``; the configurations of turbo and of the distil models).
"""

from __future__ import annotations

from dataclasses import dataclass

from core.errors import ModelError
from core.models import find_model, unknown_model

ENCODER_POSITIONS = 1500
"""Positions of the encoder's output: 30 s in steps of 20 ms."""
DECODER_POSITIONS = 448
"""Tokens a decoder can hold, prompt included (n_text_ctx)."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One architecture."""

    width: int
    """Of every hidden state (n_audio_state)."""
    encoder_layers: int
    decoder_layers: int
    heads: int
    vocabulary: int
    mels: int

    @property
    def parameters(self) -> int:
        """Weights and biases, exactly; the output projection is the token embedding."""
        return self.encoder_parameters + self.decoder_parameters

    @property
    def encoder_parameters(self) -> int:
        d = self.width
        convolutions = 3 * self.mels * d + d + 3 * d * d + d
        attention, feed_forward, norms = 4 * d * d + 3 * d, 8 * d * d + 5 * d, 4 * d
        layers = self.encoder_layers * (attention + feed_forward + norms)
        return convolutions + ENCODER_POSITIONS * d + layers + 2 * d

    @property
    def decoder_parameters(self) -> int:
        d = self.width
        attention, feed_forward, norms = 4 * d * d + 3 * d, 8 * d * d + 5 * d, 6 * d
        layers = self.decoder_layers * (2 * attention + feed_forward + norms)
        return (self.vocabulary + DECODER_POSITIONS) * d + layers + 2 * d


def _english(shape: Shape) -> Shape:
    """English-only models have one token less."""
    return Shape(
        shape.width,
        shape.encoder_layers,
        shape.decoder_layers,
        shape.heads,
        shape.vocabulary - 1,
        shape.mels,
    )


_TINY = Shape(384, 4, 4, 6, 51865, 80)
_BASE = Shape(512, 6, 6, 8, 51865, 80)
_SMALL = Shape(768, 12, 12, 12, 51865, 80)
_MEDIUM = Shape(1024, 24, 24, 16, 51865, 80)
_LARGE = Shape(1280, 32, 32, 20, 51865, 80)

SHAPES: dict[str, Shape] = {
    "tiny": _TINY,
    "tiny.en": _english(_TINY),
    "base": _BASE,
    "base.en": _english(_BASE),
    "small": _SMALL,
    "small.en": _english(_SMALL),
    "medium": _MEDIUM,
    "medium.en": _english(_MEDIUM),
    "large-v1": _LARGE,
    "large-v2": _LARGE,
    "large-v3": Shape(1280, 32, 32, 20, 51866, 128),
    "large-v3-turbo": Shape(1280, 32, 4, 20, 51866, 128),
    "distil-small.en": Shape(768, 12, 4, 12, 51864, 80),
    "distil-medium.en": Shape(1024, 24, 2, 16, 51864, 80),
    "distil-large-v2": Shape(1280, 32, 2, 20, 51865, 80),
    "distil-large-v3": Shape(1280, 32, 2, 20, 51866, 128),
    "distil-large-v3.5": Shape(1280, 32, 2, 20, 51866, 128),
}
"""By the names of ``core.models``."""


def canonical(name: str) -> str:
    """The table's name of a model: aliases, hub ids and ``whisper-…`` spellings are understood.

    Raises:
        ModelError: the model is unknown.
    """
    plain = name.strip()
    for prefix in ("", "openai/whisper-", "whisper-"):
        if plain.lower().startswith(prefix):
            info = find_model(plain[len(prefix) :])
            if info is not None and info.name in SHAPES:
                return info.name
    raise unknown_model(name)


def shape_of(name: str) -> Shape:
    """Measures of a model, however it is spelled.

    Raises:
        ModelError: the model is unknown.
    """
    return SHAPES[canonical(name)]


def nearest(parameters_m: float) -> str:
    """The table's model with about so many million parameters, for one that is not in it.

    Raises:
        ModelError: a number that no model can have.
    """
    if parameters_m <= 0:
        raise ModelError(f"A model of {parameters_m:g} million parameters is not possible.")
    return min(SHAPES, key=lambda name: abs(SHAPES[name].parameters / 1e6 - parameters_m))
