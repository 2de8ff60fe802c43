"""Which addresses a download may connect to."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from core.networks import parse_networks
from media.addresses import literal_address, may_connect

REFUSED = {
    "loopback": "127.0.0.1 127.255.255.254 ::1",
    "unspecified": "0.0.0.0 0.1.2.3 ::",
    "private": "10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 fd00::1 fec0::1",
    "link-local and metadata": "169.254.169.254 fe80::1 fe80::1%eth0 fd00:ec2::254",
    "shared by providers": "100.64.0.1 100.127.255.255",
    "multicast": "224.0.0.1 239.1.1.1 ff02::1 ff0e::1",
    "reserved": "240.0.0.1 255.255.255.255 192.0.2.1 198.18.0.1 2001:db8::1 3fff::1 4000::1",
    "services of clouds": "168.63.129.16 192.0.0.192 100.100.100.200",
    "IPv4 in IPv6": "::ffff:10.0.0.1 ::ffff:127.0.0.1 ::127.0.0.1",
    "6to4": "2002:7f00:1:: 2002:0a00:1::1",
    "NAT64": "64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 64:ff9b:1::1",
    "Teredo": "2001:0:4136:e378:8000:63bf:3fff:fdd2",
}
ADMITTED = "8.8.8.8 172.32.0.1 100.128.0.1 2606:4700::1111 ::ffff:8.8.8.8 64:ff9b::808:808"


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_plainly_public_is_refused(kind: str) -> None:
    assert [a for a in REFUSED[kind].split() if may_connect(ip_address(a))] == []


def test_public_addresses_are_admitted() -> None:
    assert [a for a in ADMITTED.split() if not may_connect(ip_address(a))] == []


def test_the_settings_admit_networks_and_nothing_beside_them() -> None:
    networks = parse_networks(["10.0.5.0/24", " 192.168.1.7 ", "fd00:1::/64", "10.1.2.3/16"])
    admitted = "10.0.5.9 192.168.1.7 fd00:1::5 ::ffff:10.0.5.9 10.1.255.1"
    assert [a for a in admitted.split() if not may_connect(ip_address(a), networks)] == []
    refused = "10.0.6.1 192.168.1.8 fd00:2::5 ::ffff:10.0.6.1 127.0.0.1"
    assert [a for a in refused.split() if may_connect(ip_address(a), networks)] == []
    with pytest.raises(ValueError, match=r"media\.local"):
        parse_networks(["media.local"])


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.0.0.1.", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.1"),
        *("localhost", "LOCALHOST.", "a.localhost"),
    ],
)
def test_every_spelling_of_an_address_is_read(host: str) -> None:
    assert str(literal_address(host)) == "127.0.0.1"


def test_names_are_no_addresses() -> None:
    assert str(literal_address("[::1]")) == "::1"
    for name in ("example.org", "localhost.example.org", "10.example", "", "bücher.example"):
        assert literal_address(name) is None
