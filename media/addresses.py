"""Which addresses a download may connect to: public ones, and those that the settings allow.

A link lets a stranger choose where this machine connects: the router, a cloud's metadata service,
the database next door. So everything that is not plainly public is refused.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
)

from core.networks import Network

Address = IPv4Address | IPv6Address

_NOT_PUBLIC: tuple[Network, ...] = (
    # This Python calls them global; the first is public, but a service of the Azure cloud.
    IPv4Network("168.63.129.16/32"),
    IPv4Network("192.0.0.0/24"),
    IPv4Network("192.88.99.0/24"),
    IPv6Network("3fff::/20"),
)

_UNICAST = IPv6Network("2000::/3")
"""All that is given out of IPv6; the rest is reserved or has a special meaning."""

_NAT64 = IPv6Network("64:ff9b::/96")


def may_connect(address: Address, admitted: Iterable[Network] = ()) -> bool:
    """Whether a connection to the address is allowed. One that only wraps another, as IPv6 does to
    reach IPv4, is judged by the inner one."""
    inner = _inner(address)
    if inner is not None:
        return may_connect(inner, admitted)
    if any(address in network for network in admitted):
        return True
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    if isinstance(address, IPv6Address) and address not in _UNICAST:
        return False
    return not any(address in network for network in _NOT_PUBLIC)


def literal_address(host: str) -> Address | None:
    """The address a host name spells out, also as C libraries read it (``2130706433``,
    ``0x7f.1``, ``0177.0.0.1``); None for a name that must be resolved."""
    host = host.strip("[]").rstrip(".")
    if host.lower() == "localhost" or host.lower().endswith(".localhost"):
        return IPv4Address("127.0.0.1")
    try:
        return ip_address(host)
    except ValueError:
        try:
            return IPv4Address(socket.inet_aton(host))
        except (OSError, UnicodeEncodeError):
            return None


def _inner(address: Address) -> IPv4Address | None:
    """The IPv4 address a packet to this IPv6 address ends at, where there is one."""
    if isinstance(address, IPv4Address):
        return None
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour
