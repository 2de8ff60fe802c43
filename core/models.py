"""The models people can name, and what each can do.

A table and pure checks: no engine is imported and no file is opened here, so every front can
list models and refuse a wrong request before anything is loaded. Where a model's files come
from is decided in ``model_store.store``.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace

from core.errors import InvalidOption, ModelError
from core.languages import LANGUAGES, language_code

AUTO = "auto"

ENGLISH: tuple[str, ...] = ("en",)
MULTILINGUAL: tuple[str, ...] = tuple(code for code in LANGUAGES if code != "yue")
"""The 99 languages of every multilingual Whisper before large-v3."""
MULTILINGUAL_V3: tuple[str, ...] = tuple(LANGUAGES)
"""large-v3 and its descendants hear Cantonese too."""


def languages_of(vocabulary: int | None) -> tuple[str, ...]:
    """What a model hears by its number of tokens: 51,864 for English, one more for 99 languages,
    two more with Cantonese; the newest where the number is unknown."""
    if vocabulary is not None and vocabulary < 51_865:
        return ENGLISH
    return MULTILINGUAL if vocabulary == 51_865 else MULTILINGUAL_V3


ENCODER_POSITIONS = 1500
"""Positions of the encoder's output: 30 s in steps of 20 ms."""
DECODER_POSITIONS = 448
"""Tokens a decoder can hold, prompt included (n_text_ctx)."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One architecture: what memory is calculated from.

    Numbers are those of the released checkpoints (whisper/model.py, ``ModelDimensions``; the
    configurations of turbo and of the distil models).
    """

    width: int
    """Of every hidden state (n_audio_state)."""
    encoder_layers: int
    decoder_layers: int
    heads: int
    vocabulary: int = 51865
    mels: int = 80

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


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What is known of a model before it is loaded."""

    name: str
    repo_id: str | None
    """Hub repository of the CTranslate2 conversion; None for a local directory."""
    languages: tuple[str, ...]
    can_translate: bool
    """Whether it learned the task ``translate`` (speech of any language to English text)."""
    parameters_m: int | None = None
    """Parameters in millions; None if unknown."""
    download_mib: int | None = None
    """About what a download costs; None where nothing is downloaded."""
    speed: float | None = None
    """How many times as fast as large-v3, as published (see ``MODELS``); None if unknown."""
    quality: str = ""
    """A word on the scale ``QUALITIES``; empty if unknown."""
    use: str = ""
    """What it is good for."""
    shape: Shape | None = None
    """None of models outside the table."""

    @property
    def only_language(self) -> str | None:
        """The one language of an English-only model, None of a multilingual one."""
        return self.languages[0] if len(self.languages) == 1 else None

    def describe(self) -> str:
        """One phrase for logs and lists: ``base (multilingual, 74 M parameters)``."""
        speaks = "English only" if self.languages == ENGLISH else "multilingual"
        size = f", {self.parameters_m} M parameters" if self.parameters_m else ""
        return f"{self.name} ({speaks}{size})"

    @property
    def advice(self) -> str:
        """One line to choose a model by; empty if nothing is published about it."""
        if self.speed is None:
            return ""
        speed = f"speed {self.speed:g}x (large-v3: 1x)"
        return f"Quality {self.quality}, {speed}. Good for {self.use}."


QUALITIES = ("lowest", "low", "fair", "good", "very good", "best")
"""Ranks, not measurements: the order of the word error rates in the sources of ``MODELS``, and of
the Whisper paper for the English-only models, which make fewer errors in English."""

_TINY = Shape(384, 4, 4, 6)
_BASE = Shape(512, 6, 6, 8)
_SMALL = Shape(768, 12, 12, 12)
_MEDIUM = Shape(1024, 24, 24, 16)
_LARGE = Shape(1280, 32, 32, 20)
_LARGE_V3 = replace(_LARGE, vocabulary=51866, mels=128)


def _model(
    name: str,
    shape: Shape,
    parameters_m: int,
    download_mib: int,
    speed: float,
    quality: str,
    use: str,
    repo_id: str = "",
) -> ModelInfo:
    distilled = name.startswith("distil-")
    if name.endswith(".en"):
        shape = replace(shape, vocabulary=51864)
    # All distil models were trained on English alone, also those whose vocabulary is multilingual.
    languages = ENGLISH if distilled else languages_of(shape.vocabulary)
    if not repo_id:
        kind = "faster-distil-whisper" if distilled else "faster-whisper"
        repo_id = f"Systran/{kind}-{name.removeprefix('distil-')}"
    # Turbo was fine-tuned without translation data: asked to translate, it transcribes.
    can_translate = languages != ENGLISH and name != "large-v3-turbo"
    return ModelInfo(
        name, repo_id, languages, can_translate, parameters_m, download_mib, speed, quality, use,
        shape,
    )  # fmt: skip


MODELS: dict[str, ModelInfo] = {
    info.name: info
    for info in (
        _model("tiny", _TINY, 39, 75, 10, "lowest", "a first look, and the weakest machines"),
        _model("tiny.en", _TINY, 39, 75, 10, "low", "English on the weakest machines"),
        _model("base", _BASE, 74, 141, 7, "low", "CPUs, where it is the default"),
        _model("base.en", _BASE, 74, 141, 7, "fair", "English on CPUs"),
        _model("small", _SMALL, 244, 464, 4, "fair",
               "GPUs with 1 GB, and CPUs when time does not matter"),
        _model("small.en", _SMALL, 244, 464, 4, "good",
               "English on GPUs with 1 GB, and on CPUs when time does not matter"),
        _model("medium", _MEDIUM, 769, 1460, 2, "good",
               "translation into English on GPUs with 3 GB"),
        _model("medium.en", _MEDIUM, 769, 1460, 2, "good",
               "English where the larger models are not available"),
        _model("large-v1", _LARGE, 1550, 2946, 1, "very good", "reproducing old transcripts"),
        _model("large-v2", _LARGE, 1550, 2946, 1, "very good", "a second opinion beside large-v3"),
        _model("large-v3", _LARGE_V3, 1550, 2948, 1, "best",
               "the highest quality, and translation into English"),
        _model("large-v3-turbo", replace(_LARGE_V3, decoder_layers=4), 809, 1546, 8, "very good",
               "most recordings; the default on GPUs",
               "mobiuslabsgmbh/faster-whisper-large-v3-turbo"),
        _model("distil-small.en", replace(_SMALL, decoder_layers=4), 166, 320, 5.6, "good",
               "English in very little memory"),
        _model("distil-medium.en", replace(_MEDIUM, decoder_layers=2), 394, 755, 6.8, "good",
               "English in little memory"),
        _model("distil-large-v2", replace(_LARGE, decoder_layers=2), 756, 1446, 5.8, "very good",
               "English; distil-large-v3 is newer"),
        _model("distil-large-v3", replace(_LARGE_V3, decoder_layers=2), 756, 1446, 6.3,
               "very good", "long recordings in English"),
        _model("distil-large-v3.5", replace(_LARGE_V3, decoder_layers=2), 756, 1446, 6.4,
               "very good", "English, especially clips under 30 s",
               "distil-whisper/distil-large-v3.5-ct2"),
    )
}  # fmt: skip
"""Shape, millions of parameters, MiB of the download, speed against large-v3, quality and use.

Speeds are those of openai/whisper's README (English speech on an A100, openai-whisper) and of
distil-whisper's README (against large-v3); distil-large-v3.5 from its model card, which has it 1.46
times as fast as turbo where distil-large-v3 is 1.44. What this app reaches depends on device and
batch: on GPUs with CTranslate2 turbo is two to three times as fast as large-v3.
"""

SIZES = ("tiny", "base", "small", "medium")
"""The multilingual models below the large ones, smallest first: every list of models by size is
made of this one."""

BEST_FIRST = ("large-v3", "large-v3-turbo", *reversed(SIZES))
"""The models that differ in what they take, by quality: the order to step down in."""

ALIASES: dict[str, str] = {"turbo": "large-v3-turbo", "large": "large-v3"}

_BY_REPO = {info.repo_id: info for info in MODELS.values()}


def find_model(name: str) -> ModelInfo | None:
    """Table entry of a name, an alias or the hub id of a known conversion."""
    key = name.strip().lower()
    return MODELS.get(ALIASES.get(key, key)) or _BY_REPO.get(name.strip())


def named_model(name: str) -> ModelInfo:
    """Table entry as :func:`find_model` has it, also of ``whisper-…`` and ``openai/whisper-…``.

    Raises:
        ModelError: the model is unknown.
    """
    plain = name.strip()
    for prefix in ("", "openai/whisper-", "whisper-"):
        if plain.lower().startswith(prefix):
            info = find_model(plain[len(prefix) :])
            if info is not None:
                return info
    raise unknown_model(name)


def shape_of(name: str) -> Shape:
    """Shape of a model of the table, spelled as :func:`named_model` takes it; raises likewise."""
    shape = named_model(name).shape
    assert shape is not None, "every model of the table has one"
    return shape


def unknown_model(name: str) -> ModelError:
    """The error for an unknown name, with the nearest known one."""
    close = difflib.get_close_matches(name.strip().lower(), [*MODELS, *ALIASES], n=1)
    return ModelError(
        f"Unknown model {name!r}.",
        hint=(f"Did you mean {close[0]!r}? " if close else "")
        + f"Known models: {', '.join([AUTO, *MODELS, *ALIASES])}; or the path of a CTranslate2"
        " directory.",
    )


def check_request(model: ModelInfo | str, language: str | None, task: str) -> str | None:
    """Refuse what the model cannot do; return the Whisper code of the language (None: find out).

    ``model`` may still be a name that only ``model_store.store.resolve_model`` can place
    (``auto``, a directory, a hub id): then only the language and the task are checked, and the
    caller checks again with the resolved model's info.

    Raises ``InvalidOption`` for an unknown language or task, ``ModelError`` for one that
    this model cannot do.
    """
    code = language_code(language)
    if task not in ("transcribe", "translate"):
        raise InvalidOption(f"Unknown task {task!r}.", hint="Choose transcribe or translate.")
    info = find_model(model) if isinstance(model, str) else model
    if info is None:
        return code
    if task == "translate" and not info.can_translate:
        raise ModelError(
            f"The model {info.name} cannot translate.",
            hint="Choose transcribe, or a multilingual model such as base, medium or large-v3.",
        )
    if code is not None and code not in info.languages:
        understands = (
            "understands English only"
            if info.languages == ENGLISH
            else f"does not understand {LANGUAGES[code]}"
        )
        other = "large-v3 or large-v3-turbo" if code == "yue" else "a multilingual one such as base"
        raise ModelError(
            f"The model {info.name} {understands}; {LANGUAGES[code]} ({code}) was asked for.",
            hint=f"Choose {other}.",
        )
    return code
