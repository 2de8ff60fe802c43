"""Users with their hashed passwords and the hashes of API keys, in two small text files.

    users.txt       alice:$argon2id$v=19$m=65536,t=3,p=4$…     a password, hashed to be slow
    api_keys.txt    subtitle-bot:9f86d081884c7d659a2fe…        SHA-256; keys have 256 random bits

The command line writes them and a running service notices. No one can read a password or a key
back out of them.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import logging
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import Lock

from core.errors import InvalidOption
from core.files import replace_file
from core.settings import Settings

log = logging.getLogger(__name__)

SHORTEST_PASSWORD = 8
LONGEST_PASSWORD = 1000
"""Longer ones cost time to hash and are no safer."""

KEY_PREFIX = "wfs_"
"""Lets people and secret scanners tell what a key is for."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


class NamedLines:
    """A file of ``name:value`` lines, readable by its owner alone, replaced in one step.

    Several processes may write it. It is read again when it has changed. A malformed line is
    skipped with a warning, because one slip of an editor must not lock everyone out.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = Lock()
        self._seen: tuple[int, int, int] | None = None
        self._lines: dict[str, str] = {}

    def read(self) -> Mapping[str, str]:
        with self._lock:
            try:
                status = self.path.stat()
                seen = (status.st_mtime_ns, status.st_size, status.st_ino)
                if seen != self._seen:
                    self._lines = self._parse(self.path.read_text(encoding="utf-8"))
                    self._seen = seen
            except FileNotFoundError:
                self._lines, self._seen = {}, None
            except (OSError, UnicodeDecodeError) as error:
                raise _unusable(self.path, error) from error
            return dict(self._lines)

    def _parse(self, text: str) -> dict[str, str]:
        lines: dict[str, str] = {}
        for number, line in enumerate(text.splitlines(), start=1):
            name, colon, value = line.strip().partition(":")
            if colon and name and value:
                lines[name] = value
            elif name and not name.startswith("#"):
                log.warning("%s, line %d is not name:hash and is ignored", self.path, number)
        return lines

    @contextmanager
    def change(self) -> Iterator[dict[str, str]]:
        """The lines, to be changed in place; written when the block ends without an error."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with (self.path.parent / f".{self.path.name}.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                lines = dict(self.read())
                yield lines
                text = "".join(f"{name}:{value}\n" for name, value in lines.items())
                replace_file(self.path, text.encode(), private=True)
        except OSError as error:
            raise _unusable(self.path, error) from error


class _Named:
    """Names with a hash each."""

    def __init__(self, path: Path) -> None:
        self.file = NamedLines(path)

    def names(self) -> list[str]:
        return sorted(self.file.read())

    def remove(self, name: str) -> bool:
        """Remove one, and a user's logins; False when there is none of that name."""
        with self.file.change() as lines:
            return lines.pop(name, None) is not None


class Users(_Named):
    """People who may log in."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.users_file or settings.data_dir / "users.txt")

    def add(self, name: str, password: str) -> bool:
        """Add a user or change a password; True when the name is new."""
        _check_name(name)
        if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
            raise InvalidOption(
                f"A password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters.",
                hint="Several random words are easy to remember and hard to guess.",
            )
        hashed = _hash_password(password)
        with self.file.change() as lines:
            new = name not in lines
            lines[name] = hashed
        return new

    def add_first(self, name: str, password: str) -> bool:
        """Add the first user; False when there is a user already."""
        hashed = _hash_password(password)
        with self.file.change() as lines:
            if lines:
                return False
            lines[name] = hashed
        return True

    def verify(self, name: str, password: str) -> bool:
        """Whether that is the password; takes about as long for an unknown name."""
        hashed = self.file.read().get(name)
        if len(password) > LONGEST_PASSWORD:
            return False
        return _password_fits(hashed or _unused_hash(), password) and hashed is not None

    def fingerprint(self, name: str) -> str | None:
        """Changes with the password; None for an unknown name."""
        hashed = self.file.read().get(name)
        return None if hashed is None else hashlib.sha256(hashed.encode()).hexdigest()[:16]


class ApiKeys(_Named):
    """Programs that may use the service."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.api_keys_file or settings.data_dir / "api_keys.txt")

    def add(self, name: str) -> str:
        """Make a key. It is returned once and cannot be read again."""
        _check_name(name)
        key = KEY_PREFIX + secrets.token_urlsafe(32)
        with self.file.change() as lines:
            if name in lines:
                raise InvalidOption(
                    f"There is already a key {name!r}.",
                    hint="Remove it first, or choose another name.",
                )
            lines[name] = _hash_key(key)
        return key

    def name_of(self, key: str) -> str | None:
        """The name of a key. Every stored hash is compared, each in constant time."""
        asked, found = _hash_key(key), None
        for name, stored in self.file.read().items():
            if hmac.compare_digest(stored.encode(), asked.encode()):
                found = name
        return found


def _hash_key(key: str) -> str:
    # A plain hash is enough: there are too many keys to try, unlike passwords.
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _hash_password(password: str) -> str:
    # Here and not above: of all commands only these need it.
    from argon2 import PasswordHasher

    return PasswordHasher().hash(password)


def _password_fits(hashed: str, password: str) -> bool:
    from argon2 import PasswordHasher
    from argon2.exceptions import InvalidHashError, VerificationError

    try:
        return PasswordHasher().verify(hashed, password)
    except VerificationError:
        return False
    except InvalidHashError:
        log.error("A line of the users file has no argon2 hash; set that password again")
        return False


@cache
def _unused_hash() -> str:
    return _hash_password(secrets.token_urlsafe(16))


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidOption(
            f"{name!r} is not a valid name.",
            hint="Use letters, digits and . _ @ -, up to 64, beginning with a letter or digit.",
        )


def _unusable(path: Path, error: OSError | UnicodeDecodeError) -> InvalidOption:
    reason = getattr(error, "strerror", None) or error
    return InvalidOption(
        f"{path} cannot be used: {reason}.",
        hint="Make it readable and writable for the user the service runs as.",
    )
