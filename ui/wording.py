"""How the page puts numbers and states into words: pure functions, no HTML."""

from __future__ import annotations

import math
from collections import Counter
from datetime import UTC, datetime

from core.errors import Cancelled, CapacityError, InputError, Paused, SubtitleError
from core.languages import LANGUAGES
from core.types import Gap, JobReport
from jobs.states import JobState
from subtitles.sanitize import clean_text

STATES = {
    JobState.QUEUED: "Waiting",
    JobState.DOWNLOADING: "Downloading",
    JobState.RUNNING: "Transcribing",
    JobState.PAUSED: "Paused",
    JobState.COMPLETE: "Complete",
    JobState.COMPLETE_WITH_GAPS: "Finished with gaps",
    JobState.FAILED: "Failed",
    JobState.CANCELLED: "Cancelled",
}

MAX_NAME = 160
"""Characters of a recording's name that are shown; people give names of any length."""


def clock(seconds: float) -> str:
    """``4:05`` or ``1:04:05``: how players show a time."""
    whole = max(0, math.floor(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, seconds_left = divmod(rest, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{seconds_left:02d}"
    return f"{minutes}:{seconds_left:02d}"


def time_left(seconds: float) -> str:
    """``about 12 s left``: rounded as coarsely as the guess is."""
    if seconds < 1:
        return "almost done"
    if seconds < 60:
        return f"about {math.ceil(seconds)} s left"
    if seconds < 3600:
        return f"about {math.ceil(seconds / 60)} min left"
    return f"about {seconds / 3600:.1f} h left"


def moment(epoch_s: float) -> str:
    """``2026-11-20 08:12:45 UTC``; the page's script shows it in the reader's own time."""
    return f"{datetime.fromtimestamp(epoch_s, UTC):%Y-%m-%d %H:%M:%S} UTC"


def counted(number: int, one: str) -> str:
    """``1 cue``, ``1,204 cues``."""
    return f"{number:,} {one if number == 1 else one + 's'}"


def hours(number: float) -> str:
    """``24 hours``, ``3 days``, ``30 minutes``."""
    if number < 1:
        return counted(round(number * 60), "minute")
    if number >= 48 and number % 24 == 0:
        return counted(round(number / 24), "day")
    return f"{number:g} {'hour' if number == 1 else 'hours'}"


def short(name: str) -> str:
    """A recording's name on one line, without what could turn the rest of the line round."""
    clean = clean_text(name).strip() or "Recording"
    return clean if len(clean) <= MAX_NAME else f"{clean[: MAX_NAME - 20]}…{clean[-18:]}"


def language_name(code: str | None) -> str | None:
    """``English`` for ``en``; None where no language was found."""
    return LANGUAGES.get(code, code) if code else None


def speed(times: float) -> str:
    """``8.3x real time``, without a decimal where it says nothing."""
    return f"{times:.1f}x real time" if times < 10 else f"{times:.0f}x real time"


def gap_text(gap: Gap) -> str:
    """``1:05 to 1:12: the model crashed``."""
    return f"{clock(gap.start_s)} to {clock(gap.end_s)}: {gap.reason}"


def verdict(
    cues: int, gaps: tuple[Gap, ...], report: JobReport | None, language: str | None
) -> str:
    """The final line of a job that was not cancelled: results, speed, language."""
    if not cues and not gaps:
        return "No speech was found."
    ending = f"Finished with {counted(len(gaps), 'gap')}" if gaps else "Complete"
    facts = [counted(cues, "cue")]
    if report is not None:
        facts.append(speed(report.speed))
    if name := language_name(language):
        facts.append(f"language {name}")
    return f"{ending}: {', '.join(facts)}"


def shares(report: JobReport) -> str:
    """``Decoded by Endpoint Office: 12 segments; CPU 0: 1 segment.``"""
    done = Counter(segment.device for segment in report.segments if segment.device)
    told = (f"{device}: {counted(number, 'segment')}" for device, number in sorted(done.items()))
    return f"Decoded by {'; '.join(told)}." if done else ""


def title(error: SubtitleError) -> str:
    """A heading for an error."""
    match error:
        case Cancelled():
            return "Cancelled"
        case Paused():
            return "The service is stopping"
        case CapacityError():
            return "Not now"
        case InputError():
            return "That did not work"
        case _:
            return "Not transcribed"
