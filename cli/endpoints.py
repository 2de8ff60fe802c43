"""``endpoints``: remote speech servers. A running service notices changes within seconds."""

from __future__ import annotations

import argparse
import getpass
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cli.failures import COMPLETE, MACHINE_FAILED
from cli.options import build_settings
from core.logs import one_line
from jobs.database import Database
from jobs.endpoint_rows import FIELDS, EndpointRow
from jobs.endpoints import OFF, Endpoints

MARKS = {"ok": "ok", "warning": "warning", "failed": "FAILED", "skipped": "skipped"}


def endpoints(args: argparse.Namespace) -> int:
    """Run the command; the exit code."""
    with _opened() as known:
        match args.action:
            case "list":
                _list(known, args.json)
            case "add":
                row = known.add(_fields(args), args.id or "")
                _tell(f"Added {row.name}. To let jobs use it: endpoints activate {row.id}")
            case "edit":
                _tell(f"Changed {known.change(args.id, _fields(args)).name}.")
            case "remove":
                known.remove(args.id)
                _tell(f"Removed {args.id}.")
            case "test":
                return _test(known, args.id, args.json)
            case "default":
                _tell(f"{known.change(args.id, {'is_default': True}).name} is the default.")
            case _:
                on = args.action == "activate"
                row = known.change(args.id, {"is_active": on})
                _tell(f"{row.name} is {'active' if on else 'not active any more'}.")
                if on and known.off:
                    _tell(OFF)
    return COMPLETE


@contextmanager
def _opened() -> Iterator[Endpoints]:
    settings = build_settings({})
    database = Database.open(settings)
    try:
        yield Endpoints(settings, database)
    finally:
        database.close()


def _fields(args: argparse.Namespace) -> dict[str, Any]:
    given = {name: value for name in FIELDS if (value := getattr(args, name, None)) is not None}
    if args.key:
        given["api_key"] = _key()
    elif args.key_from:
        given["api_key"] = f"env:{args.key_from}"
    elif args.no_key:
        given["api_key"] = ""
    return given


def _key() -> str:
    """Typed unseen in a terminal, or the first line of standard input. As an argument it would
    stand in the list of processes."""
    if sys.stdin.isatty():
        return getpass.getpass("Key: ")
    return sys.stdin.readline().rstrip("\r\n")


def _list(known: Endpoints, as_json: bool) -> None:
    rows = known.rows()
    if as_json:
        print(json.dumps([_plain(row) for row in rows], indent=2))
        return
    if known.off:
        _tell(OFF)
    if not rows:
        _tell("No speech endpoint is set up.")
    for row in rows:
        facts = [
            row.id,
            row.name,
            str(row.values["api_url"] or ""),
            row.endpoint.kind if row.endpoint else "",
            str(row.values["model_name"] or ""),
            "active" if row.active else "not usable" if row.problem else "not active",
            "default" if row.values["is_default"] is True else "",
            f"key {row.key}",
            _tested(row),
        ]
        _tell("  ".join(filter(None, facts)))
        if row.problem:
            _tell(f"    {row.problem}")


def _tested(row: EndpointRow) -> str:
    if row.test is None:
        return "not tested"
    return "test passed" if row.test.passed else "test failed"


def _test(known: Endpoints, row_id: str, as_json: bool) -> int:
    row = known.test(row_id)
    assert row.test is not None, "it was just kept"
    if as_json:
        print(json.dumps(_plain(row), indent=2))
    else:
        for check in row.test.checks:
            _tell(f"{MARKS[check.state]:8} {check.name}: {check.text}")
            if check.fix:
                _tell(f"         Fix: {check.fix}")
    return COMPLETE if row.test.passed else MACHINE_FAILED


def _plain(row: EndpointRow) -> dict[str, Any]:
    test = None if row.test is None else row.test.model_dump(exclude={"subject"})
    return {"id": row.id, **row.values, "key": row.key, "problem": row.problem, "test": test}


def _tell(line: str) -> None:
    print(one_line(line))
