"""Secrets of a service that it makes for itself, each in a file of the data directory."""

from __future__ import annotations

import secrets
from pathlib import Path

from core.errors import InvalidOption
from core.files import create_file

SHORTEST = 32


def secret_of(path: Path, lost: str) -> str:
    """The secret of that file, which is made if there is none; readable by its owner alone.

    ``lost``: what follows from another secret, for people. Raises InvalidOption where the file
    cannot be used.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            # Where another service was first, all use its secret.
            create_file(path, secrets.token_hex(32).encode(), private=True)
        secret = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidOption(
            f"{path} cannot be used: {error}.",
            hint="Make the data directory writable for the user the service runs as.",
        ) from error
    if len(secret) < SHORTEST:
        raise InvalidOption(f"{path} is damaged.", hint=f"Delete it; {lost}.")
    return secret
