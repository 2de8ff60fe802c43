"""``doctor``: what is wrong with this machine or set-up, and the fix; for people and programs."""

from __future__ import annotations

import argparse
import json
import sys

from cli.bundle import write_bundle
from cli.failures import COMPLETE, MACHINE_FAILED, WITH_GAPS
from cli.options import build_settings
from core.errors import InvalidOption
from core.logs import one_line, setup_logging
from core.settings import Settings
from core.version import version
from doctor.configuration import AREA as SETTINGS
from doctor.diagnosis import Diagnosis, Finding, Severity, diagnosis
from doctor.examination import examine

EXIT_CODES: dict[Severity, int] = {
    "ok": COMPLETE,
    "hint": COMPLETE,
    "warning": WITH_GAPS,
    "error": MACHINE_FAILED,
}


def doctor(args: argparse.Namespace) -> int:
    # What workers and pools would log of a device that fails is a finding here.
    setup_logging("critical")
    try:
        settings, found = _examined(args.offline)
    finally:
        _show("")
    if args.bundle is not None:
        return write_bundle(args, found, settings)
    if args.json:
        print(json.dumps(found.to_dict(), indent=2, ensure_ascii=False))
    else:
        print(found.text(), end="")
    return EXIT_CODES[found.worst]


def _examined(offline: bool) -> tuple[Settings | None, Diagnosis]:
    try:
        settings = build_settings({})
    except InvalidOption as error:
        # Nothing else can be judged without them.
        wrong = Finding("error", error.message, error.hint, SETTINGS)
        return None, diagnosis([wrong], f"whisper-for-subs {version()}")
    return settings, examine(settings, offline=offline, progress=_show_step)


def _show_step(doing: str) -> None:
    _show(f"{one_line(doing)} …")


def _show(line: str) -> None:
    """What is being done, on a terminal alone, in place of what was shown before."""
    if sys.stderr.isatty():
        print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)
