"""Which addresses we let ourselves be sent to by somebody's word (an account's `base_url`): public ones, over https.

A name is only judged by its looks here. What it resolves to is judged anew at every connection, in transport.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import httpx

from libs.errors import PermanentError

PORTS = frozenset({443, 8443})  # 8443 is where appliances and panels behind somebody else's 443 answer
LONGEST_URL = 500

# IANA's special-purpose registry, what is not reachable from everywhere; and two that are, but answer to us alone:
# Azure's metadata (168.63.129.16) and the old 6to4 relays.
_NOT_PUBLIC = tuple(
    ip_network(one)
    for one in (
        "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 168.63.129.16/32 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 "
        "192.0.2.0/24 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4"
    ).split()
)
# In IPv6 only this is given out to the public at all, so mapped, translated (NAT64), unique local, link-local and
# multicast addresses are out without being listed. Within it: protocol assignments (Teredo, ORCHID), documentation, 6to4.
_GLOBAL_UNICAST = ip_network("2000::/3")
_NOT_PUBLIC_6 = tuple(ip_network(one) for one in "2001::/23 2001:db8::/32 2002::/16 3fff::/20".split())

_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})+", re.IGNORECASE)
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*", re.IGNORECASE)  # as a last label it makes a host an address, in some spelling
# Names that mean something of the inside wherever they are asked.
_INSIDE = ("localhost", "local", "localdomain", "internal", "intranet", "lan", "home.arpa", "onion")


class AddressRefused(PermanentError):
    """We do not connect there. The message never says what a name resolved to."""

    code = "address_refused"


def is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC)
    return address in _GLOBAL_UNICAST and not any(address in network for network in _NOT_PUBLIC_6)


def check_url(text: str, *, allow_loopback: bool = False) -> None:
    """Whether `text` may be the base of our calls. For simulators `allow_loopback` lets in this machine, also over http.

    Raises:
        AddressRefused: with the one thing to mend.
    """
    if len(text) > LONGEST_URL or not text.isprintable() or re.search(r"[\s\\]", text):
        raise AddressRefused(f"an address has at most {LONGEST_URL} visible characters, no spaces and no backslashes")
    try:
        url = httpx.URL(text)  # the parser of those who will call it
        host, port = url.raw_host.decode("ascii"), url.port
    except (httpx.InvalidURL, ValueError):
        raise AddressRefused("this is no address that can be called") from None
    if "@" in text:
        raise AddressRefused("an address holds no user or password")
    if "?" in text or "#" in text:
        raise AddressRefused("an address to start from has no query and no fragment")
    check_request(url.scheme, host, port, allow_loopback=allow_loopback)


def check_request(scheme: str, host: str, port: int | None, *, allow_loopback: bool) -> None:
    """Scheme, port and looks of the host; `port` is None where it is the scheme's own.

    Raises:
        AddressRefused: with the one thing to mend.
    """
    if allow_loopback and scheme in ("http", "https") and is_loopback(host):
        return
    if scheme != "https":
        raise AddressRefused("only https is called")
    if port is not None and port not in PORTS:
        raise AddressRefused(f"only these ports are called: {', '.join(map(str, sorted(PORTS)))}")
    address = _address(host)
    if address is not None:
        if not is_public(address):
            raise AddressRefused("this is no public address")
        return
    name = host.removesuffix(".")
    if _NUMBER.fullmatch(name.rpartition(".")[2]):
        raise AddressRefused("this is an address in a spelling that is not taken")
    if len(name) > 253 or not _NAME.fullmatch(name):
        raise AddressRefused("this is no host name of the public internet")
    if any(f".{name}".lower().endswith(f".{inside}") for inside in _INSIDE):
        raise AddressRefused("this is a host name of the inside")


def check_resolved(addresses: Iterable[str], port: int, *, allow_loopback: bool) -> None:
    """What a name resolved to: all of it must do, for whoever answers for a name decides which one we take.

    Raises:
        AddressRefused: one of them will not do.
    """
    found = [ip_address(one) for one in addresses]
    if allow_loopback and found and all(one.is_loopback for one in found):
        return
    if port not in PORTS or not found or not all(is_public(one) for one in found):
        raise AddressRefused("the host does not resolve to public addresses only")


def is_loopback(host: str) -> bool:
    """Whether the host is this machine, by its looks."""
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host.removesuffix("."))
    except ValueError:
        return None
