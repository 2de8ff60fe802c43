"""Limits the process of a download to what it is for: connecting to allowed addresses over HTTP.

The interpreter reports every connection before it is made (PEP 578), with the numeric address,
whatever started it: yt-dlp, a redirect, a proxy's tunnel. So the check sees the address that is
connected to, and a name that resolves differently the second time gains nothing. A hook cannot be
removed again, which suits a process that exists for one download.

Libraries that bring their own C code for connections (curl_cffi) would not be seen;
``media.download_child`` lets yt-dlp use the standard library alone.
"""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Callable, Collection
from ipaddress import ip_address
from typing import Any
from urllib.error import URLError
from urllib.parse import urlsplit

from core.errors import DownloadRefused
from core.networks import Network
from media.addresses import literal_address, may_connect

log = logging.getLogger(__name__)

PRIVATE_HINT = (
    "Downloads from private addresses are not allowed. For your own media server, add its network"
    " to WHISPER_DOWNLOAD_NETWORKS."
)

_PROXY_PORTS = {"http": 80, "https": 443}
_SOCKS_PORT = 1080


class NetworkGuard:
    """What the process may connect to, and the first thing it was refused.

    ``proxies`` are those of the environment: a connection to one is admitted wherever it is, and
    which places are reached through it is then the proxy's to decide.
    """

    def __init__(self, networks: Collection[Network], proxies: Collection[str] = ()) -> None:
        self.refused: DownloadRefused | None = None
        self._networks = networks
        self._proxies = {place for proxy in proxies for place in _places(proxy)}
        self._asked = ""
        self._hooks: dict[str, Callable[..., None]] = {
            "urllib.Request": self._request,
            "socket.getaddrinfo": self._resolve,
            "socket.connect": self._connect,
            "socket.sendto": self._datagram,
            "socket.sendmsg": self._datagram,
            "ftplib.connect": self._other_protocol,
            "subprocess.Popen": self._program,
            "os.system": self._program,
            "os.exec": self._program,
            "os.fork": self._program,
            "os.forkpty": self._program,
            "os.posix_spawn": self._program,
        }

    def install(self) -> None:
        """Watch this process to its end."""
        hooks = self._hooks

        def audit(event: str, arguments: tuple[Any, ...]) -> None:
            hook = hooks.get(event)
            if hook is not None:
                hook(*arguments)

        sys.addaudithook(audit)

    def _request(self, url: str, *_: object) -> None:
        """Every request and every redirect, also those a proxy would carry out."""
        parts = urlsplit(url)
        if parts.scheme == "data":
            return
        if parts.scheme not in ("http", "https"):
            self._other_protocol()
        address = literal_address(parts.hostname or "")
        if address is not None and not may_connect(address, self._networks):
            self._refuse_address(parts.hostname or "", str(address))

    def _resolve(self, host: object, *_: object) -> None:
        self._asked = host.decode(errors="replace") if isinstance(host, bytes) else str(host)

    def _connect(self, _: object, address: object) -> None:
        if not isinstance(address, tuple) or not isinstance(address[0], str):
            raise PermissionError("a download connects to nothing but the network")
        host, port = address[:2]
        if (host, port) in self._proxies:
            return
        try:
            admitted = may_connect(ip_address(host), self._networks)
        except ValueError:
            # A name: what it leads to would be looked up after this check.
            admitted = False
        if not admitted:
            self._refuse_address(self._asked or host, host)

    def _refuse_address(self, host: str, address: str) -> None:
        if self.refused is None:
            # Not in the message: it would reveal what internal names resolve to.
            log.warning("A download was refused: %s leads to %s.", host, address)
        self._refuse(f"The link leads to a private address ({host}).", PRIVATE_HINT)

    def _other_protocol(self, *_: object) -> None:
        self._refuse("The link uses a protocol other than HTTP.", None)

    def _refuse(self, message: str, hint: str | None) -> None:
        self.refused = self.refused or DownloadRefused(message, hint=hint)
        # As a failed connection, which yt-dlp reports like any other.
        raise URLError(message)

    def _datagram(self, *_: object) -> None:
        raise PermissionError("a download sends no datagrams")

    def _program(self, *_: object) -> None:
        raise PermissionError("a download runs no programs")


def _places(proxy: str) -> set[tuple[str, int]]:
    """Host and port of a proxy, by its name and by the addresses it has now."""
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    try:
        host, port = parts.hostname, parts.port or _PROXY_PORTS.get(parts.scheme, _SOCKS_PORT)
    except ValueError as error:
        log.warning("The proxy setting in the environment is not valid: %s", error)
        return set()
    if not host:
        return set()
    places = {(host, port)}
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        log.warning("The proxy %s cannot be found: %s", host, error)
        return places
    return places | {(str(entry[4][0]), port) for entry in found}
