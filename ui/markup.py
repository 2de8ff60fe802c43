"""The small pieces all markup of the page is made of; everything goes through :func:`text`."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

from core.errors import SubtitleError
from jobs.states import JobState
from subtitles.sanitize import clean_text
from ui import wording

_COMMAND = re.compile(r"`([^`]+)`")


def text(value: object) -> str:
    """A value as text of an element or a quoted attribute: one line, nothing of it markup, nothing
    that turns the reading direction of its surroundings."""
    return html.escape(clean_text(str(value)), quote=True)


def name(value: str) -> str:
    """A recording's name, isolated so that its reading direction affects nothing else."""
    return f"<bdi>{text(wording.short(value))}</bdi>"


def time(epoch_s: float, style: str = "moment") -> str:
    """A time; the page's script shows it in the reader's own zone. ``style``: ``moment``, ``day``
    without the seconds, ``clock`` without the day."""
    return (
        f'<local-time at="{epoch_s:.3f}" show="{style}">{text(wording.moment(epoch_s))}'
        "</local-time>"
    )


def state(value: JobState) -> str:
    """A state in words, with the dot that its class colours."""
    return f'<span class="state">{text(wording.STATES[value])}</span>'


def problem(error: SubtitleError) -> str:
    """What went wrong and what can be done about it."""
    return problem_text(error.message, error.hint)


def problem_text(message: str, hint: str) -> str:
    what = f'<span class="what">{text(message)}</span>'
    todo = f'<span class="hint">{text(hint)}</span>' if hint else ""
    return f'<p class="problem" role="alert">{what} {todo}</p>'


def with_commands(words: str) -> str:
    """Text in which ``commands`` in back quotes are shown as such."""
    return _COMMAND.sub(r"<code>\1</code>", text(words))


def bullets(lines: Iterable[str]) -> str:
    """Sentences under each other."""
    return f"<ul>{''.join(f'<li>{text(line)}</li>' for line in lines)}</ul>"


def action(act: str, job_id: str, label: str, about: str, kind: str = "") -> str:
    """A button that asks the page for something about a job; see ``actions.js``."""
    return (
        f'<button type="button" class="act {kind}" data-act="{text(act)}" data-id="{text(job_id)}"'
        f' data-name="{text(wording.short(about))}"'
        f' aria-label="{text(label)}: {text(wording.short(about))}">{text(label)}</button>'
    )


def facts(values: Iterable[str]) -> str:
    """Short facts beside each other; the values are markup."""
    return f'<p class="facts">{"".join(f"<span>{value}</span>" for value in values)}</p>'
