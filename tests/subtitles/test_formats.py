# ruff: noqa: RUF001 (full-width and look-alike characters are the subject here)
"""subtitles.formats: golden files, reading back, hostile text, and writing to disk."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import pysubs2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import DiskFull, InvalidOption
from core.types import Cue, Gap, Transcript, TranscriptSegment, Word
from subtitles.formats import FORMATS, get_format, write_files
from subtitles.layout import layout
from subtitles.sanitize import clean_text, srt_line
from subtitles.script import join_texts
from tests.subtitles.samples import (
    CHINESE,
    ENGLISH,
    any_text,
    cue_lists,
    cues_from,
    parse_srt,
    parse_vtt,
)

GOLDEN = Path(__file__).parent / "golden"
NOTHING = Transcript(())
DIGIT = re.compile(r"\d")
Drawn = list[tuple[int, int, list[str]]]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(("stem", "transcript"), [("english", ENGLISH), ("chinese", CHINESE)])
def test_golden_file(name: str, stem: str, transcript: Transcript) -> None:
    golden = (GOLDEN / f"{stem}.{name}").read_bytes()
    assert get_format(name).render(transcript, layout(transcript)).encode() == golden


def expected(cues: list[Cue]) -> list[tuple[int, int, str]]:
    """What a reader of the file should see, arrows and such apart."""
    shown = []
    for cue in cues:
        lines = [text for text in (clean_text(line).strip() for line in cue.lines) if text]
        if lines:
            shown.append((cue.start_ms, cue.end_ms, "\n".join(lines)))
    return shown


@given(cue_lists)
def test_srt_of_any_text_reads_back(drawn: Drawn) -> None:
    cues = cues_from(drawn)
    text = get_format("srt").render(NOTHING, cues)
    want = [(a, b, "\n".join(map(srt_line, t.split("\n")))) for a, b, t in expected(cues)]
    assert parse_srt(text) == want


@given(cue_lists)
def test_vtt_of_any_text_reads_back(drawn: Drawn) -> None:
    cues = cues_from(drawn)
    transcript = replace(NOTHING, gaps=(Gap(1, 2, "\n".join(t for *_, ts in drawn for t in ts)),))
    text = get_format("vtt").render(transcript, cues)
    assert [(a, b, t.replace("\u2060", "")) for a, b, t in parse_vtt(text)] == expected(cues)


@given(cue_lists)
def test_pysubs2_reads_the_same_cues(drawn: Drawn) -> None:
    # It takes a last line of digits for the number of the next cue, and any two clock times on a
    # line for the beginning of one: a letter before, and no digits, keep it from that.
    cues = [
        Cue(c.start_ms, c.end_ms, tuple(f"x{DIGIT.sub('n', t)}" for t in c.lines))
        for c in cues_from(drawn)
    ]
    want = expected(cues)
    for name in ("srt", "vtt"):
        read = pysubs2.SSAFile.from_string(get_format(name).render(NOTHING, cues), name)
        assert [(e.start, e.end) for e in read] == [(start, end) for start, end, _ in want]
        if name == "srt":
            shown = [e.plaintext for e in read]
            assert shown == ["\n".join(map(srt_line, t.split("\n"))) for *_, t in want]


@given(cue_lists)
def test_tsv_of_any_text_reads_back(drawn: Drawn) -> None:
    cues = cues_from(drawn)
    text = get_format("tsv").render(NOTHING, cues)
    want = [[str(a), str(b), join_texts(t.split("\n"))] for a, b, t in expected(cues)]
    plain = [line.split("\t") for line in text.removesuffix("\n").split("\n")]
    for rows in (plain, list(csv.reader(io.StringIO(text), delimiter="\t"))):
        assert rows[0] == ["start", "end", "text"]
        assert [[a, b, t.strip()] for a, b, t in rows[1:]] == want
        assert not any(t[0] in "=+-@\t\r＝＋－＠" for *_, t in rows[1:])


@given(st.text("=+-@＝＋－＠\"'\t\r 1aA()|!", min_size=1, max_size=9))
def test_no_row_of_a_tsv_begins_a_formula(text: str) -> None:
    cues = [Cue(0, 1000, (text,)), Cue(1000, 2000, ("next",))]
    rows = get_format("tsv").render(NOTHING, cues).removesuffix("\n").split("\n")[1:]
    shown = [clean_text(text).strip()] if clean_text(text).strip() else []
    fields = [row.split("\t") for row in rows]
    assert [field[2].strip() for field in fields] == [*shown, "next"]
    assert not any(field[2][0] in "=+-@\t\r＝＋－＠" for field in fields)


@given(cue_lists)
def test_no_text_adds_a_cue_or_takes_one_away(drawn: Drawn) -> None:
    cues = cues_from(drawn)
    for name, parse in (("srt", parse_srt), ("vtt", parse_vtt)):
        text = get_format(name).render(NOTHING, cues)
        assert text.count("-->") == len(expected(cues))
        for *_, shown in parse(text):
            assert all(line.strip() for line in shown.split("\n"))


@given(any_text, any_text)
def test_json_and_txt_of_any_text_are_whole(text: str, reason: str) -> None:
    segment = TranscriptSegment(1.0, 2.0004, text, (Word(1.0, 2.0004, text, 0.5),), float("nan"))
    transcript = Transcript((segment,), (Gap(3.0, 4.0, reason),), duration_s=5.0)
    read = json.loads(get_format("json").render(transcript, []))
    assert read["segments"][0]["words"] == [
        {"word": clean_text(text), "start": 1.0, "end": 2.0, "probability": 0.5}
    ]
    assert read["segments"][0]["avg_logprob"] is None
    assert read["gaps"] == [{"start": 3.0, "end": 4.0, "reason": clean_text(reason)}]
    assert read["complete"] is False
    lines = get_format("txt").render(transcript, []).splitlines()
    assert len(lines) == 1 + bool(clean_text(text).strip())
    assert lines[-1].startswith("[no text 00:00:03–00:00:04: ")


def test_braces_are_not_dropped() -> None:
    cues = [Cue(0, 1000, ("a {b} c",))]
    assert "a (b) c" in get_format("srt").render(NOTHING, cues)
    assert "a {b} c" in get_format("vtt").render(NOTHING, cues)


def test_lines_of_a_cue_are_joined_without_a_space_in_chinese() -> None:
    cues = [Cue(0, 1000, ("你好，", "世界。")), Cue(1000, 2000, ("Hello,", "world."))]
    assert get_format("tsv").render(NOTHING, cues).split("\n")[1:3] == [
        "0\t1000\t你好，世界。",
        "1000\t2000\tHello, world.",
    ]


def test_text_without_cues() -> None:
    assert {
        name: get_format(name).render(NOTHING, ()) for name in ("srt", "vtt", "txt", "tsv")
    } == {
        "srt": "",
        "vtt": "WEBVTT\n",
        "txt": "",
        "tsv": "start\tend\ttext\n",
    }
    assert json.loads(get_format("json").render(NOTHING, ()))["segments"] == []


def test_unknown_format_lists_the_known_ones() -> None:
    assert get_format(" .SRT ").name == "srt"
    with pytest.raises(InvalidOption) as caught:
        get_format("docx").render(NOTHING, ())
    assert all(name in caught.value.hint for name in FORMATS)


def test_write_files_writes_each_format_once_in_order(tmp_path: Path) -> None:
    directory = tmp_path / "new" / "folder"
    cues = layout(ENGLISH)
    paths = write_files(ENGLISH, cues, ["vtt", "srt", "vtt"], directory, "my talk")
    assert paths == [directory / "my talk.vtt", directory / "my talk.srt"]
    assert sorted(directory.iterdir()) == sorted(paths)
    assert paths[1].read_bytes() == get_format("srt").render(ENGLISH, cues).encode()
    umask = os.umask(0)
    os.umask(umask)
    assert paths[0].stat().st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.parametrize("stem", ["", ".", "..", "a/b", "a\\b", "a\0"])
def test_a_stem_is_not_a_path(tmp_path: Path, stem: str) -> None:
    with pytest.raises(InvalidOption):
        write_files(NOTHING, (), ["srt"], tmp_path, stem)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_format_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(InvalidOption):
        write_files(ENGLISH, (), ["srt", "docx"], tmp_path / "x", "talk")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    old = tmp_path / "talk.srt"
    old.write_text("old")

    def no_space(descriptor: BinaryIO) -> None:
        raise OSError(code, "full")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(DiskFull):
        write_files(ENGLISH, layout(ENGLISH), ["srt"], tmp_path, "talk")
    assert [path.name for path in tmp_path.iterdir()] == ["talk.srt"]
    assert old.read_text() == "old"


def test_a_folder_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidOption, match=r"Not a directory|File exists") as caught:
        write_files(ENGLISH, (), ["srt"], tmp_path / "file" / "x", "talk")
    assert caught.value.hint
