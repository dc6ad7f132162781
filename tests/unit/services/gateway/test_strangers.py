from __future__ import annotations

import pytest
from starlette.types import Scope

from libs.web.sources import networks
from services.gateway.rates import Exhausted
from services.gateway.strangers import Strangers


class Clock:
    moment = 0.0

    def __call__(self) -> float:
        return self.moment


def from_(address: str) -> Scope:
    return {"type": "http", "client": (address, 1), "headers": []}


def fail(strangers: Strangers, address: str, times: int) -> int:
    """How many of so many failures were too many."""
    refused = 0
    for _ in range(times):
        try:
            strangers.failed(from_(address))
        except Exhausted:
            refused += 1
    return refused


def test_so_many_failures_a_window_then_none_until_it_is_over():
    clock = Clock()
    strangers = Strangers(3, clock=clock)
    assert fail(strangers, "192.0.2.1", 3) == 0
    clock.moment = 59.5
    with pytest.raises(Exhausted) as refused:
        strangers.check(from_("192.0.2.1"))
    assert refused.value.retry_after_seconds == 1
    assert (b"x-ratelimit-limit", b"3") in refused.value.headers
    strangers.check(from_("192.0.2.2"))
    clock.moment = 60.0
    strangers.check(from_("192.0.2.1"))
    assert fail(strangers, "192.0.2.1", 4) == 1


def test_memory_is_bounded():
    strangers = Strangers(3)
    for number in range(25_000):
        strangers.failed(from_(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"))
    assert len(strangers._failures) == 10_000
    assert fail(strangers, "10.0.97.167", 3) == 1  # the newest are remembered


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("192.0.2.1", None, "192.0.2.1"),
        ("192.0.2.1", "198.51.100.7", "192.0.2.1"),  # anyone may write that
        ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "203.0.113.1, 198.51.100.7", "198.51.100.7"),
        ("2001:db8::1", None, "2001:db8::/64"),
        ("2001:db8::ffff:1", None, "2001:db8::/64"),
        ("2001:db8:0:1::1", None, "2001:db8:0:1::/64"),
        ("::ffff:192.0.2.1", None, "192.0.2.1"),
        (None, None, ""),
    ],
)
def test_an_address_is_whom_our_proxies_name_and_an_ipv6_site_is_one(peer, forwarded, address):
    strangers = Strangers(1, networks(["10.0.0.0/8"]))
    headers = [] if forwarded is None else [(b"x-forwarded-for", forwarded.encode())]
    client = None if peer is None else (peer, 1)
    assert strangers.address_of({"type": "http", "client": client, "headers": headers}) == address
