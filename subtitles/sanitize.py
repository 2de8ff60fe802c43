# ruff: noqa: RUF001, RUF002 (look-alike characters are the subject here)
"""Keep text from breaking, or lying inside, the file it is written to.

A model can say anything, and remote engines and edited text can hold anything: ``-->``, blank
lines, NUL, ``{\\an8}``, characters that turn the reading direction round. :func:`clean_text` is
applied to all text that becomes a cue or a file; :func:`srt_line` and :func:`vtt_line` add what
the two formats need on top. What comes out stays readable: look-alikes, never entities on screen.
"""

from __future__ import annotations

import re
import unicodedata

_SPACE = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029]+")
"""White space and every C0/C1 control, so that a line break or NUL between words separates them."""

_REMOVED = re.compile(
    "["
    "\u202a-\u202e\u2066-\u2069"  # bidi embeddings, overrides, isolates: they outlive the line
    "\u200b\ufeff\u00ad\u2060-\u2064"  # invisible: zero-width space, BOM, soft hyphen, joiners
    "\u206a-\u206f\ufff9-\ufffb"  # deprecated formatting, interlinear annotation
    "\ufdd0-\ufdef\ufffe\uffff"  # noncharacters
    "]"
)
"""LRM, RLM, ALM, ZWJ and ZWNJ stay: right-to-left text, Persian, Indic and emoji need them."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_TAG_LIKE = re.compile(r"<([^<>]*)>")
_ARROW = re.compile(r"-{2,}>")
_BRACES = str.maketrans("{}", "()")


def clean_text(text: str) -> str:
    """One line without control, bidi-override or unencodable characters.

    Runs of white space become one space; a leading or trailing one is kept, because words carry
    the space before them.
    """
    if text.isascii() and text.isprintable() and "  " not in text:
        return text
    text = _SURROGATE.sub("\ufffd", _REMOVED.sub("", text))
    return _SPACE.sub(" ", text)


def srt_line(text: str) -> str:
    """A line of SubRip, which has no way to escape.

    Players read ``<i>`` and ``{\\an8}`` as commands and ``\\N`` as a line break, and a stray
    ``-->`` as a new cue: they become ``‹i›``, ``(\\an8)``, a backslash that a word joiner keeps
    from its letter (as FFmpeg does it), and an arrow.
    """
    text = _ARROW.sub("→", clean_text(text).strip()).translate(_BRACES)
    text = _TAG_LIKE.sub(r"‹\1›", text).replace("<", "‹")
    return text.replace("\\", "\\\u2060")


def vtt_line(text: str) -> str:
    """A line of WebVTT: ``&``, ``<`` and ``>`` escaped, which also takes care of ``-->``.

    A backslash is kept from its letter as in :func:`srt_line`: players that turn WebVTT into ASS
    read ``\\N`` as a line break.
    """
    text = clean_text(text).strip()
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace("\\", "\\\u2060")


_EXTENSION = re.compile(r"\.(?=[0-9]*[A-Za-z])[A-Za-z0-9]{1,5}$")
_UNSAFE = re.compile(r'[<>:"|?*]')
_MARKS = re.compile("[\u200e\u200f\u061c]")
_RESERVED = re.compile(r"(CON|PRN|AUX|NUL|COM[0-9¹²³]|LPT[0-9¹²³])(\.|$)", re.IGNORECASE)
MAX_STEM_BYTES = 120
"""Leaves room for a language tag and an extension in the 255 bytes file systems allow."""


def safe_stem(name: str) -> str:
    """A file name stem from a name a user gave: no folders, no extension, safe on every system.

    Example: ``safe_stem("../../x/Böse: talk.mp3")`` is ``"Böse_ talk"``.
    """
    name = re.split(r"[/\\]", _SURROGATE.sub("", name))[-1]
    name = unicodedata.normalize("NFC", clean_text(_MARKS.sub("", name))).strip()
    name = _UNSAFE.sub("_", _EXTENSION.sub("", name)).lstrip(". -")
    if _RESERVED.match(name):
        name = f"_{name}"
    name = name.encode()[:MAX_STEM_BYTES].decode(errors="ignore").rstrip(". ")
    return name or "subtitles"
