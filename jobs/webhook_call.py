"""One call of a webhook: signed, to a public address or one the settings admit, and never further.

The names of a webhook's address are resolved here and the found address is connected to, so a name
that resolves differently the second time (DNS rebinding) gains nothing. Redirects are not followed.
"""

from __future__ import annotations

import hashlib
import hmac
import socket
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address

import anyio
import httpcore

from core.errors import InvalidOption
from core.networks import Network
from jobs.webhook_rules import private_webhook
from media.addresses import may_connect

TIMEOUT_S = 30.0
"""For the whole call, however slowly the receiver answers."""

LATER = frozenset({408, 409, 425, 429})
"""Refusals that may pass; every other 4xx is final, and so is a redirect."""


@dataclass(frozen=True, slots=True)
class CallOutcome:
    """What became of a call."""

    text: str
    """For people: ``answered 503``."""
    delivered: bool = False
    final: bool = False
    """Trying again would change nothing."""


def signed(secret: str, timestamp: str, body: bytes) -> str:
    """The value of ``X-Whisper-Signature``."""
    text = timestamp.encode() + b"." + body
    return f"sha256={hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()}"


class Caller:
    """Makes calls; use one for all of them, in one event loop."""

    def __init__(self, networks: Iterable[Network]) -> None:
        self._backend = _GuardedBackend(tuple(networks))
        self._tls = ssl.create_default_context()

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> CallOutcome:
        """Send the body; every failure is an outcome."""
        own = [(name.encode(), value.encode()) for name, value in headers.items()]
        try:
            with anyio.fail_after(TIMEOUT_S):
                async with (
                    httpcore.AsyncConnectionPool(
                        ssl_context=self._tls, network_backend=self._backend
                    ) as connection,
                    # The body of the answer is not read: the receiver could send for ever.
                    connection.stream("POST", url, headers=own, content=body) as answer,
                ):
                    return _outcome(answer.status)
        except InvalidOption as error:
            return CallOutcome(error.message, final=True)
        except (TimeoutError, httpcore.TimeoutException):
            return CallOutcome(f"did not answer within {TIMEOUT_S:g} s")
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            return CallOutcome(f"cannot be reached: {error or type(error).__name__}")
        except (httpcore.UnsupportedProtocol, UnicodeError) as error:
            return CallOutcome(f"cannot be called: {error}", final=True)


def _outcome(status: int) -> CallOutcome:
    if 200 <= status < 300:
        return CallOutcome(f"answered {status}", delivered=True)
    return CallOutcome(f"answered {status}", final=300 <= status < 500 and status not in LATER)


class _GuardedBackend(httpcore.AnyIOBackend):
    """Connects to the addresses that a name has only where all of them are admitted."""

    def __init__(self, networks: tuple[Network, ...]) -> None:
        self._networks = networks

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
        if not addresses or not all(may_connect(one, self._networks) for one in addresses):
            raise private_webhook(host)
        for number, address in enumerate(addresses, 1):
            try:
                return await super().connect_tcp(
                    str(address), port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if number == len(addresses):
                    raise
        raise AssertionError("there is at least one address")
