"""One registry from a format's name to its writer, and writing files so that none is ever half.

What a format says about speech that could not be transcribed (``Transcript.gaps``):

- JSON lists it under ``gaps`` and says ``complete: false``.
- TXT shows a line ``[no text 00:01:05–00:01:12: reason]`` where the words would stand.
- WebVTT carries a ``NOTE`` on top, which editors show and players do not.
- SRT and TSV have no place for it: a made-up caption would be read as something that was said.

Text is sanitised here again (``subtitles.sanitize``), wherever the cues come from.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pysubs2

from core.errors import DiskFull, InvalidOption
from core.files import disk_is_full, replace_file
from core.types import Cue, Gap, Transcript, TranscriptSegment
from subtitles.layout import to_ms
from subtitles.sanitize import clean_text, srt_line, vtt_line
from subtitles.script import join_texts

Writer = Callable[[Transcript, Sequence[Cue]], str]


@dataclass(frozen=True, slots=True)
class SubtitleFormat:
    name: str
    description: str
    render: Writer
    """Gives the content of a file, to be encoded as UTF-8. It ends with a newline; an SRT or TXT
    without any text is empty."""

    @property
    def extension(self) -> str:
        return f".{self.name}"


def _with_pysubs2(cues: Sequence[Cue], line: Callable[[str], str], format_: str) -> str:
    """Cues in one of pysubs2's formats. ``line`` makes a line safe; empty cues are left out."""
    file = pysubs2.SSAFile()
    for cue in cues:
        lines = [text for text in map(line, cue.lines) if text]
        if lines:
            file.append(pysubs2.SSAEvent(cue.start_ms, cue.end_ms, r"\N".join(lines)))
    # Without keep_ssa_tags it takes every {…} for a command and drops it, words and all.
    text = file.to_string(format_, keep_ssa_tags=True).rstrip("\n")
    return f"{text}\n" if text else ""


def _srt(transcript: Transcript, cues: Sequence[Cue]) -> str:
    return _with_pysubs2(cues, srt_line, "srt")


def _vtt(transcript: Transcript, cues: Sequence[Cue]) -> str:
    text = _with_pysubs2(cues, vtt_line, "vtt")
    if not transcript.gaps:
        return text
    note = "\n".join(vtt_line(_gap_text(gap)) for gap in transcript.gaps)
    head, _, body = text.partition("\n")
    return f"{head}\n\nNOTE\n{note}\n{body}"


def _txt(transcript: Transcript, cues: Sequence[Cue]) -> str:
    """One line a segment, as every Whisper tool writes it."""
    lines = [(s.start_s, clean_text(s.text).strip()) for s in transcript.segments]
    lines += [(gap.start_s, f"[{_gap_text(gap)}]") for gap in transcript.gaps]
    lines.sort(key=lambda line: line[0])
    return "".join(f"{text}\n" for _, text in lines if text)


_TSV_GUARDED = "=+-@\"'\uff1d\uff0b\uff0d\uff20"
"""What begins a formula or a quoted field; East Asian spreadsheets take the wide signs as well."""


def _tsv(transcript: Transcript, cues: Sequence[Cue]) -> str:
    """``start end text``, times in milliseconds, one row a cue.

    The format has no quoting. A leading space keeps spreadsheets from running a text as a
    formula and CSV readers from taking a quotation mark as the start of a quoted field.
    """
    rows = ["start\tend\ttext"]
    for cue in cues:
        text = join_texts(map(clean_text, cue.lines))
        if text:
            guard = " " if text[0] in _TSV_GUARDED else ""
            rows.append(f"{cue.start_ms}\t{cue.end_ms}\t{guard}{text}")
    return "\n".join(rows) + "\n"


def _json(transcript: Transcript, cues: Sequence[Cue]) -> str:
    """Whisper's own field names; one segment a line, so that files can be compared."""
    segments = [_json_segment(i, segment) for i, segment in enumerate(transcript.segments)]
    head = {
        "language": transcript.language,
        "language_probability": _number(transcript.language_probability, 4),
        "duration": _seconds(transcript.duration_s),
        "speech": _seconds(transcript.speech_s),
        "complete": transcript.complete,
        "text": join_texts(clean_text(s.text) for s in transcript.segments),
    }
    gaps = [
        {"start": _seconds(g.start_s), "end": _seconds(g.end_s), "reason": clean_text(g.reason)}
        for g in transcript.gaps
    ]
    parts = [f"{_dump(key)}: {_dump(value)}" for key, value in head.items()]
    for key, rows in (("segments", segments), ("gaps", gaps)):
        body = ",\n".join(map(_dump, rows))
        parts.append(f"{_dump(key)}: [\n{body}\n]" if rows else f"{_dump(key)}: []")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _json_segment(index: int, segment: TranscriptSegment) -> dict[str, Any]:
    return {
        "id": index,
        "start": _seconds(segment.start_s),
        "end": _seconds(segment.end_s),
        "text": clean_text(segment.text).strip(),
        "temperature": _number(segment.temperature, 2),
        "avg_logprob": _number(segment.avg_logprob, 4),
        "compression_ratio": _number(segment.compression_ratio, 4),
        "no_speech_prob": _number(segment.no_speech_prob, 4),
        "words": [
            {
                "word": clean_text(word.text),
                "start": _seconds(word.start_s),
                "end": _seconds(word.end_s),
                "probability": _number(word.probability, 4),
            }
            for word in segment.words
        ],
    }


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _number(value: float | None, digits: int) -> float | None:
    """Rounded; None for what JSON cannot say (models report NaN and infinite probabilities)."""
    return round(value, digits) if value is not None and math.isfinite(value) else None


def _seconds(seconds: float) -> float:
    return to_ms(seconds) / 1000


def _gap_text(gap: Gap) -> str:
    reason = clean_text(gap.reason).strip()
    return f"no text {_clock(gap.start_s)}–{_clock(gap.end_s)}: {reason}"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod((to_ms(seconds) + 500) // 1000, 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}"


FORMATS: Mapping[str, SubtitleFormat] = MappingProxyType(
    {
        each.name: each
        for each in (
            SubtitleFormat("srt", "SubRip: plays anywhere", _srt),
            SubtitleFormat("vtt", "WebVTT: for web players", _vtt),
            SubtitleFormat("txt", "Plain text without times", _txt),
            SubtitleFormat("tsv", "Table: start, end, text", _tsv),
            SubtitleFormat("json", "Segments, words, times, gaps", _json),
        )
    }
)


def get_format(name: str) -> SubtitleFormat:
    """The format of that name (``srt``, ``.SRT``). Raises InvalidOption, which lists them all."""
    found = FORMATS.get(name.strip().lower().removeprefix("."))
    if found is None:
        raise InvalidOption(
            f"Unknown subtitle format {name!r}.", hint=f"Choose from: {', '.join(FORMATS)}."
        )
    return found


def write_files(
    transcript: Transcript,
    cues: Sequence[Cue],
    formats: Iterable[str],
    directory: Path,
    stem: str,
) -> list[Path]:
    """Write ``directory/stem.<extension>`` for each format and return the paths in that order.

    Everything is rendered before the first file is touched, and each file appears whole or not
    at all. ``stem`` is used as it is; pass untrusted names through
    ``subtitles.sanitize.safe_stem`` first. Raises InvalidOption, DiskFull.
    """
    if not stem or stem in (".", "..") or any(c in stem for c in "/\\\0"):
        raise InvalidOption(
            f"{stem!r} is not a file name.", hint="Give a name without folders, like 'talk'."
        )
    chosen = list({f.name: f for f in map(get_format, formats)}.values())
    contents = [f.render(transcript, cues).encode() for f in chosen]
    paths = [directory / f"{stem}{f.extension}" for f in chosen]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for path, content in zip(paths, contents, strict=True):
            replace_file(path, content)
    except OSError as error:
        raise _explained(error, directory) from error
    return paths


def _explained(error: OSError, directory: Path) -> DiskFull | InvalidOption:
    if disk_is_full(error):
        return DiskFull(f"No space left to write subtitles to {directory}.")
    return InvalidOption(
        f"Cannot write subtitles to {directory}: {error.strerror or error}.",
        hint="Choose a folder that exists or can be created, and that you may write to.",
    )
