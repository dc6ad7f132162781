"""How often strangers may fail to sign in, by the address they come from. Who guesses keys is told to wait, and then costs no
query more.

In memory, for each replica by itself: a row per address would be what a flood needs. Nobody who is known is ever held back,
as many may share an address.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from ipaddress import IPv6Address, ip_network

from starlette.types import Scope

from libs.observability.logs import get_logger
from libs.web.sources import Network, source_of
from services.gateway.rates import WINDOW_SECONDS, Exhausted, Standing, headers_of

log = get_logger()

_POLICY = "failed-sign-ins"
_MOST_ADDRESSES = 10_000
_SITE_BITS = 64  # of IPv6 everybody has this many addresses at the least


class Strangers:
    """`most` failures in a window from one address; `X-Forwarded-For` counts from `trusted_proxies` only."""

    def __init__(
        self, most: int, trusted_proxies: Sequence[Network] = (), *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = most
        self._trusted_proxies = trusted_proxies
        self._clock = clock
        self._failures: dict[str, tuple[float, int]] = {}  # since when, how many

    def address_of(self, scope: Scope) -> str:
        """What a request's failures are counted under; "" where nothing tells who asks."""
        peer = scope.get("client")
        found = source_of(peer[0] if peer else None, scope["headers"], self._trusted_proxies)
        if isinstance(found, IPv6Address):
            return str(ip_network((found, _SITE_BITS), strict=False))
        return "" if found is None else str(found)

    def check(self, scope: Scope) -> None:
        """Raises Exhausted: too many failed from this request's address; do no work for who is not known."""
        self._check(self.address_of(scope))

    def _check(self, address: str) -> None:
        since, count = self._window(address)
        if count >= self._most:
            seconds = max(1, math.ceil(since + WINDOW_SECONDS - self._clock()))
            spent = Standing(_POLICY, self._most, 0, seconds)
            raise Exhausted(spent, headers_of([spent], WINDOW_SECONDS))

    def failed(self, scope: Scope) -> None:
        """Count a failure. Raises Exhausted: it is one too many."""
        address = self.address_of(scope)
        self._check(address)
        since, count = self._window(address)
        if address not in self._failures and len(self._failures) >= _MOST_ADDRESSES:
            del self._failures[next(iter(self._failures))]
        self._failures[address] = (since, count + 1)
        if count + 1 == self._most:
            log.warning("sign_ins_held_back", address=address, failures=count + 1)

    def _window(self, address: str) -> tuple[float, int]:
        moment = self._clock()
        since, count = self._failures.get(address, (moment, 0))
        return (moment, 0) if moment >= since + WINDOW_SECONDS else (since, count)
