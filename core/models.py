"""The models people can name, and what each can do.

A table and pure checks: no engine is imported and no file is opened here, so every front can
list models and refuse a wrong request before anything is loaded. Where a model's files come
from is decided in ``core.model_store``.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

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
    """Parameters in millions; None where nobody said."""
    download_mib: int | None
    """About what a download costs; None where nothing is downloaded."""

    @property
    def only_language(self) -> str | None:
        """The one language of an English-only model, None of a multilingual one."""
        return self.languages[0] if len(self.languages) == 1 else None

    def describe(self) -> str:
        """One phrase for logs and lists: ``base (multilingual, 74 M parameters)``."""
        speaks = "English only" if self.languages == ENGLISH else "multilingual"
        size = f", {self.parameters_m} M parameters" if self.parameters_m else ""
        return f"{self.name} ({speaks}{size})"


def _whisper(name: str, parameters_m: int, download_mib: int, *, v3: bool = False) -> ModelInfo:
    english = name.endswith(".en")
    languages = ENGLISH if english else MULTILINGUAL_V3 if v3 else MULTILINGUAL
    repo = f"Systran/faster-whisper-{name}"
    return ModelInfo(name, repo, languages, not english, parameters_m, download_mib)


def _distil(name: str, parameters_m: int, download_mib: int, repo: str | None = None) -> ModelInfo:
    # All distil models were trained on English alone, also those whose vocabulary is multilingual.
    repo = repo or f"Systran/faster-distil-whisper-{name.removeprefix('distil-')}"
    return ModelInfo(name, repo, ENGLISH, False, parameters_m, download_mib)


MODELS: dict[str, ModelInfo] = {
    info.name: info
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

ALIASES: dict[str, str] = {"turbo": "large-v3-turbo", "large": "large-v3"}

_BY_REPO = {info.repo_id: info for info in MODELS.values()}


def find_model(name: str) -> ModelInfo | None:
    """Table entry of a name, an alias or the hub id of a known conversion."""
    key = name.strip().lower()
    return MODELS.get(ALIASES.get(key, key)) or _BY_REPO.get(name.strip())


def unknown_model(name: str) -> ModelError:
    """The error for a name nobody knows, with the nearest known one."""
    close = difflib.get_close_matches(name.strip().lower(), [*MODELS, *ALIASES], n=1)
    return ModelError(
        f"Unknown model {name!r}.",
        hint=(f"Did you mean {close[0]!r}? " if close else "")
        + f"Known models: {', '.join([AUTO, *MODELS, *ALIASES])}; or the path of a CTranslate2"
        " directory.",
    )


def check_request(model: ModelInfo | str, language: str | None, task: str) -> str | None:
    """Refuse what the model cannot do; return the Whisper code of the language (None: find out).

    ``model`` may still be a name that only ``core.model_store.resolve_model`` can place
    (``auto``, a directory, a hub id): then only the language and the task are checked, and the
    caller checks again with the resolved model's info.

    Raises ``InvalidOption`` for a language or task nobody knows, ``ModelError`` for one that
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
