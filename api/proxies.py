"""Where a request comes from, and the app's own address, with or without a reverse proxy.

Only proxies of ``WHISPER_TRUSTED_PROXIES`` are believed. Forwarding headers from anyone else, and
those that only Gradio reads, are removed. A prefix (``WHISPER_ROOT_PATH``) is understood whether
the proxy cuts it off or passes it on.
"""

from __future__ import annotations

from starlette.responses import RedirectResponse
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from api.asgi import Application, Receive, Scope, Send
from core.settings import Settings, root_path_of

_FORWARDED = (b"x-forwarded-for", b"x-forwarded-proto")
_ANYBODYS = (b"x-forwarded-port", b"x-forwarded-server", b"x-gradio-server", b"forwarded")
"""Read by Gradio only, or not at all; never needed."""

FORWARDED_KEY = "forwarded"
"""In a request's state: whether a proxy says that the request is someone else's."""


class Proxies:
    """ASGI middleware: rewrites ``client``, ``scheme``, ``host`` and ``root_path`` of requests."""

    def __init__(self, app: Application, settings: Settings) -> None:
        self._app = app
        self._root_path = root_path_of(settings)
        # uvicorn's own, so that lists and networks of proxies mean what its documentation says.
        self._rewrite = ProxyHeadersMiddleware(self._rooted, settings.trusted_proxies)  # type: ignore[arg-type]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        peer = scope.get("client")
        trusted = peer is not None and peer[0] in self._rewrite.trusted_hosts
        names = {name for name, _ in scope["headers"]}
        state = scope.setdefault("state", {})
        state[FORWARDED_KEY] = bool(names & {*_FORWARDED, b"x-forwarded-host", b"forwarded"})
        scope["headers"] = _believed(scope["headers"], trusted)
        await self._rewrite(scope, receive, send)  # type: ignore[arg-type]

    async def _rooted(self, scope: Scope, receive: Receive, send: Send) -> None:
        prefix = self._root_path
        if prefix:
            path, raw = scope["path"], scope.get("raw_path", b"")
            if path == prefix and scope["type"] == "http":
                # The page's addresses are relative to its folder.
                await RedirectResponse(f"{prefix}/", 308)(scope, receive, send)
                return
            if not path.startswith(f"{prefix}/"):
                scope["path"], scope["raw_path"] = prefix + path, prefix.encode() + raw
        scope["root_path"] = prefix
        await self._app(scope, receive, send)


def _believed(headers: list[tuple[bytes, bytes]], trusted: bool) -> list[tuple[bytes, bytes]]:
    """The headers without those that cannot be trusted; a trusted proxy's host becomes the host."""
    hosts = [value for name, value in headers if name == b"x-forwarded-host"]
    kept = [
        (name, value)
        for name, value in headers
        if name not in _ANYBODYS
        and name != b"x-forwarded-host"
        and (trusted or name not in _FORWARDED)
    ]
    if trusted and hosts:
        host = hosts[0].split(b",")[0].strip()
        kept = [(name, value) for name, value in kept if name != b"host"] + [(b"host", host)]
    return kept
