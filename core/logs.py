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

``WHISPER_LOG_FORMAT=json`` writes the same events as JSON objects instead, one a line.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
import warnings
from contextvars import ContextVar
from typing import Any, Literal

LogFormat = Literal["plain", "json"]

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

_SEGMENT_NUMBER = re.compile(r"\b[Ss]egment (%d)")
_SEGMENT_NAME = re.compile(r"segment (\d+)(?:, window \d+)? \(\d+\.\d-\d+\.\ds\)$")
"""``AudioSegment.name``, or a part of one."""

_PLACES = re.compile(r"%[-+ #0-9.]*[a-z]")

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
        self._device = device

    def format(self, record: logging.LogRecord) -> str:
        level = _LEVEL_WORDS.get(record.levelname, record.levelname)
        job = _job_of(record)
        text = f"{record.getMessage()} (job {job})" if job else record.getMessage()
        device = f"[{self._device}] " if self._device else ""
        line = f"{self.formatTime(record)} {level} {device}{one_line(text)}"
        return "\n".join([line, *map(_indented, self._blocks(record))])

    def _blocks(self, record: logging.LogRecord) -> list[str]:
        """Tracebacks and stacks that follow the line."""
        # exc_text: another formatter's text of exc_info, or one that came with the record.
        exception = self.formatException(record.exc_info) if record.exc_info else record.exc_text
        remote: str | None = getattr(record, "traceback_text", None)
        return list(filter(None, (exception, record.stack_info, remote)))


class JsonFormatter(LineFormatter):
    """The same as one JSON object: ``time``, ``level``, ``logger``, ``message``, and where they are
    known ``device``, ``segment``, ``job`` and ``exception``."""

    def format(self, record: logging.LogRecord) -> str:
        message, device = record.getMessage(), self._device or _device_of(record)
        event: dict[str, Any] = {
            "time": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "message": message.removeprefix(f"[{device}] "),
        }
        about = {
            "device": device,
            "segment": _segment_of(record),
            "job": _job_of(record),
            "exception": "\n".join(block.rstrip("\n") for block in self._blocks(record)),
        }
        event |= {name: value for name, value in about.items() if value not in ("", None)}
        line = json.dumps(event, ensure_ascii=False)
        # JSON escapes what ends lines in ASCII, and not what ends them elsewhere.
        return _CONTROL.sub(lambda match: f"\\u{ord(match.group()):04x}", line)


def _job_of(record: logging.LogRecord) -> str:
    return getattr(record, "job", "") or _job.get()


def _device_of(record: logging.LogRecord) -> str:
    """What ``extra`` says, or the label that the message begins with."""
    device: str | None = getattr(record, "device", None)
    if device is None and isinstance(record.args, tuple) and record.args:
        device = str(record.args[0]) if str(record.msg).startswith("[%s] ") else None
    return device or ""


def _segment_of(record: logging.LogRecord) -> int | None:
    """What ``extra`` says, or the number in the message: that of ``segment %d`` or of a segment's
    name among its arguments. Text of users that looks the same is not taken for one."""
    segment: int | None = getattr(record, "segment", None)
    if segment is not None or not isinstance(record.args, tuple):
        return segment
    template = str(record.msg)
    if numbered := _SEGMENT_NUMBER.search(template):
        number = record.args[len(_PLACES.findall(template, 0, numbered.start(1)))]
        return number if isinstance(number, int) else None
    names = (_SEGMENT_NAME.match(arg) for arg in record.args if isinstance(arg, str))
    return next((int(name[1]) for name in names if name), None)


def _indented(text: str) -> str:
    lines = _CONTROL_BUT_LINES.sub(_escape, text).rstrip("\n").split("\n")
    return "\n".join(f"  {line}" for line in lines)


def setup_logging(level: str = "info", device: str = "", log_format: LogFormat = "plain") -> None:
    """Log to standard error in the app's format; call once in every process, in a worker with
    the label of its device.

    Called again it only sets the level, so that a front and a library may both call it.
    """
    root = logging.getLogger()
    root.setLevel(level.upper())
    if not any(isinstance(handler.formatter, LineFormatter) for handler in root.handlers):
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter((JsonFormatter if log_format == "json" else LineFormatter)(device))
        root.addHandler(handler)
    quiet = max(logging.WARNING, root.level)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(quiet)
    # Warnings of libraries go through the same lines, but for those about their source text, which
    # come once, when Python compiles it.
    logging.captureWarnings(True)
    warnings.filterwarnings("ignore", category=SyntaxWarning)
