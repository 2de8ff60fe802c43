"""Which gaps of a finished transcript to try again, and how to merge what was found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from core.events import Finished
from core.merge import join_gaps
from core.planning import MIN_SPAN_S
from core.types import Gap, JobReport, SpeechSpan, Transcript
from decoding.words import in_order


def worth_trying(gaps: Sequence[Gap], duration_s: float) -> tuple[Gap, ...]:
    """Gaps inside the recording that are long enough for a word. What lies after ``duration_s``,
    the last audio that could be read, has nothing to decode."""
    return tuple(gap for gap in gaps if min(gap.end_s, duration_s) - gap.start_s >= MIN_SPAN_S)


def ranges(gaps: Sequence[Gap]) -> tuple[SpeechSpan, ...]:
    """The gaps' stretches of the recording, in order."""
    return tuple(SpeechSpan(gap.start_s, gap.end_s) for gap in gaps)


def fill(
    transcript: Transcript, report: JobReport, tried: Sequence[Gap], found: Finished
) -> Finished:
    """The transcript with what a run over its gaps has found."""
    left = [gap for gap in transcript.gaps if gap not in tried]
    gaps = join_gaps([*left, *found.transcript.gaps])
    filled = replace(
        transcript,
        segments=in_order([*transcript.segments, *found.transcript.segments]),
        gaps=gaps,
    )
    more = found.report
    elapsed_s = report.elapsed_s + more.elapsed_s
    return Finished(
        filled,
        replace(
            report,
            elapsed_s=elapsed_s,
            load_s=report.load_s + more.load_s,
            transcribe_s=report.transcribe_s + more.transcribe_s,
            speed=report.audio_s / elapsed_s,
            windows=report.windows + more.windows,
            devices=tuple(sorted({*report.devices, *more.devices})),
            gaps=gaps,
        ),
    )
