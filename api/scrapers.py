"""Who may read ``/metrics``: a program with the token, or one in an admitted network.

They tell nothing of users or recordings, but how much the service is used. So neither a login nor
a visitor of an open service is enough. Where the service listens on its own machine alone, that
machine is admitted.
"""

from __future__ import annotations

import secrets
from ipaddress import ip_address

from starlette.requests import HTTPConnection

from api.errors import Refused
from api.proxies import FORWARDED_KEY
from core.networks import networks_of
from core.settings import Settings


class Scrapers:
    """Raises InvalidOption for networks that are none."""

    def __init__(self, settings: Settings) -> None:
        self._token = settings.metrics_token
        self._networks = networks_of("WHISPER_METRICS_NETWORKS", settings.metrics_networks)

    def check(self, request: HTTPConnection, key: str | None, *, from_here: bool) -> None:
        """Raises Refused.

        Args:
            key: what the request brings as a bearer token.
            from_here: a request of this machine to a service that listens there alone.
        """
        if key is not None and self._token is not None:
            # Bytes: a key may hold what compare_digest does not take as text.
            if secrets.compare_digest(key.encode(), self._token.encode()):
                return
        elif from_here or self._in_a_network(request):
            return
        raise Refused(
            401,
            "MetricsClosed",
            "Metrics are read with their token, or from an admitted network.",
            "Set WHISPER_METRICS_TOKEN and send it as: Authorization: Bearer TOKEN, or set"
            " WHISPER_METRICS_NETWORKS.",
            WWW_Authenticate='Bearer realm="Whisper for Subs metrics"',
        )

    def _in_a_network(self, request: HTTPConnection) -> bool:
        if request.scope.get("state", {}).get(FORWARDED_KEY, False) or request.client is None:
            # A proxy may stand in such a network and let everyone in.
            return False
        try:
            address = ip_address(request.client.host)
        except ValueError:
            return False  # a socket file has no address
        inner = getattr(address, "ipv4_mapped", None)
        return any((inner or address) in network for network in self._networks)
