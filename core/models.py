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


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What is known of a model before it is loaded."""

    name: str
    repo_id: str | None
    """Hub repository of the CTranslate2 conversion; None for a local directory."""
    languages: tuple[str, ...]
    can_translate: bool
    """Whether it learned the task ``translate`` (speech of any language to English text)."""
    parameters_m: int | None
    """Parameters in millions; None if unknown."""
    download_mib: int | None
    """About what a download costs; None where nothing is downloaded."""
    speed: float | None = None
    """How many times as fast as large-v3, as published (``_PUBLISHED``); None if unknown."""
    quality: str = ""
    """A word on the scale ``QUALITIES``; empty if unknown."""
    use: str = ""
    """What it is good for."""

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


def _whisper(name: str, parameters_m: int, download_mib: int, *, v3: bool = False) -> ModelInfo:
    english = name.endswith(".en")
    languages = ENGLISH if english else MULTILINGUAL_V3 if v3 else MULTILINGUAL
    repo = f"Systran/faster-whisper-{name}"
    return ModelInfo(name, repo, languages, not english, parameters_m, download_mib)


def _distil(name: str, parameters_m: int, download_mib: int, repo: str | None = None) -> ModelInfo:
    # All distil models were trained on English alone, also those whose vocabulary is multilingual.
    repo = repo or f"Systran/faster-distil-whisper-{name.removeprefix('distil-')}"
    return ModelInfo(name, repo, ENGLISH, False, parameters_m, download_mib)


QUALITIES = ("lowest", "low", "fair", "good", "very good", "best")
"""Ranks, not measurements: the order of the word error rates in the sources of ``_PUBLISHED``, and
of the Whisper paper for the English-only models, which make fewer errors in English."""

_PUBLISHED: dict[str, tuple[float, str, str]] = {
    "tiny": (10, "lowest", "a first look, and the weakest machines"),
    "tiny.en": (10, "low", "English on the weakest machines"),
    "base": (7, "low", "CPUs, where it is the default"),
    "base.en": (7, "fair", "English on CPUs"),
    "small": (4, "fair", "GPUs with 1 GB, and CPUs when time does not matter"),
    "small.en": (4, "good", "English on GPUs with 1 GB, and on CPUs when time does not matter"),
    "medium": (2, "good", "translation into English on GPUs with 3 GB"),
    "medium.en": (2, "good", "English where the larger models are not available"),
    "large-v1": (1, "very good", "reproducing old transcripts"),
    "large-v2": (1, "very good", "a second opinion beside large-v3"),
    "large-v3": (1, "best", "the highest quality, and translation into English"),
    "large-v3-turbo": (8, "very good", "most recordings; the default on GPUs"),
    "distil-small.en": (5.6, "good", "English in very little memory"),
    "distil-medium.en": (6.8, "good", "English in little memory"),
    "distil-large-v2": (5.8, "very good", "English; distil-large-v3 is newer"),
    "distil-large-v3": (6.3, "very good", "long recordings in English"),
    "distil-large-v3.5": (6.4, "very good", "English, especially clips under 30 s"),
}
"""Speed against large-v3, quality and use of each model.

Speeds are those of openai/whisper's README (English speech on an A100, openai-whisper) and of
distil-whisper's README (against large-v3); distil-large-v3.5 from its model card, which has it 1.46
times as fast as turbo where distil-large-v3 is 1.44. What this app reaches depends on device and
batch: on GPUs with CTranslate2 turbo is two to three times as fast as large-v3.
"""


def _complete(info: ModelInfo) -> ModelInfo:
    speed, quality, use = _PUBLISHED[info.name]
    return replace(info, speed=speed, quality=quality, use=use)


MODELS: dict[str, ModelInfo] = {
    info.name: _complete(info)
    for info in (
        _whisper("tiny", 39, 75),
        _whisper("tiny.en", 39, 75),
        _whisper("base", 74, 141),
        _whisper("base.en", 74, 141),
        _whisper("small", 244, 464),
        _whisper("small.en", 244, 464),
        _whisper("medium", 769, 1460),
        _whisper("medium.en", 769, 1460),
        _whisper("large-v1", 1550, 2946),
        _whisper("large-v2", 1550, 2946),
        _whisper("large-v3", 1550, 2948, v3=True),
        # Turbo was fine-tuned without translation data: asked to translate, it transcribes.
        ModelInfo(
            "large-v3-turbo",
            "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
            MULTILINGUAL_V3,
            False,
            809,
            1546,
        ),
        _distil("distil-small.en", 166, 320),
        _distil("distil-medium.en", 394, 755),
        _distil("distil-large-v2", 756, 1446),
        _distil("distil-large-v3", 756, 1446),
        _distil("distil-large-v3.5", 756, 1446, "distil-whisper/distil-large-v3.5-ct2"),
    )
}

SIZES = ("tiny", "base", "small", "medium")
"""The multilingual models below the large ones, smallest first: every list of models by size is
made of this one."""

ALIASES: dict[str, str] = {"turbo": "large-v3-turbo", "large": "large-v3"}

_BY_REPO = {info.repo_id: info for info in MODELS.values()}


def find_model(name: str) -> ModelInfo | None:
    """Table entry of a name, an alias or the hub id of a known conversion."""
    key = name.strip().lower()
    return MODELS.get(ALIASES.get(key, key)) or _BY_REPO.get(name.strip())


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
