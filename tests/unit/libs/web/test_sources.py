"""Whose word counts for where a post came from."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from libs.web.sources import networks, source_of
from services.webhook_ingest.settings import WebhookIngestSettings

PROXIES = networks(["10.0.0.0/8", "2001:db8:aaaa::/48"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "source"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        # A stranger may write what it likes.
        ("203.0.113.9", ["192.0.2.1"], "203.0.113.9"),
        ("203.0.113.9", ["192.0.2.1, 10.0.0.1"], "203.0.113.9"),
        # One proxy, then two; what the stranger wrote before it reached the first stands further left.
        ("10.0.0.1", ["192.0.2.1"], "192.0.2.1"),
        ("10.0.0.1", ["192.0.2.77, 198.51.100.4"], "198.51.100.4"),
        ("10.0.0.1", ["192.0.2.77, 198.51.100.4, 10.9.9.9"], "198.51.100.4"),
        ("10.0.0.1", ["192.0.2.77", "198.51.100.4", "10.9.9.9"], "198.51.100.4"),
        ("2001:db8:aaaa::1", ["2001:db8:b::7"], "2001:db8:b::7"),
        # Proxies that say nothing, or only name each other.
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["10.0.0.7, 10.0.0.9"], "10.0.0.7"),
        # Not known, rather than guessed.
        ("10.0.0.1", ["192.0.2.1, unknown"], None),
        ("10.0.0.1", ["192.0.2.1,"], None),
        ("10.0.0.1", ["\x00\xff"], None),
        ("", ["192.0.2.1"], None),
        (None, ["192.0.2.1"], None),
        # One address, two spellings.
        ("::ffff:203.0.113.9", [], "203.0.113.9"),
        ("::ffff:10.0.0.1", ["::ffff:192.0.2.1"], "192.0.2.1"),
        ("fe80::1%eth0", [], "fe80::1"),
    ],
)
def test_only_our_proxies_are_believed(peer: str | None, forwarded: list[str], source: str | None) -> None:
    headers = [(b"host", b"door"), *((b"x-forwarded-for", value.encode("latin-1")) for value in forwarded)]

    assert source_of(peer, headers, PROXIES) == (None if source is None else ip_address(source))


def test_without_proxies_the_socket_decides() -> None:
    assert source_of("10.0.0.1", [(b"x-forwarded-for", b"192.0.2.1")], ()) == ip_address("10.0.0.1")


@pytest.mark.parametrize("text", ["10.0.0.1/8", "proxy.example.com", "10.0.0.0/33", "10.0.0.0/8;11.0.0.0/8"])
def test_a_proxy_that_is_none_is_refused_at_start(text: str) -> None:
    with pytest.raises(Exception, match="WEBHOOK_INGEST_TRUSTED_PROXIES is not a list"):
        WebhookIngestSettings(trusted_proxies=text).trusted_networks()
    assert WebhookIngestSettings(trusted_proxies=" 10.0.0.0/8, 192.0.2.7 ,").trusted_networks() == networks(
        ["10.0.0.0/8", "192.0.2.7"]
    )
