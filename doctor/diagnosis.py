"""What an examination found, as text for people and as data for programs; without secrets.

A report is made to be pasted into an issue, so what every finding says passes :func:`redacted`
before it is shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

Severity = Literal["ok", "hint", "warning", "error"]

SEVERITIES: tuple[Severity, ...] = ("ok", "hint", "warning", "error")
"""From harmless to worst. A hint is worth knowing, but nothing is wrong."""

MARKS: dict[Severity, str] = {"ok": "✓", "hint": "i", "warning": "!", "error": "✗"}

_LOGIN_IN_URL = re.compile(r"(\w://)[^\s'\"`]+@")
_SECRET = re.compile(
    r"(?i)((?:password|passwd|secret|token|api_?key|sslkey|authorization|cookie)\w*['\"]?\s*[=:]\s*)"
    r"(?:Bearer\s+)?[^\s&'\"`,;]+"
)
_KEYS = re.compile(r"\b(?:hf_|wfs_)[\w-]{8,}")


@dataclass(frozen=True, slots=True)
class Finding:
    severity: Severity
    text: str
    fix: str = ""
    """What to do, with commands between backticks; empty where nothing is to be done."""
    area: str = ""
    """What it is about, as a heading: ``GPUs``, ``Disk``. The examination adds it."""


def ok(text: str) -> Finding:
    return Finding("ok", text)


def hint(text: str, fix: str = "") -> Finding:
    return Finding("hint", text, fix)


def warning(text: str, fix: str) -> Finding:
    return Finding("warning", text, fix)


def error(text: str, fix: str) -> Finding:
    return Finding("error", text, fix)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The findings of one examination, in the order of the areas."""

    findings: tuple[Finding, ...]
    head: str
    """Which app, when and on what machine."""

    @property
    def worst(self) -> Severity:
        found = {finding.severity for finding in self.findings}
        return max(found, key=SEVERITIES.index, default="ok")

    @property
    def summary(self) -> str:
        """The whole in one sentence."""
        errors, warnings = self.count("error"), self.count("warning")
        if not errors and not warnings:
            return "Nothing is wrong."
        parts = [_number(errors, "error")] if errors else []
        parts += [_number(warnings, "warning")] if warnings else []
        return f"{' and '.join(parts)} found."

    def count(self, severity: Severity) -> int:
        return sum(finding.severity == severity for finding in self.findings)

    def areas(self) -> Iterator[tuple[str, list[Finding]]]:
        for area, found in groupby(self.findings, key=lambda finding: finding.area):
            yield area, list(found)

    def text(self) -> str:
        """The report as plain text, for an issue."""
        lines = [self.head, self.summary]
        for area, found in self.areas():
            lines += ["", area]
            for finding in found:
                lines.append(f"  {MARKS[finding.severity]} {finding.text}")
                if finding.fix:
                    lines.append(f"    Fix: {finding.fix}")
        return "\n".join(lines) + "\n"

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "worst": self.worst,
            "summary": self.summary,
            "head": self.head,
            "findings": [
                {"severity": f.severity, "area": f.area, "text": f.text, "fix": f.fix}
                for f in self.findings
            ],
        }


def diagnosis(findings: Sequence[Finding], head: str) -> Diagnosis:
    """Of findings as the checks gave them: without secrets, areas together."""
    areas = [finding.area for finding in findings]
    clean = [replace(f, text=redacted(f.text), fix=redacted(f.fix)) for f in findings]
    return Diagnosis(tuple(sorted(clean, key=lambda f: areas.index(f.area))), redacted(head))


def redacted(text: str) -> str:
    """Without passwords, tokens, logins in addresses, and with the home directory as ``~``."""
    text = _LOGIN_IN_URL.sub(r"\1***@", text)
    text = _SECRET.sub(r"\1***", text)
    text = _KEYS.sub("***", text)
    home = str(Path.home())
    if home not in ("/", ""):
        text = re.sub(rf"(?<![\w/.-]){re.escape(home)}(?![\w.-])", "~", text)
    return text


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
