"""Log lines: one an event, in UTC, and nobody can forge a second."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import traceback
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given

from core.logs import JsonFormatter, LineFormatter, one_line, plain_line, set_job, without_secrets
from tests.subtitles.samples import any_text


def record(message: str, **more: object) -> logging.LogRecord:
    made = logging.LogRecord("test", logging.INFO, __file__, 1, message, (), None)
    made.__dict__.update(more)
    return made


def test_a_line_has_utc_time_level_and_message() -> None:
    line = LineFormatter().format(record("[GPU 0] ✓ Segment 0: 8 texts", created=0.25, msecs=250.0))
    assert line == "1970-01-01T00:00:00.250Z INFO [GPU 0] ✓ Segment 0: 8 texts"


@pytest.mark.parametrize(
    ("level", "word"),
    [
        (logging.DEBUG, "DEBUG"),
        (logging.WARNING, "Warning:"),
        (logging.ERROR, "ERROR"),
        (logging.CRITICAL, "CRITICAL"),
    ],
)
def test_levels_are_written_as_operators_search_for_them(level: int, word: str) -> None:
    made = record("2 segments failed to transcribe")
    made.levelno, made.levelname = level, logging.getLevelName(level)
    assert LineFormatter().format(made).endswith(f"Z {word} 2 segments failed to transcribe")


def test_a_worker_names_its_device_and_every_thread_its_job() -> None:
    formatter = LineFormatter("GPU 1")
    assert formatter.format(record("Loading")).endswith("Z INFO [GPU 1] Loading")
    assert formatter.format(record("Going on", job="b\n")).endswith(r"] Going on (job b\n)")

    def other_thread() -> str:
        set_job("a")
        return formatter.format(record("Loading"))

    with ThreadPoolExecutor() as pool:
        assert pool.submit(other_thread).result().endswith("Loading (job a)")
    assert formatter.format(record("Loading")).endswith("Loading")


def test_control_characters_of_a_message_become_escapes() -> None:
    forged = "a.mp3\n2026-01-01T00:00:00Z ERROR forged\r\x1b[31m\x00\u2028\u202e\x85"
    line = LineFormatter().format(record(forged))
    assert line.endswith(r"a.mp3\n2026-01-01T00:00:00Z ERROR forged\r\x1b[31m\x00\u2028\u202e\x85")
    assert len(line.splitlines()) == 1


def test_links_lose_passwords_queries_and_fragments() -> None:
    for link, shown in (
        ("https://me:secret@host:8443/a/b.mp3?token=secret#t=1", "https://host:8443/a/b.mp3"),
        ("ftp://secret@host", "ftp://host"),
        ("https://www.youtube.com/watch?list=secret&v=a-B_9&t=3", "https://www.youtube.com/watch?v=a-B_9"),
        ("HTTP://host/@me", "HTTP://host/@me"),
        ("http://host?v=" + "secret" * 9, "http://host"),
    ):  # fmt: skip
        assert without_secrets(link) == shown
        assert without_secrets(f"ERROR: {link} failed") == f"ERROR: {shown} failed"
    assert without_secrets("me@home: 3/4? yes") == "me@home: 3/4? yes"


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
    assert lines[1] == "  Traceback (most recent call last):"
    assert lines[-1] == r"  ValueError: bad\x1b[2J name"


def test_a_traceback_of_another_process_follows_as_lines() -> None:
    text = LineFormatter().format(record("failed", traceback_text="Traceback:\n  one\x07\n"))
    assert text.splitlines()[1:] == ["  Traceback:", r"    one\x07"]


def test_a_traceback_another_formatter_made_is_cleaned_too() -> None:
    text = LineFormatter().format(record("failed", exc_text="Traceback:\nbad\x1b[2J"))
    assert text.splitlines()[1:] == ["  Traceback:", r"  bad\x1b[2J"]
    text = LineFormatter().format(record("failed", stack_info="Stack:\nbad\x1b[2J"))
    assert text.splitlines()[1:] == ["  Stack:", r"  bad\x1b[2J"]


@given(any_text, any_text)
def test_nothing_in_a_record_begins_a_line_or_moves_the_terminal(text: str, why: str) -> None:
    error = ValueError(why)
    made = record(
        "%s", args=(text,), exc_info=(ValueError, error, None), traceback_text=f"{why}\n{text}"
    )
    lines = LineFormatter().format(made)
    first, *others = lines.split("\n")
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO ", first)
    assert all(line.startswith("  ") for line in others)
    assert len(lines.splitlines()) == 1 + len(others)
    assert not any(unicodedata.category(c) in ("Cc", "Cs") for c in re.sub("[\n\t]", "", lines))
    assert lines.encode()


def test_bytes_of_a_file_name_that_are_no_text_become_escapes() -> None:
    assert one_line("caf\udce9.wav") == r"caf\udce9.wav"


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
    assert "Z Warning: " in lines[1]
    assert "odd" in lines[1]


def test_a_plain_line_has_words_and_single_spaces_alone() -> None:
    name = "  a\x00\r\n b\u202ec\u2028\ud800d\x1b[31m  Über\u200dx "
    assert plain_line(name) == "a b c d [31m Über\u200dx"


def parsed(formatter: JsonFormatter, made: logging.LogRecord) -> dict[str, object]:
    line = formatter.format(made)
    assert len(line.splitlines()) == 1
    event: dict[str, object] = json.loads(line)
    return event


def test_json_has_the_same_event_as_one_object() -> None:
    made = record("[GPU 0] The worker died.", created=0.25, msecs=250.0, levelname="WARNING")
    made.__dict__.update(job="a", device="GPU 0", segment=3)
    assert parsed(JsonFormatter(), made) == {
        "time": "1970-01-01T00:00:00.250Z",
        "level": "WARNING",
        "logger": "test",
        "message": "The worker died.",
        "device": "GPU 0",
        "segment": 3,
        "job": "a",
    }
    assert parsed(JsonFormatter(), record("Hello")).keys() == {"time", "level", "logger", "message"}


@pytest.mark.parametrize(
    ("message", "args", "segment", "device"),
    [
        ("Processing segment %d (%.1fs)", (7, 12.3), 7, "CPU 1"),
        ("✓ Segment %d: %d texts", (7, 8), 7, "CPU 1"),
        ("[%s] answered segment %d unasked", ("GPU 0", 7), 7, "GPU 0"),
        ("[%s] %s is given to task %d", ("GPU 0", "segment 7 (1.0-2.5s)", 3), 7, "GPU 0"),
        ("%s, round %d", ("segment 7, window 2 (1.0-2.5s)", 1), 7, "CPU 1"),
        ("%d segments failed to transcribe", (7,), None, "CPU 1"),
        # What users chose is neither.
        ("Started: %s", ("segment 7 (1.0-2.5s).mp3",), None, "CPU 1"),
        ("%s failed: %s", ("[GPU 0] segment 7", "x"), None, "CPU 1"),
    ],
)
def test_json_names_segment_and_device_of_our_own_messages_alone(
    message: str, args: tuple[object, ...], segment: int | None, device: str
) -> None:
    own = "" if message.startswith("[") else "CPU 1"
    event = parsed(JsonFormatter(own), record(message, args=args))
    assert (event.get("segment"), event["device"]) == (segment, device)
    assert not str(event["message"]).startswith("[GPU 0] segment 7 (")


@given(any_text, any_text)
def test_json_keeps_every_text_and_stays_one_line(text: str, why: str) -> None:
    made = record("%s", args=(text,), exc_info=(ValueError, ValueError(why), None), job=text)
    line = JsonFormatter().format(made)
    assert not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in line)
    event = json.loads(line)
    assert event["message"] == text
    told = traceback.format_exception_only(ValueError(why))[-1]
    assert event["exception"].rstrip("\n") == told.rstrip("\n")
    assert event.get("job", "") == text
