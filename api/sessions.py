"""Logins and visitors as signed cookies, and the secret that signs them.

A login ends when it expires, or when its user logs out, is removed, or gets another password. It
survives a restart. Services that share a data directory share the secret, and so the logins.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Mapping

from itsdangerous import BadSignature, URLSafeSerializer, URLSafeTimedSerializer

from access.credentials import NamedLines, Users
from access.secret_file import secret_of
from core.settings import Settings, root_path_of

VISITOR_DAYS = 400
"""Browsers keep no cookie longer."""


class Cookies:
    """Makes and reads the app's cookies."""

    def __init__(self, settings: Settings, users: Users) -> None:
        secret = secret_of(settings.data_dir / "secret", "everyone must then log in again")
        self._users = users
        self._lifetime_s = int(settings.login_hours * 3600)
        self._path = root_path_of(settings) or "/"
        self._ended = NamedLines(settings.data_dir / "ended_logins.txt")
        self._logins = URLSafeTimedSerializer(secret, salt="login")
        self._visitors = URLSafeSerializer(secret, salt="visitor")
        # Cookies know no ports: two services of one machine must not overwrite each other's.
        mark = hashlib.sha256(secret.encode()).hexdigest()[:8]
        self.login_name = f"wfs-login-{mark}"
        self.visitor_name = f"wfs-visitor-{mark}"

    def login(self, user: str, *, secure: bool) -> str:
        """Set-Cookie of a new login."""
        value = self._logins.dumps([user, self._users.fingerprint(user), secrets.token_hex(8)])
        return self._set(self.login_name, _text(value), self._lifetime_s, secure)

    def user(self, cookies: Mapping[str, str]) -> str | None:
        """The user who is logged in."""
        found = self._login(cookies)
        if found is None:
            return None
        user, fingerprint, session = found
        if fingerprint != self._users.fingerprint(user) or session in self._ended.read():
            return None
        return user

    def logout(self, cookies: Mapping[str, str], *, secure: bool) -> str:
        """Set-Cookie that forgets the login. Copies of the cookie stop working, too."""
        found = self._login(cookies)
        if found is not None:
            now = time.time()
            with self._ended.change() as lines:
                for session in [key for key, until in lines.items() if float(until) < now]:
                    del lines[session]
                lines[found[2]] = f"{now + self._lifetime_s:.0f}"
        return self._set(self.login_name, "", 0, secure)

    def new_visitor(self, *, secure: bool) -> tuple[str, str]:
        """Id of a new visitor, and the Set-Cookie that recognises them later."""
        visitor = secrets.token_hex(16)
        value = _text(self._visitors.dumps(visitor))
        return visitor, self._set(self.visitor_name, value, VISITOR_DAYS * 86400, secure)

    def visitor(self, cookies: Mapping[str, str]) -> str | None:
        try:
            return str(self._visitors.loads(cookies.get(self.visitor_name, "")))
        except BadSignature:
            return None

    def _login(self, cookies: Mapping[str, str]) -> tuple[str, str, str] | None:
        try:
            user, fingerprint, session = self._logins.loads(
                cookies.get(self.login_name, ""), max_age=self._lifetime_s
            )
        except BadSignature:
            return None
        return user, fingerprint, session

    def _set(self, name: str, value: str, max_age_s: int, secure: bool) -> str:
        flags = "; Secure" if secure else ""
        return (
            f"{name}={value}; Path={self._path}; Max-Age={max_age_s}; HttpOnly; SameSite=Lax{flags}"
        )


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("ascii")
