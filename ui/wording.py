"""How the page puts numbers and states into words: pure functions, no HTML."""

from __future__ import annotations

import math

from core.languages import LANGUAGES
from core.types import Gap, JobReport


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


def counted(number: int, one: str, many: str | None = None) -> str:
    """``1 cue``, ``1,204 cues``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def language_name(code: str | None) -> str | None:
    """``English`` for ``en``; None where there was nothing to hear a language in."""
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
    """The final line of a job that ended by itself: what there is, how fast, in which language."""
    if not cues and not gaps:
        return "No speech was found."
    ending = f"Finished with {counted(len(gaps), 'gap')}" if gaps else "Complete"
    facts = [counted(cues, "cue")]
    if report is not None:
        facts.append(speed(report.speed))
    if name := language_name(language):
        facts.append(f"language {name}")
    return f"{ending}: {', '.join(facts)}"
