"""Logging in and out, and the first user of a service that has none.

A service that is started with ``docker compose up`` needs a login and has no users yet. It makes
one and writes the password to its log, once; only the hash is kept.
"""

from __future__ import annotations

import logging
import secrets
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from fastapi.responses import Response

from access.credentials import ApiKeys, Users
from api.access import address_of, is_secure, policy_of, see_other
from api.asgi import in_threads, root_of
from api.errors import Refused
from api.login_page import login_page, logout_page
from api.sessions import Cookies
from api.throttle import Throttle
from core.logs import one_line
from core.settings import Settings

log = logging.getLogger(__name__)

FIRST_USER = "admin"

MAX_FORM = 16 * 1024

HASHES_AT_ONCE = 2
"""Each takes a tenth of a second and 64 MiB on purpose; a flood of logins must not take all."""


def ensure_somebody(settings: Settings, users: Users, keys: ApiKeys) -> None:
    """Make the first user if a login is needed and there are no users."""
    if policy_of(settings) != "login" or users.names() or keys.names():
        return
    password = secrets.token_urlsafe(12)
    if not users.add_first(FIRST_USER, password):
        return
    rule = "=" * 72
    for line in (
        rule,
        "This service needs a login and has no users yet. It has created the first one:",
        f"    user      {FIRST_USER}",
        f"    password  {password}",
        "The password is shown here once and cannot be read again. To change it:",
        f"    python -m cli.main users add {FIRST_USER}",
        "To work without a login, set WHISPER_ACCESS=open.",
        rule,
    ):
        log.warning(line)


def login_router(settings: Settings, users: Users, cookies: Cookies) -> APIRouter:
    # Pages for people, not for programs.
    router = APIRouter(include_in_schema=False)
    throttle = Throttle()
    verify = in_threads(HASHES_AT_ONCE)(users.verify)
    needed = policy_of(settings) == "login"

    @router.get("/login")
    async def form(request: Request) -> Response:
        wanted = safe_next(request.query_params.get("next", ""))
        if not needed or cookies.user(request.cookies) is not None:
            return see_other(request, wanted)
        return login_page(root_of(request), wanted)

    @router.post("/login")
    async def login(request: Request) -> Response:
        root, fields = root_of(request), await _fields(request)
        wanted = safe_next(fields.get("next", ""))
        if not needed:
            return see_other(request, wanted)
        user, password = fields.get("user", "").strip(), fields.get("password", "")
        address = address_of(request)
        wait_s = throttle.admit(address, user)
        if wait_s:
            problem = f"Too many failed logins. Try again in {wait_s}\N{NO-BREAK SPACE}s."
            return login_page(root, wanted, user=user, problem=problem, status=429, wait_s=wait_s)
        # Not abandoned when the browser goes: what counted as a try must be finished as one.
        if not await verify(user, password):
            log.warning("Login failed for %s from %s", one_line(user[:64]), address)
            problem = "The user name or the password is wrong."
            return login_page(root, wanted, user=user, problem=problem, status=401)
        throttle.succeeded(address, user)
        log.info("%s logged in from %s", user, address)
        answer = see_other(request, wanted)
        answer.headers.append("Set-Cookie", cookies.login(user, secure=is_secure(request)))
        return answer

    @router.get("/logout")
    async def ask(request: Request) -> Response:
        user = cookies.user(request.cookies)
        return see_other(request, "/") if user is None else logout_page(root_of(request), user)

    @router.post("/logout")
    async def logout(request: Request) -> Response:
        cookie = cookies.logout(request.cookies, secure=is_secure(request))
        answer = see_other(request, "/login")
        answer.headers.append("Set-Cookie", cookie)
        return answer

    return router


def safe_next(wanted: str) -> str:
    """The wanted path if it is one of this app, else ``/``: a login never leads to another site."""
    plain = wanted.startswith("/") and not wanted.startswith(("//", "/\\"))
    if not plain or any(ord(c) < 32 or ord(c) == 127 for c in wanted) or "\\" in wanted:
        return "/"
    return "/" if wanted.startswith(("/login", "/logout")) else wanted


async def _fields(request: Request) -> dict[str, str]:
    """The fields of the form. Raises Refused where it is too long or cannot be read."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM:
            raise Refused(413, "FormTooLarge", "The login form is too long.")
    try:
        fields = parse_qs(body.decode("utf-8"), max_num_fields=10)
    except ValueError as error:
        raise Refused(400, "InvalidForm", "The form cannot be read.") from error
    return {name: values[-1] for name, values in fields.items()}
