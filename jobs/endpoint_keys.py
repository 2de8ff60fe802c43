"""Keys of speech endpoints: encrypted in the database, or in a variable of the environment.

enc:gAAAA…        encrypted under WHISPER_SECRET_KEY or the secret in the data directory
env:NAME_API_KEY  that variable of the service
anything else     written by hand; it is encrypted when the service next looks
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from functools import cached_property
from typing import TYPE_CHECKING

from access.secret_file import secret_of
from core.errors import InvalidOption
from core.settings import Settings, variable

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

SEALED, NAMED = "enc:", "env:"

_PURPOSE = b"whisper-for-subs: keys of speech endpoints"

# Whoever sets up an endpoint chooses who gets the key, and so must not reach any other secret.
_VARIABLE = re.compile(r"(?!WHISPER_)[A-Z][A-Z0-9_]*_API_KEY")


class EndpointKeys:
    """Thread-safe. The secret is read, or made, with the first key that is encrypted."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @cached_property
    def _fernet(self) -> Fernet:
        # Here and not above: most commands and services have no such key.
        from cryptography.fernet import Fernet

        secret = self._settings.secret_key or secret_of(
            self._settings.data_dir / "endpoint_secret",
            "the keys of speech endpoints must then be entered again",
        )
        derived = hmac.digest(secret.encode(), _PURPOSE, hashlib.sha256)
        return Fernet(base64.urlsafe_b64encode(derived))

    def seal(self, key: str) -> str:
        """A key as the database holds it. Raises InvalidOption for one that cannot be sent."""
        key = key.strip()
        if key.startswith(NAMED):
            _check_variable(key.removeprefix(NAMED))
        if not key or key.startswith(NAMED):
            return key
        _check_sendable(key)
        return SEALED + self._fernet.encrypt(key.encode()).decode()

    def open(self, stored: str) -> str:
        """The key itself. Raises InvalidOption: it cannot be had."""
        if stored.startswith(NAMED):
            name = stored.removeprefix(NAMED)
            _check_variable(name)
            key = variable(name)
            if not key:
                raise InvalidOption(f"Its key is in the variable {name}, which is not set here.")
        elif stored.startswith(SEALED):
            key = self._decrypted(stored.removeprefix(SEALED))
        else:
            key = stored
        _check_sendable(key)
        return key

    def _decrypted(self, token: str) -> str:
        from cryptography.fernet import InvalidToken

        try:
            return self._fernet.decrypt(token.encode()).decode()
        except (InvalidToken, ValueError):
            raise InvalidOption(
                "Its key was encrypted under another secret.",
                hint="Enter the key again, or start the service with the WHISPER_SECRET_KEY or the"
                " file endpoint_secret that it was entered with.",
            ) from None


def is_plain(stored: str) -> bool:
    """Whether a key stands there for everybody to read."""
    return bool(stored) and not stored.startswith((SEALED, NAMED))


def said(stored: str) -> str:
    """What people are told of a key."""
    if stored.startswith(NAMED):
        return f"from {stored.removeprefix(NAMED)}"
    return "set" if stored else "not set"


def _check_variable(name: str) -> None:
    if not _VARIABLE.fullmatch(name):
        raise InvalidOption(
            f"{NAMED}{name} cannot hold an endpoint's key.",
            hint="Its name must be capital letters, digits and _, end in _API_KEY and not begin"
            " with WHISPER_; for example env:OPENAI_API_KEY.",
        )


def _check_sendable(key: str) -> None:
    # As a header of HTTP.
    if not (key.isascii() and key.isprintable()):
        raise InvalidOption("The key holds characters that are in no key.")
