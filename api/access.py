"""The access check around the whole app: page, API, job links and files alike.

    WHISPER_ACCESS   the service listens on      access
    auto             this machine (127.0.0.1)    everyone on this machine, as ``local``
    auto             anything else               users and API keys
    login            anything                    users and API keys
    open             anything                    everyone; a cookie tells visitors apart

A request that a reverse proxy passes on, or that names another host (DNS rebinding), is not from
this machine. It is refused with the setting that would allow it.

Requests that change something must come from our own pages: browsers send cookies from any site's
page, and requests from this machine need no login.
"""

from __future__ import annotations

import re
from base64 import b64decode
from typing import Literal
from urllib.parse import quote, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse, Response

from access.credentials import ApiKeys, Users
from access.identity import LOCAL, STATE_KEY, Identity, is_loopback
from api.asgi import (
    Application,
    Message,
    Receive,
    Scope,
    Send,
    answer_early,
    path_of,
    root_of,
    watched,
)
from api.errors import Refused
from api.metrics import METRICS_PATH
from api.proxies import FORWARDED_KEY
from api.scrapers import Scrapers
from api.sessions import Cookies
from core.settings import Settings

FREE_PATHS = ("/health", "/ready", "/login")
"""Answered without a login."""

Policy = Literal["local", "open", "login"]

_PROGRAMS = re.compile(r"/(api|gradio_api|v1|asr|detect-language|metrics)(/|$)")
_MEDIA_SERVERS = re.compile(r"/(asr|detect-language)")
_UNCHANGING = ("GET", "HEAD", "OPTIONS")
_ASSETS = ("/assets/", "/static/", "/svelte/", "/theme.css", "/favicon.ico", "/manifest.json")


def policy_of(settings: Settings) -> Policy:
    if settings.access != "auto":
        return settings.access
    return "local" if is_loopback(settings.host) else "login"


class Access:
    """ASGI middleware; puts a ``access.identity.Identity`` into the state of every request."""

    def __init__(
        self, app: Application, settings: Settings, users: Users, keys: ApiKeys, cookies: Cookies
    ) -> None:
        self._app = app
        self._policy = policy_of(settings)
        self._listens_here = is_loopback(settings.host)
        self._users = users
        self._keys = keys
        self._cookies = cookies
        self._scrapers = Scrapers(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            # No route of ours or of the page speaks anything else.
            await send({"type": "websocket.close", "code": 1008})
            return
        connection, receive = HTTPConnection(scope), watched(scope, receive)
        try:
            identity, set_cookie = self._admit(connection)
        except Refused as refused:
            answer = _to_login(connection) if refused.status == 401 else None
            await answer_early(answer or refused.answer(connection), scope, receive, send)
            return
        scope.setdefault("state", {})[STATE_KEY] = identity

        async def with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start" and set_cookie:
                MutableHeaders(scope=message).append("set-cookie", set_cookie)
            await send(message)

        await self._app(scope, receive, with_cookie)

    def _admit(self, request: HTTPConnection) -> tuple[Identity | None, str]:
        """The identity behind the request, and a cookie to send back if needed. Raises Refused."""
        path = path_of(request)
        method = request.scope["method"]
        key = _key_of(request)
        if path == METRICS_PATH:
            from_here = self._listens_here and _from_here(request)
            self._scrapers.check(request, key, from_here=from_here)
            return None, ""
        if key is not None and (name := self._keys.name_of(key)) is not None:
            # Browsers never send a key on their own.
            return Identity(f"key:{name}", f"key:{name}"), ""
        if method not in _UNCHANGING and _sender(request) == "foreign":
            raise Refused(
                403,
                "ForeignPage",
                "The request comes from another site's page.",
                "Behind a reverse proxy, the proxy must pass the host on (proxy_set_header Host"
                " $http_host) and be listed in WHISPER_TRUSTED_PROXIES.",
            )
        if path in FREE_PATHS:
            return None, ""
        if self._policy == "login":
            return self._logged_in(request, method, key), ""
        if self._listens_here and _from_here(request):
            return LOCAL, ""
        if self._policy == "local":
            raise Refused(
                403,
                "NotLocal",
                "This service only accepts requests from its own machine.",
                "To let others in, set WHISPER_ACCESS=login (or open) and restart the service.",
            )
        return self._visitor(request, path)

    def _logged_in(self, request: HTTPConnection, method: str, key: str | None) -> Identity:
        user = self._cookies.user(request.cookies)
        if user is None:
            raise Refused(
                401,
                "LoginNeeded",
                "This API key is not valid." if key else "Log in, or send an API key.",
                "Send the key as: Authorization: Bearer KEY.",
                WWW_Authenticate='Bearer realm="Whisper for Subs"',
            )
        if method not in _UNCHANGING and _sender(request) is None:
            raise Refused(
                403,
                "ForeignPage",
                "A request with a login cookie must say which page it comes from.",
                "Programs use an API key instead.",
            )
        return Identity(f"user:{user}", f"user:{user}")

    def _visitor(self, request: HTTPConnection, path: str) -> tuple[Identity, str]:
        set_cookie = ""
        visitor = self._cookies.visitor(request.cookies)
        if visitor is None:
            visitor, set_cookie = self._cookies.new_visitor(secure=is_secure(request))
        if path.startswith(_ASSETS):
            # Loaded together with the page, whose cookie they must not replace.
            set_cookie = ""
        return Identity(f"visitor:{visitor}", f"ip:{address_of(request)}"), set_cookie


def address_of(request: HTTPConnection) -> str:
    return request.client.host if request.client else "unknown"


def is_secure(request: HTTPConnection) -> bool:
    return bool(request.scope.get("scheme") == "https")


def _to_login(request: HTTPConnection) -> Response | None:
    """The redirect for a person; None for a program, which gets the error."""
    path = path_of(request)
    wants_page = "text/html" in request.headers.get("accept", "")
    if request.scope["method"] not in ("GET", "HEAD") or not wants_page or _PROGRAMS.match(path):
        return None
    query = request.scope.get("query_string", b"").decode("latin-1")
    wanted = quote(f"{path}?{query}" if query else path, safe="/")
    return see_other(request, f"/login?next={wanted}")


def see_other(request: HTTPConnection, path: str) -> RedirectResponse:
    """To another page of this app, with GET."""
    headers = {"Cache-Control": "no-store"}
    return RedirectResponse(root_of(request) + path, 303, headers=headers)


def _key_of(request: HTTPConnection) -> str | None:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and key.strip():
        return key.strip()
    if scheme.lower() == "basic" and _MEDIA_SERVERS.fullmatch(path_of(request)):
        # Programs with no field for a key have one for an address: http://user:KEY@host. No browser
        # sends it on its own, because nothing here asks for it.
        return _password_of(key)
    return request.headers.get("x-api-key") or None


def _password_of(credentials: str) -> str | None:
    """The password in the credentials of Basic authentication; None where they are malformed."""
    try:
        return b64decode(credentials, validate=True).decode().partition(":")[2] or None
    except ValueError:
        return None


def _sender(request: HTTPConnection) -> str | None:
    """``same``, ``foreign``, or None where the request does not say which page sent it."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return "same" if site in ("same-origin", "none") else "foreign"
    origin = request.headers.get("origin") or request.headers.get("referer")
    if origin is None:
        return None
    ours = _authority(f"{request.scope.get('scheme', 'http')}://{request.headers.get('host', '')}")
    return "same" if ours is not None and _authority(origin) == ours else "foreign"


def _authority(url: str) -> tuple[str, int | None] | None:
    """Host and port; the scheme may differ, a proxy does not always tell."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if not parts.hostname:
        return None
    return parts.hostname, None if port in (80, 443) else port


def _from_here(request: HTTPConnection) -> bool:
    """Whether the request was made on this machine, for this machine."""
    host = _authority(f"//{request.headers.get('host', '')}")
    return (
        not request.scope.get("state", {}).get(FORWARDED_KEY, False)
        and host is not None
        and is_loopback(host[0])
        and is_loopback(address_of(request))
    )
