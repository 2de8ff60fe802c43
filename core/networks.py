"""Networks that settings admit: addresses and ranges such as ``10.0.5.0/24``."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network

from core.errors import InvalidOption

Network = IPv4Network | IPv6Network


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Networks of addresses and ``10.0.5.0/24``. Raises ValueError for anything else."""
    return tuple(ip_network(text.strip(), strict=False) for text in texts)


def networks_of(setting: str, texts: Iterable[str]) -> tuple[Network, ...]:
    """The networks of a setting. Raises InvalidOption, which names the setting."""
    try:
        return parse_networks(texts)
    except ValueError as error:
        raise InvalidOption(
            f"{setting} is not valid: {error}.",
            hint='Write addresses or networks: ["10.0.5.4", "10.0.6.0/24"].',
        ) from error
