"""Who asked a simulated API for what, and when: so that a test can hold a caller to an account's budget."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

_NUMBER = re.compile(r"(?<=/)\d+(?=/|$)")


@dataclass(frozen=True, slots=True)
class Call:
    """`account` is the key that came with it ("" without one), `endpoint` the path with `{id}` for numbers."""

    at: float
    account: str
    method: str
    endpoint: str
    status: int | None  # None: it got no answer


@dataclass(slots=True)
class CallBook:
    """Every call, also those that were refused or got no answer."""

    clock: Callable[[], float] = time.monotonic
    calls: list[Call] = field(default_factory=list)

    def note(self, account: str, method: str, path: str, status: int | None) -> None:
        self.calls.append(Call(self.clock(), account, method, endpoint_of(path), status))

    def of(self, account: str | None = None, *, endpoint: str | None = None) -> list[Call]:
        """The calls of an account (of all without), of one endpoint ("POST /campaigns/{id}/leads") if it is named."""
        return [
            call
            for call in self.calls
            if (account is None or call.account == account)
            and (endpoint is None or f"{call.method} {call.endpoint}" == endpoint)
        ]

    def by_endpoint(self, account: str | None = None) -> Counter[str]:
        return Counter(f"{call.method} {call.endpoint}" for call in self.of(account))

    def most_in(self, seconds: float, account: str | None = None) -> int:
        """The most calls within any window of so many seconds: what a limiter would have counted."""
        times: Sequence[float] = sorted(call.at for call in self.of(account))
        most = first = 0
        for last, at in enumerate(times):
            while times[first] <= at - seconds:
                first += 1
            most = max(most, last - first + 1)
        return most


def endpoint_of(path: str) -> str:
    return _NUMBER.sub("{id}", path)
