# ruff: noqa: RUF001 (full-width and look-alike characters are the subject here)
"""subtitles.sanitize: nothing in a text can break a file or turn the screen round."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given

from subtitles.sanitize import clean_text, safe_stem, srt_line, vtt_line
from tests.subtitles.samples import any_text


@given(any_text)
def test_clean_text_is_one_harmless_line(text: str) -> None:
    clean = clean_text(text)
    assert len(clean.splitlines()) <= 1
    assert not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in clean)
    assert not any(unicodedata.bidirectional(c) in BIDI for c in clean)
    assert "  " not in clean
    assert clean_text(clean) == clean
    clean.encode()


BIDI = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


@given(any_text)
def test_lines_hold_no_command(text: str) -> None:
    for line in (srt_line(text), vtt_line(text)):
        assert "-->" not in line
        assert "<" not in line
        assert line == line.strip()
    assert not set("{}") & set(srt_line(text))


def test_ordinary_text_is_left_alone() -> None:
    for text in (
        ' It\'s 5 > 3 & "fine".',
        "你好，世界。",
        "שלום עולם",
        "می‌خواهم",
        "👩‍👩‍👧 ok",
        "naïve",
    ):
        assert clean_text(text) == text
    assert srt_line("AT&T, it's >> 3") == "AT&T, it's >> 3"


@pytest.mark.parametrize(
    ("text", "srt", "vtt"),
    [
        ("a --> b", "a → b", "a --&gt; b"),
        ("<i>x</i> < y", "‹i›x‹/i› ‹ y", "&lt;i&gt;x&lt;/i&gt; &lt; y"),
        (r"{\an8}up", "(\\\u2060an8)up", "{\\\u2060an8}up"),
        ("R&D &amp;", "R&D &amp;", "R&amp;D &amp;amp;"),
        ("a\r\n\r\n\0\tb", "a b", "a b"),
    ],
)
def test_commands_become_readable_text(text: str, srt: str, vtt: str) -> None:
    assert srt_line(text) == srt
    assert vtt_line(text) == vtt


@given(any_text)
def test_a_safe_stem_is_a_plain_file_name(name: str) -> None:
    for stem in (safe_stem(name), safe_stem(name * 9)):
        assert stem
        assert len(stem.encode()) <= 120
        assert not set('/\\<>:"|?*') & set(stem)
        assert stem[0] not in ".-"
        assert stem[-1] != "."
        assert stem == stem.strip()
        assert clean_text(stem) == stem


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\fakepath\\Böse: talk.MP3", "Böse_ talk"),
        ("...hidden.wav", "hidden"),
        ("-rf.mp4", "rf"),
        ("con.mp3", "_con"),
        ("LPT1.backup.m4a", "_LPT1.backup"),
        ("console.mp3", "console"),
        ("talk v1.25", "talk v1.25"),
        ("a\u202egpj.mp3", "agpj"),
        ("", "subtitles"),
        ("..", "subtitles"),
        ("/", "subtitles"),
        ("录" * 60 + ".mp4", "录" * 40),
    ],
)
def test_names_of_users_become_stems(name: str, stem: str) -> None:
    assert safe_stem(name) == stem
