"""The report: in order, complete, and fit to be shown to strangers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from doctor.diagnosis import Diagnosis, Finding, diagnosis, redacted

FOUND = [
    Finding("ok", "GPU 0 works.", area="GPUs"),
    Finding("warning", "Little is free.", "Free some: `rm old`.", "Disk"),
    Finding("error", "GPU 1 is lost.", "`sudo reboot`", "GPUs"),
]


def test_the_text_has_areas_together_with_marks_and_fixes() -> None:
    report = diagnosis(FOUND, "app 1.0")
    assert report.text() == (
        "app 1.0\n1 error and 1 warning found.\n\n"
        "GPUs\n  ✓ GPU 0 works.\n  ✗ GPU 1 is lost.\n    Fix: `sudo reboot`\n\n"
        "Disk\n  ! Little is free.\n    Fix: Free some: `rm old`.\n"
    )
    data = json.loads(json.dumps(report.to_dict()))
    assert data["worst"] == "error"
    assert data["findings"][2] == {
        "severity": "warning",
        "area": "Disk",
        "text": "Little is free.",
        "fix": "Free some: `rm old`.",
    }


@pytest.mark.parametrize(
    ("kinds", "worst", "summary"),
    [
        ([], "ok", "Nothing is wrong."),
        (["ok", "hint"], "hint", "Nothing is wrong."),
        (["hint", "warning", "ok", "warning"], "warning", "2 warnings found."),
        (["error", "ok"], "error", "1 error found."),
    ],
)
def test_the_worst_decides(kinds: list[str], worst: str, summary: str) -> None:
    found = tuple(Finding(kind, "text", area="A") for kind in kinds)  # type: ignore[arg-type]
    report = Diagnosis(found, "head")
    assert (report.worst, report.summary) == (worst, summary)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("postgresql://me:s3c/r@t@db.local/jobs", "postgresql://***@db.local/jobs"),
        ("postgresql://db/jobs?user=me&password=s3cr3t&x=1", "postgresql://db/jobs?user=me"
         "&password=***&x=1"),
        ("proxy http://joe:pw@10.0.0.1:3128 fails", "proxy http://***@10.0.0.1:3128 fails"),
        ("HF_TOKEN=hf_abcdefghijkl", "HF_TOKEN=***"),
        ("key wfs_0123456789abcdef", "key ***"),
        ("Authorization: Bearer abc.def", "Authorization: ***"),
        ("Cookie: session=abc", "Cookie: ***"),
        ("--copy_files tokenizer.json", "--copy_files tokenizer.json"),
        ("/home/joe/data and /home/joey", "~/data and /home/joey"),
        ("in /home/joe: full", "in ~: full"),
        ("/mnt/home/joe/data", "/mnt/home/joe/data"),
    ],
)  # fmt: skip
def test_secrets_and_the_home_directory_are_not_shown(
    said: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "home", lambda: Path("/home/joe"))
    assert redacted(said) == shown
    report = diagnosis([Finding("error", said, said, "A")], said)
    assert report.findings[0].text == report.findings[0].fix == report.head == shown
