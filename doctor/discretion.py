"""Taking out of a bug report what its reader need not know: secrets, links, names and texts.

Secrets go by :func:`doctor.diagnosis.redacted` and by their values. Names of recordings go by the
jobs that are known, and by the lines of the log that say them; one found in such a line is taken
out of all others. Ids of jobs are keys to their files, so that only their beginning is left.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from doctor.diagnosis import redacted

SHORT_ID = 6
HIDDEN = "***"

_LINE = re.compile(
    r"(?P<head>\S+Z (?:DEBUG|INFO|Warning:|ERROR|CRITICAL) )(?P<device>\[[^\]]*\] )?(?P<text>.*?)"
    r"(?P<job> \(job [^)]*\))?"
)
_LINK = re.compile(r"\b[a-z][a-z0-9+.-]{1,20}://[^\s'\"<>]+", re.IGNORECASE)
_JOB_ID = re.compile(r"(?<=\bjob[ =])[\w-]{16}(?![\w-])|(?<=\bjobs/)[\w-]{16}(?![\w-])")
_JOB_LIST = re.compile(r"(?<=\(job )[\w-]+(?:, [\w-]+)+(?=\))")
_FIRST_PASSWORD = re.compile(r"(?<=\bpassword)( {2,})[^\s\"]+")
"""As a first start writes it into the log."""

_TELLING = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?:Started: |Downloading |Wrote |Submitted: |yt-dlp: )(?P<text>.+)",
        r"(?:No speech was found in |Skipped \d+ damaged packets of )(?P<text>.+)",
        r"Going on with (?P<text>.+?)(?:, whose service ended before it did)?",
        r"Downloaded:? (?P<text>.+?)(?: from \S+)?",
        r"Login failed for (?P<text>.+)",
        r"(?P<text>.+) logged in from (?P<more>\S+)",
        r"(?P<text>.+?)(?: ends before its declared length.*| is not finished: .*|: Resumed with .*"
        r"|: Cancelled.*|: the transcript cannot be read)",
        r"(?!The )(?P<text>[^✗]+?) failed(?:: .*)?",
    )
)
"""Lines of the log that hold what users chose."""


class Discretion:
    """What one report leaves out.

    Args:
        secrets: values that must not appear anywhere.
        private: names and texts of users, as far as they are known.
    """

    def __init__(self, secrets: Iterable[str] = (), private: Iterable[str] = ()) -> None:
        # One or two letters stand in every word, and give nothing away.
        self._hidden = {text for text in (*secrets, *private) if len(text.strip()) > 2}

    def clean(self, text: str) -> str:
        """The text without what is known to be private."""
        for hidden in sorted(self._hidden, key=len, reverse=True):
            text = text.replace(hidden, HIDDEN)
        text = _FIRST_PASSWORD.sub(rf"\1{HIDDEN}", text)
        text = _JOB_LIST.sub(lambda found: ", ".join(map(short, found[0].split(", "))), text)
        text = _JOB_ID.sub(lambda found: short(found[0]), text)
        return redacted(_LINK.sub("LINK", text))

    def clean_data(self, value: Any) -> Any:
        """What JSON can hold, with every text in it clean."""
        if isinstance(value, Mapping):
            return {name: self.clean_data(each) for name, each in value.items()}
        if isinstance(value, list | tuple):
            return [self.clean_data(each) for each in value]
        return self.clean(str(value)) if isinstance(value, str | Path) else value

    def clean_log(self, lines: Collection[str]) -> str:
        """Lines of the app's log, plain or JSON, as clean plain lines."""
        plain = [one for line in lines for one in as_plain(line)]
        said = [_told(line) for line in plain]
        everything = Discretion(self._hidden, {text for texts in said for text in texts})
        return "".join(
            f"{everything.clean(_without(line, texts))}\n"
            for line, texts in zip(plain, said, strict=True)
        )


def short(job_id: str) -> str:
    """Enough of a job's id to tell jobs apart."""
    return job_id[:SHORT_ID] + "…"


def as_plain(line: str) -> list[str]:
    """A line as the plain format has it; a JSON line may be several, with its exception."""
    line = line.rstrip("\n")
    if not line.startswith("{"):
        return [line]
    try:
        event = json.loads(line)
    except ValueError:
        return [line]
    if not isinstance(event, dict) or not {"time", "level", "message"} <= event.keys():
        return [line]
    level = "Warning:" if event["level"] == "WARNING" else event["level"]
    device = f"[{event['device']}] " if event.get("device") else ""
    job = f" (job {event['job']})" if event.get("job") else ""
    first = f"{event['time']} {level} {device}{event['message']}{job}"
    return [first, *(f"  {part}" for part in event.get("exception", "").splitlines())]


def _told(line: str) -> list[str]:
    """What a line of the log says of users and recordings."""
    found = _LINE.fullmatch(line)
    if found is None or found["device"]:
        return []  # workers know no names
    matches = (pattern.fullmatch(found["text"]) for pattern in _TELLING)
    told = next((match for match in matches if match), None)
    return [] if told is None else [text for text in told.groups() if text]


def _without(line: str, texts: Iterable[str]) -> str:
    head = _LINE.fullmatch(line)
    start = 0 if head is None else head.end("head")
    rest = line[start:]
    for text in texts:
        rest = rest.replace(text, HIDDEN)
    return line[:start] + rest
