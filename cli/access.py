"""``users`` and ``keys``: who may use the page and the API. A running service follows at once."""

from __future__ import annotations

import argparse
import getpass
import sys

from access.credentials import ApiKeys, Users
from cli.options import build_settings
from core.errors import InvalidOption


def users(args: argparse.Namespace) -> int:
    people = Users(build_settings({}))
    if args.action == "add":
        new = people.add(args.name, _password(args.name))
        print(f"Added {args.name}." if new else f"Changed the password of {args.name}.")
    elif args.action == "remove":
        if not people.remove(args.name):
            raise InvalidOption(f"There is no user {args.name!r}.", hint=_who(people.names()))
        print(f"Removed {args.name}, who is logged out everywhere.")
    else:
        _show(people.names())
    return 0


def keys(args: argparse.Namespace) -> int:
    known = ApiKeys(build_settings({}))
    if args.action == "add":
        key = known.add(args.name)
        print(key)
        print(
            "Keep it now: only its hash is stored. Send it as  Authorization: Bearer KEY",
            file=sys.stderr,
        )
    elif args.action == "remove":
        if not known.remove(args.name):
            raise InvalidOption(f"There is no key {args.name!r}.", hint=_who(known.names()))
        print(f"Removed {args.name}.")
    else:
        _show(known.names())
    return 0


def _password(name: str) -> str:
    """Typed twice and unseen in a terminal, or the first line of standard input."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass(f"Password of {name}: ")
    if getpass.getpass("Again: ") != password:
        raise InvalidOption("The two passwords differ.", hint="Nothing was changed.")
    return password


def _show(names: list[str]) -> None:
    for name in names:
        print(name)


def _who(names: list[str]) -> str:
    return f"There are: {', '.join(names)}." if names else "There are none yet."
