"""What a bug report leaves out, and what it keeps."""

from __future__ import annotations

import json

import pytest

from doctor.discretion import Discretion, as_plain

AT = "2026-11-21T04:48:00.123Z"
ID = "Yk3rT0a9QmWb_x2-"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("INFO Started: my talk.mp4 (job {id})", "INFO Started: *** (job Yk3rT0…)"),
        ("INFO Wrote /data/jobs/{id}/my talk.srt, /x/b.vtt", "INFO Wrote ***"),
        ("INFO Downloading https://youtu.be/x?v=1", "INFO Downloading ***"),
        ("INFO Going on with my talk.mp4", "INFO Going on with ***"),
        (
            "Warning: Going on with my talk.mp4, whose service ended before it did",
            "Warning: Going on with ***, whose service ended before it did",
        ),
        (
            "ERROR my talk.mp4 failed: It is no recording. (job {id})",
            "ERROR *** failed: It is no recording. (job Yk3rT0…)",
        ),
        ("Warning: Login failed for anna from 192.0.2.1", "Warning: Login failed for ***"),
        ("INFO anna logged in from 192.0.2.1", "INFO *** logged in from ***"),
        ("Warning:     password  Xy-3_kQ9abcdefgh", "Warning:     password  ***"),
        ("INFO yt-dlp: [youtube] x1y2: my talk", "INFO yt-dlp: ***"),
        # What is not about people stays as it is.
        (
            "Warning: [GPU 0] The worker of GPU 0 died (SIGKILL). (job {id}, abcdefghijklmnop)",
            "Warning: [GPU 0] The worker of GPU 0 died (SIGKILL). (job Yk3rT0…, abcdef…)",
        ),
        ("ERROR The ingest thread failed", "ERROR The ingest thread failed"),
        ("INFO [GPU 0] Loading Whisper model: base on cuda", None),
        ("ERROR [GPU 0] ✗ Language detection failed", None),
        ("INFO /usr/lib/x86_64-linux-gnu/libcublas.so.12", None),
    ],
)
def test_lines_of_the_log_lose_names_and_keep_the_rest(line: str, shown: str | None) -> None:
    given = f"{AT} {line.format(id=ID)}"
    assert Discretion().clean_log([given]) == f"{AT} {shown or line.format(id=ID)}\n"


def test_a_name_found_in_one_line_is_taken_out_of_all() -> None:
    lines = [
        f"{AT} INFO Started: my talk.mp4",
        f"{AT} ERROR Something odd about my talk.mp4",
        "  ValueError: my talk.mp4",
    ]
    assert "talk" not in Discretion().clean_log(lines)


def test_json_lines_become_plain_ones() -> None:
    event = {
        "time": AT,
        "level": "WARNING",
        "logger": "jobs.queue",
        "message": "talk.mp4 is not finished: The service is stopping.",
        "job": ID,
        "exception": "Traceback:\n  ValueError",
    }
    lines = as_plain(json.dumps(event))
    assert lines[0] == f"{AT} Warning: {event['message']} (job {ID})"
    assert lines[1:] == ["  Traceback:", "    ValueError"]
    cleaned = Discretion().clean_log([json.dumps(event)])
    assert cleaned.splitlines()[0] == (
        f"{AT} Warning: *** is not finished: The service is stopping. (job Yk3rT0…)"
    )
    for odd in ("{not json", "{}", "[1]"):
        assert as_plain(odd) == [odd]


def test_secrets_and_links_are_in_nothing() -> None:
    discretion = Discretion(secrets=["s3cret/ p@ss"], private=["Zebras", "Zebras and quaggas", "a"])
    data = {
        "url": "postgresql://me:s3cret@host/x",
        "text": 'it is "s3cret/ p@ss" of Zebras and quaggas',
        "many": ("see https://host/a?token=x now", 3, None, "hf_abcdefghijk"),
    }
    assert discretion.clean_data(data) == {
        "url": "LINK",
        "text": 'it is "***" of ***',
        "many": ["see LINK now", 3, None, "***"],
    }
