"""How the app and its worker processes log: one line an event, on standard error.

    2026-11-20T04:48:00.123Z INFO [GPU 0] Processing segment 0 (12.3s)
    2026-11-20T04:48:07.456Z Warning: [GPU 0] The worker of GPU 0 died … (job 3f2a)

The levels are written as operators search for them: ``grep -E "ERROR|Warning|GPU"`` (docs/logs.md).
File names and titles come from users and may hold line breaks or terminal escapes: control
characters of a message are written as escapes, so that one event stays one line and no one can
forge a second. Tracebacks follow on lines of their own, indented, because what they quote may hold
line breaks too; one that came as text from another process is passed as
``extra={"traceback_text": text}``. Worker processes inherit standard error
and call :func:`setup_logging` first thing. Which job a line is about stands at its end: that of
:func:`set_job`, or ``extra={"job": id}`` where a thread serves several.
"""

from __future__ import annotations

import logging
import re
import sys
import time
import warnings
from contextvars import ContextVar

_NOT_PLAIN = r"\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
"""Controls, line breaks, direction marks; surrogates stand for bytes of a file name that are no
text and cannot be encoded."""

_CONTROL = re.compile(rf"[\x00-\x1f{_NOT_PLAIN}]")
_CONTROL_BUT_LINES = re.compile(rf"[\x00-\x08\x0b-\x1f{_NOT_PLAIN}]")

_LINK = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]{1,20}://)(?:[^\s/?#]*@)?(?P<place>[^\s?#]*)(?P<rest>[?#]\S*)?",
    re.IGNORECASE,
)
_VIDEO = re.compile(r"[?&](v=[\w-]{1,20})(?=[&#]|$)")

_LEVEL_WORDS = {"WARNING": "Warning:"}

_job: ContextVar[str] = ContextVar("job", default="")

# Libraries that tell every request or every file at INFO.
_CHATTY = (
    "alembic",
    "faster_whisper",
    "filelock",
    "httpcore",
    "httpx",
    "huggingface_hub",
    "matplotlib",
)


def _escape(match: re.Match[str]) -> str:
    return match.group().encode("unicode_escape").decode("ascii")


def one_line(text: str) -> str:
    """The text with control characters, line breaks, direction marks and surrogates as escapes."""
    return _CONTROL.sub(_escape, text)


def plain_line(text: str) -> str:
    """The text as one line without what :func:`one_line` escapes: each of these characters counts
    as a space, and runs of spaces become one. For names and titles that strangers chose."""
    return " ".join(_CONTROL.sub(" ", text).split())


def without_secrets(text: str) -> str:
    """The text with its links as they may be shown: without user, password, fragment and query, in
    which tokens stand. The ``v`` by which YouTube names a recording stays."""
    return _LINK.sub(_shown_link, text)


def _shown_link(match: re.Match[str]) -> str:
    video = _VIDEO.search(match["rest"] or "")
    return match["scheme"] + match["place"] + (f"?{video[1]}" if video else "")


def set_job(job_id: str) -> None:
    """What this thread logs from now on is about that job; empty: about none."""
    _job.set(job_id)


class LineFormatter(logging.Formatter):
    """UTC time, level, device, message, job; a traceback keeps its lines, indented and without
    escapes. ``device``: the one all lines of this process are about."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self, device: str = "") -> None:
        super().__init__()
        self._device = f"[{device}] " if device else ""

    def format(self, record: logging.LogRecord) -> str:
        level = _LEVEL_WORDS.get(record.levelname, record.levelname)
        job = getattr(record, "job", "") or _job.get()
        text = f"{record.getMessage()} (job {job})" if job else record.getMessage()
        line = f"{self.formatTime(record)} {level} {self._device}{one_line(text)}"
        # exc_text: another formatter's text of exc_info, or one that came with the record.
        exception = self.formatException(record.exc_info) if record.exc_info else record.exc_text
        remote: str | None = getattr(record, "traceback_text", None)
        blocks = filter(None, (exception, record.stack_info, remote))
        return "\n".join([line, *map(_indented, blocks)])


def _indented(text: str) -> str:
    lines = _CONTROL_BUT_LINES.sub(_escape, text).rstrip("\n").split("\n")
    return "\n".join(f"  {line}" for line in lines)


def setup_logging(level: str = "info", device: str = "") -> None:
    """Log to standard error in the app's format; call once in every process, in a worker with
    the label of its device.

    Called again it only sets the level, so that a front and a library may both call it.
    """
    root = logging.getLogger()
    root.setLevel(level.upper())
    if not any(isinstance(handler.formatter, LineFormatter) for handler in root.handlers):
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(LineFormatter(device))
        root.addHandler(handler)
    quiet = max(logging.WARNING, root.level)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(quiet)
    # Warnings of libraries go through the same lines, but for those about their source text, which
    # come once, when Python compiles it.
    logging.captureWarnings(True)
    warnings.filterwarnings("ignore", category=SyntaxWarning)
