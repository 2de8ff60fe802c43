from __future__ import annotations

from core.events import Finished
from core.types import Gap, JobReport, Transcript, TranscriptSegment, Word
from jobs.gaps import fill, ranges, worth_trying


def said(start_s: float, *words: str) -> TranscriptSegment:
    """One word a second."""
    timed = tuple(
        Word(start_s + i, start_s + i + 0.5, f" {word}", 0.9) for i, word in enumerate(words)
    )
    return TranscriptSegment(start_s, timed[-1].end_s, " " + " ".join(words), timed)


def report(**fields: object) -> JobReport:
    known: dict[str, object] = {
        "audio_s": 60.0,
        "speech_s": 50.0,
        "load_s": 1.0,
        "elapsed_s": 4.0,
        "decode_s": 0.1,
        "vad_s": 0.1,
        "transcribe_s": 4.0,
        "speed": 15.0,
        "model": "tiny.en",
        "language": "en",
        "devices": ("CPU 0",),
        "windows": 2,
    }
    return JobReport(**{**known, **fields})  # type: ignore[arg-type]


KILLED = Gap(10.0, 20.0, "killed two workers (SIGSEGV)", 1)
UNREAD = Gap(60.0, 90.0, "the file ends before the length it declares")
OLD = Transcript((said(0.0, "one", "two"), said(30.0, "five")), (KILLED, UNREAD), "en", 0.9, 60.0)


def test_only_gaps_that_have_audio_are_tried() -> None:
    short = Gap(40.0, 40.05, "speech was heard but the model found no words")
    assert worth_trying((KILLED, short, UNREAD), 60.0) == (KILLED,)
    (span,) = ranges((KILLED,))
    assert (span.start_s, span.end_s) == (10.0, 20.0)


def test_what_was_found_goes_where_it_was_said_and_the_gap_closes() -> None:
    found = Finished(
        Transcript((said(11.0, "three", "four"),), (), "en", duration_s=60.0),
        report(elapsed_s=1.0, windows=1, devices=("CPU 1",)),
    )
    filled = fill(OLD, report(gaps=OLD.gaps), (KILLED,), found)
    texts = [segment.text for segment in filled.transcript.segments]
    assert texts == [" one two", " three four", " five"]
    assert filled.transcript.gaps == filled.report.gaps == (UNREAD,)
    assert not filled.transcript.complete
    assert (filled.report.elapsed_s, filled.report.speed) == (5.0, 12.0)
    assert (filled.report.windows, filled.report.devices) == (3, ("CPU 0", "CPU 1"))


def test_a_gap_that_is_still_there_stays_with_its_new_reason() -> None:
    again = Gap(12.0, 18.0, "speech was heard but the model found no words", 0)
    found = Finished(Transcript((), (again,), "en", duration_s=60.0), report())
    filled = fill(OLD, report(), (KILLED,), found)
    assert filled.transcript.gaps == (again, UNREAD)
    assert filled.transcript.segments == OLD.segments


def test_words_inside_a_sentence_divide_it() -> None:
    whole = Transcript((said(0.0, "a", "b", "c", "d"),), (Gap(1.6, 1.9, "?"),), duration_s=60.0)
    found = Finished(Transcript((said(1.6, "x"),), (), duration_s=60.0), report())
    filled = fill(whole, report(), whole.gaps, found)
    assert [s.text.strip() for s in filled.transcript.segments] == ["a b", "x", "c d"]
