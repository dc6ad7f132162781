"""Where a request came from, and whether that is among certain places. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from libs.settings import BadSetting

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """CIDR blocks (`192.0.2.0/24`, or one address).

    Raises:
        ValueError: one is none, or has bits set behind its prefix.
    """
    return tuple(ip_network(text.strip()) for text in texts)


def trusted(listed: str, variable: str) -> tuple[Network, ...]:
    """The networks that the setting `variable` lists, comma-separated.

    Raises:
        BadSetting: one is no address and no CIDR block.
    """
    try:
        return networks(part for part in listed.split(",") if part.strip())
    except ValueError:
        raise BadSetting(f"{variable} is not a list of addresses and CIDR blocks like 10.0.0.0/8") from None


def within(address: Address, blocks: Sequence[Network]) -> bool:
    return any(address in block for block in blocks)


def source_of(
    peer: str | None, headers: Iterable[tuple[bytes, bytes]], trusted_proxies: Sequence[Network]
) -> Address | None:
    """Who sent it: the socket's peer, or whom proxies of ours say they heard; None if neither is known.

    Each proxy appends its own peer to X-Forwarded-For, so it is read from its end: the first that is no proxy of ours is
    the source. What stands before it, and all of it when the peer is no proxy of ours, anyone may have written.
    """
    address = None if peer is None else _address(peer)
    if address is None or not within(address, trusted_proxies):
        return address
    values = [value for name, value in headers if name == b"x-forwarded-for"]
    for text in reversed(b",".join(values).decode("latin-1").split(",") if values else ()):
        address = _address(text.strip())
        if address is None or not within(address, trusted_proxies):
            break
    return address


def _address(text: str) -> Address | None:
    try:
        found = ip_address(text)
    except ValueError:  # a Unix socket's peer, or what no proxy writes
        return None
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is not None:
            return found.ipv4_mapped
        return found if found.scope_id is None else IPv6Address(int(found))
    return found
