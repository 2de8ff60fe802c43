"""Log lines: one an event, in UTC, and nobody can forge a second."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from pathlib import Path

from core.logs import LineFormatter, one_line


def record(message: str, **more: object) -> logging.LogRecord:
    made = logging.LogRecord("test", logging.INFO, __file__, 1, message, (), None)
    made.__dict__.update(more)
    return made


def test_a_line_has_utc_time_level_and_message() -> None:
    line = LineFormatter().format(record("[GPU 0] ✓ Segment 0: 8 texts", created=0.25, msecs=250.0))
    assert line == "1970-01-01T00:00:00.250Z INFO [GPU 0] ✓ Segment 0: 8 texts"


def test_control_characters_of_a_message_become_escapes() -> None:
    forged = "a.mp3\n2026-01-01T00:00:00Z ERROR forged\r\x1b[31m\x00\u2028\u202e\x85"
    line = LineFormatter().format(record(forged))
    assert line.endswith(r"a.mp3\n2026-01-01T00:00:00Z ERROR forged\r\x1b[31m\x00\u2028\u202e\x85")
    assert len(line.splitlines()) == 1


def test_text_of_every_script_stays_as_it_is() -> None:
    text = "会议录音 – Ünïcode – مرحبا – 🎬.mp4"
    assert one_line(text) == text


def test_a_traceback_keeps_its_lines_but_no_escapes() -> None:
    try:
        raise ValueError("bad\x1b[2J name")
    except ValueError:
        text = LineFormatter().format(record("failed", exc_info=sys.exc_info()))
    lines = text.splitlines()
    assert lines[0].endswith("INFO failed")
    assert lines[1] == "Traceback (most recent call last):"
    assert lines[-1] == r"ValueError: bad\x1b[2J name"


def test_a_traceback_of_another_process_follows_as_lines() -> None:
    text = LineFormatter().format(record("failed", traceback_text="Traceback:\n  one\x07\n"))
    assert text.splitlines()[1:] == ["Traceback:", r"  one\x07"]


def test_set_up_twice_writes_one_line_an_event_to_standard_error(root: Path) -> None:
    code = (
        "import logging, warnings\n"
        "from core.logs import setup_logging\n"
        "setup_logging('warning'); setup_logging('info')\n"
        "logging.getLogger('any').info('hello')\n"
        "logging.getLogger('httpx').info('request')\n"
        "logging.getLogger('any').debug('hidden')\n"
        "warnings.warn('odd')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO hello", lines[0])
    assert len(lines) == 2
    assert "WARNING" in lines[1]
    assert "odd" in lines[1]
