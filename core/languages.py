"""Languages Whisper knows, and how people write them.

A table of its own, so that a page or ``--help`` can list the languages without importing an engine;
``tests/core/test_models.py`` holds it equal to the engine's codes.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from core.errors import InvalidOption
from core.types import AudioSegment, Window

LANGUAGE_SEGMENTS = 3
"""One window of each of the first three segments votes on the language: one alone may be a jingle
or a greeting in another language, and each more delays the first cue by an encoder pass."""

LANGUAGE_PATIENCE_S = 2.0
"""Where the recording is so sparse that they take longer to come, those that are there decide, so
that the first cue is not late."""

LANGUAGES: dict[str, str] = {
    "af": "Afrikaans",
    "am": "Amharic",
    "ar": "Arabic",
    "as": "Assamese",
    "az": "Azerbaijani",
    "ba": "Bashkir",
    "be": "Belarusian",
    "bg": "Bulgarian",
    "bn": "Bengali",
    "bo": "Tibetan",
    "br": "Breton",
    "bs": "Bosnian",
    "ca": "Catalan",
    "cs": "Czech",
    "cy": "Welsh",
    "da": "Danish",
    "de": "German",
    "el": "Greek",
    "en": "English",
    "es": "Spanish",
    "et": "Estonian",
    "eu": "Basque",
    "fa": "Persian",
    "fi": "Finnish",
    "fo": "Faroese",
    "fr": "French",
    "gl": "Galician",
    "gu": "Gujarati",
    "ha": "Hausa",
    "haw": "Hawaiian",
    "he": "Hebrew",
    "hi": "Hindi",
    "hr": "Croatian",
    "ht": "Haitian Creole",
    "hu": "Hungarian",
    "hy": "Armenian",
    "id": "Indonesian",
    "is": "Icelandic",
    "it": "Italian",
    "ja": "Japanese",
    "jw": "Javanese",
    "ka": "Georgian",
    "kk": "Kazakh",
    "km": "Khmer",
    "kn": "Kannada",
    "ko": "Korean",
    "la": "Latin",
    "lb": "Luxembourgish",
    "ln": "Lingala",
    "lo": "Lao",
    "lt": "Lithuanian",
    "lv": "Latvian",
    "mg": "Malagasy",
    "mi": "Maori",
    "mk": "Macedonian",
    "ml": "Malayalam",
    "mn": "Mongolian",
    "mr": "Marathi",
    "ms": "Malay",
    "mt": "Maltese",
    "my": "Myanmar",
    "ne": "Nepali",
    "nl": "Dutch",
    "nn": "Nynorsk",
    "no": "Norwegian",
    "oc": "Occitan",
    "pa": "Punjabi",
    "pl": "Polish",
    "ps": "Pashto",
    "pt": "Portuguese",
    "ro": "Romanian",
    "ru": "Russian",
    "sa": "Sanskrit",
    "sd": "Sindhi",
    "si": "Sinhala",
    "sk": "Slovak",
    "sl": "Slovenian",
    "sn": "Shona",
    "so": "Somali",
    "sq": "Albanian",
    "sr": "Serbian",
    "su": "Sundanese",
    "sv": "Swedish",
    "sw": "Swahili",
    "ta": "Tamil",
    "te": "Telugu",
    "tg": "Tajik",
    "th": "Thai",
    "tk": "Turkmen",
    "tl": "Tagalog",
    "tr": "Turkish",
    "tt": "Tatar",
    "uk": "Ukrainian",
    "ur": "Urdu",
    "uz": "Uzbek",
    "vi": "Vietnamese",
    "yi": "Yiddish",
    "yo": "Yoruba",
    "zh": "Chinese",
    "yue": "Cantonese",
}

_BY_NAME = {name.lower(): code for code, name in LANGUAGES.items()}
_ALIASES = {
    "burmese": "my",
    "castilian": "es",
    "farsi": "fa",
    "flemish": "nl",
    "haitian": "ht",
    "javanese": "jw",
    "jv": "jw",
    "mandarin": "zh",
    "moldavian": "ro",
    "nb": "no",
    "pushto": "ps",
    "sinhalese": "si",
    "valencian": "ca",
}


DEFAULT_PROMPTS = {"zh": "以下是普通话的句子。"}
"""Text before a window where the user gives none. Whisper knows one Chinese and two scripts, and
windows decoded on their own would choose between them one by one; the prompt settles on simplified
characters with punctuation. For traditional ones, give a prompt in them."""


def language_code(text: str | None) -> str | None:
    """Whisper's code for what a person wrote: ``ZH``, ``Chinese`` and ``zh-TW`` are all ``zh``.

    None, an empty text and ``auto`` are None: the language is to be detected.
    """
    wanted = (text or "").strip().lower()
    if wanted in ("", "auto"):
        return None
    for candidate in (wanted, wanted.replace("_", "-").split("-")[0]):
        code = candidate if candidate in LANGUAGES else None
        code = code or _BY_NAME.get(candidate) or _ALIASES.get(candidate)
        if code:
            return code
    close = difflib.get_close_matches(wanted, [*_BY_NAME, *LANGUAGES], n=1)
    raise InvalidOption(
        f"Unknown language {text!r}.",
        hint=(f"Did you mean {close[0]!r}? " if close else "")
        + "Use a code such as en, zh or de, or leave it on auto.",
    )


def voting_windows(segments: Sequence[AudioSegment]) -> tuple[Window, ...]:
    """Which windows of a recording's first segments vote on its language: of each the one with the
    most speech."""
    return tuple(
        max(segment.windows, key=lambda w: sum(span.duration_s for span in w.spans))
        for segment in segments[:LANGUAGE_SEGMENTS]
        if segment.windows
    )
