# ruff: noqa: RUF001 (full-width and look-alike characters are the subject here)
"""Transcripts and readers shared by the subtitle tests."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from hypothesis import strategies as st

from core.types import Cue, Gap, Transcript, TranscriptSegment, Word


def segment_of(*timed: tuple[float, float, str]) -> TranscriptSegment:
    words = tuple(Word(start, end, text, 0.9) for start, end, text in timed)
    text = "".join(word.text for word in words)
    return TranscriptSegment(words[0].start_s, words[-1].end_s, text, words, -0.25, 1.5, 0.01)


def spoken(
    text: str, *, start_s: float = 0.0, word_s: float = 0.3, language: str | None = "en"
) -> Transcript:
    """A transcript of ``text`` in one breath. ``|`` in the text is a pause of 0.1 s."""
    timed = []
    for part in re.findall(r"\|| ?[^ |]+", text):
        if part == "|":
            start_s += 0.1
            continue
        timed.append((start_s, start_s + word_s, part))
        start_s += word_s
    return Transcript((segment_of(*timed),), language=language)


ENGLISH = Transcript(
    segments=(
        segment_of(
            (0.0, 0.4, " Printing,"), (0.7, 0.8, " in"), (0.8, 0.9, " the"), (0.9, 1.2, " only"),
            (1.2, 1.6, " sense"), (1.6, 1.8, " with"), (1.8, 2.0, " which"), (2.0, 2.1, " we"),
            (2.1, 2.2, " are"), (2.2, 2.3, " at"), (2.3, 2.7, " present"),
            (2.7, 3.3, " concerned,"), (3.6, 4.0, " differs"), (4.0, 4.2, " from"),
            (4.2, 4.5, " most"), (4.5, 4.6, " if"), (4.6, 4.8, " not"), (4.8, 5.0, " from"),
            (5.0, 5.3, " all"), (5.3, 5.4, " the"), (5.4, 5.6, " arts"), (5.6, 5.7, " and"),
            (5.7, 6.2, " crafts."),
        ),
        segment_of(
            (12.0005, 12.3, " Is"), (12.3, 12.5, " 3"), (12.5, 12.6, " <"), (12.6, 12.9, " 5"),
            (12.9, 13.0, " &"), (13.0, 13.4, " true"), (13.4, 13.6, " -->"),
            (13.6, 14.0, " {yes}?"),
        ),
    ),
    gaps=(Gap(65.2, 72.4, "worker crashed twice (signal 9)", 2),),
    language="en",
    language_probability=0.98,
    duration_s=80.0,
    speech_s=20.5,
)  # fmt: skip

CHINESE = Transcript(
    segments=(
        segment_of(
            (0.0, 0.4, "测"), (0.4, 0.6, "试"), (0.6, 0.9, "完成"), (0.9, 1.2, "后，"),
            (1.3, 1.5, "你"), (1.5, 1.7, "会"), (1.7, 2.0, "发现"), (2.0, 2.3, "测试"),
            (2.3, 2.5, "中"), (2.5, 2.8, "包含"), (2.8, 3.0, "的"), (3.0, 3.3, "两个"),
            (3.3, 3.6, "模型"), (3.6, 3.8, "都"), (3.8, 4.0, "有"), (4.0, 4.3, "一个"),
            (4.3, 4.6, "错误"), (4.6, 4.9, "率。"),
        ),
        segment_of((5.4, 5.8, "「为什么？」"), (5.9, 6.2, "他"), (6.2, 6.6, "问。")),
    ),
    language="zh",
    language_probability=1.0,
    duration_s=7.0,
    speech_s=6.1,
)  # fmt: skip

any_text = st.text(
    st.one_of(
        st.sampled_from("\n\r\t\0\x0b\x1c\x85\u2028\u202e\u2066\ufeff\\{}<>&-\"'1 =aN"),
        st.characters(),  # every code point, lone surrogates too
    ),
    max_size=40,
) | st.sampled_from(
    ["-->", "00:00:01,000 --> 00:00:02,000", "{\\an8}up", "a\n\nb", "<i>x</i>", "\\N", "NOTE", "1"]
)

cue_lists = st.lists(
    st.tuples(st.integers(1, 5000), st.integers(1, 5000), st.lists(any_text, max_size=3)),
    max_size=8,
)


def cues_from(drawn: Sequence[tuple[int, int, list[str]]]) -> list[Cue]:
    """Cues one after the other from (silence, length, lines)."""
    cues: list[Cue] = []
    clock_ms = 0
    for silence_ms, length_ms, lines in drawn:
        start_ms = clock_ms + silence_ms
        clock_ms = start_ms + length_ms
        cues.append(Cue(start_ms, clock_ms, tuple(lines)))
    return cues


Parsed = list[tuple[int, int, str]]
_TIMES = re.compile(r"(\d\d+):(\d\d):(\d\d)[,.](\d{3}) --> (\d\d+):(\d\d):(\d\d)[,.](\d{3})$")


def parse_srt(text: str) -> Parsed:
    """A strict reader of our own: blocks at blank lines, number, times, text; else it fails."""
    parsed: Parsed = []
    for number, block in enumerate(filter(None, text.removesuffix("\n").split("\n\n")), 1):
        head, times, *lines = block.split("\n")
        assert head == str(number)
        parsed.append((*_parse_times(times), "\n".join(lines)))
    return parsed


def parse_vtt(text: str) -> Parsed:
    header, *blocks = text.removesuffix("\n").split("\n\n")
    assert header == "WEBVTT"
    parsed: Parsed = []
    for block in blocks:
        if block.startswith("NOTE\n"):
            assert "-->" not in block
            continue
        _, times, *lines = block.split("\n")
        assert not re.search(r"<|&(?!amp;|lt;|gt;)", "\n".join(lines))
        parsed.append((*_parse_times(times), html.unescape("\n".join(lines))))
    return parsed


def _parse_times(line: str) -> tuple[int, int]:
    match = _TIMES.match(line)
    assert match, line
    n = [int(group) for group in match.groups()]
    start_ms, end_ms = (((n[i] * 60 + n[i + 1]) * 60 + n[i + 2]) * 1000 + n[i + 3] for i in (0, 4))
    return start_ms, end_ms
