"""``users`` and ``keys``: access to the page and the API. A running service notices at once."""

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
    else:
        _remove_or_list(people, args, "user", ", who is logged out everywhere")
    return 0


def keys(args: argparse.Namespace) -> int:
    known = ApiKeys(build_settings({}))
    if args.action == "add":
        print(known.add(args.name))
        print(
            "Keep it now: only its hash is stored. Send it as  Authorization: Bearer KEY",
            file=sys.stderr,
        )
    else:
        _remove_or_list(known, args, "key")
    return 0


def _remove_or_list(
    known: Users | ApiKeys, args: argparse.Namespace, what: str, so: str = ""
) -> None:
    names = known.names()
    if args.action == "list":
        print("".join(f"{name}\n" for name in names), end="")
    elif known.remove(args.name):
        print(f"Removed {args.name}{so}.")
    else:
        there = f"There are: {', '.join(names)}." if names else "There are none yet."
        raise InvalidOption(f"There is no {what} {args.name!r}.", hint=there)


def _password(name: str) -> str:
    """Typed twice and unseen in a terminal, or the first line of standard input."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass(f"Password of {name}: ")
    if getpass.getpass("Again: ") != password:
        raise InvalidOption("The two passwords differ.", hint="Nothing was changed.")
    return password
