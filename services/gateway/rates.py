"""Rate limits per org and per caller, shared by all replicas.

A fixed window in the database; each replica takes requests out of it by the lot and hands them out from memory, so most
requests cost no statement, and what all replicas let through together never exceeds the limit. It may fall short by what
other replicas hold and do not use: at most a lot (2 %) each.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from libs.clock import now
from libs.database.engine import Database
from libs.errors import DependencyDown, RateLimited
from libs.ids import OrgId
from libs.observability.logs import get_logger
from services.gateway.domain import Principal
from services.gateway.repository.rates import Lease, Rates

log = get_logger()

WINDOW_SECONDS = 60
_LOTS = 50  # of a window: a lot is 2 % of the limit
_WITHOUT_DATABASE_SECONDS = 1.0
_MOST_BUCKETS = 20_000


@dataclass(frozen=True, slots=True)
class Limits:
    """Requests in a window."""

    per_org: int
    per_caller: int
    window_seconds: int = WINDOW_SECONDS


@dataclass(slots=True)
class _Held:
    left: int = 0  # of the lot in memory
    beyond: int = 0  # of the limit when the lot was taken, without it
    until: float = 0.0  # monotonic; then the window is over

    @property
    def remaining(self) -> int:
        return self.left + self.beyond


@dataclass(frozen=True, slots=True)
class Standing:
    """Where one policy stands after a request."""

    policy: str
    most: int
    remaining: int
    seconds: int


class RateGate:
    def __init__(self, database: Database, limits: Limits, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._limits = limits
        self._clock = clock
        self._held: dict[tuple[OrgId, str], _Held] = {}
        self._taking: dict[OrgId, asyncio.Lock] = {}

    async def admit(self, principal: Principal) -> list[tuple[bytes, bytes]]:
        """Count a request. Answers the headers that tell where the caller stands.

        Raises:
            Exhausted: a limit is used up; the headers are with it.
        """
        wanted = {"org": self._limits.per_org, f"{principal.kind}:{principal.id}": self._limits.per_caller}
        org_id = principal.home
        held = self._usable(org_id, wanted)
        if held is None:
            async with self._taking.setdefault(org_id, asyncio.Lock()):
                held = self._usable(org_id, wanted)  # whoever waited finds what the one before took
                while held is None:  # twice when a window ended meanwhile
                    await self._take(org_id, wanted)
                    held = self._usable(org_id, wanted)
        moment = self._clock()
        passes = all(one.left > 0 for one in held)
        if passes:
            for one in held:
                one.left -= 1
        standings = [
            Standing(policy, most, one.remaining, max(1, math.ceil(one.until - moment)))
            for policy, most, one in zip(("org", "key"), wanted.values(), held, strict=True)
        ]
        headers = headers_of(standings, self._limits.window_seconds)
        if not passes:
            spent = next(one for one, kept in zip(standings, held, strict=True) if kept.left <= 0)
            raise Exhausted(spent, headers)
        return headers

    def _usable(self, org_id: OrgId, wanted: dict[str, int]) -> list[_Held] | None:
        """What is held of each bucket, if that decides: all have some, or one is known to be used up."""
        moment = self._clock()
        held = [self._held.get((org_id, bucket)) for bucket in wanted]
        known = [one for one in held if one is not None and one.until > moment]
        if len(known) == len(held) and (all(one.left > 0 for one in known) or any(one.remaining <= 0 for one in known)):
            return known
        return None

    async def _take(self, org_id: OrgId, wanted: dict[str, int]) -> None:
        moment = self._clock()
        asked = []
        for bucket, most in wanted.items():
            one = self._held.get((org_id, bucket))
            lot = max(1, most // _LOTS)
            asked.append((bucket, most, 0 if one is not None and one.until > moment and one.left > 0 else lot))
        try:
            async with self._database.tenant_transaction(org_id) as session:
                leases = await Rates(session).take(asked, self._limits.window_seconds)
        except DependencyDown:
            # Who is known is let in for as long as we remember them; a limit must not be what closes the house.
            log.warning("rate_limits_unknown")
            leases = {
                bucket: Lease(max(1, most // _LOTS), most, _WITHOUT_DATABASE_SECONDS) for bucket, most, _ in asked
            }
        if len(self._held) > _MOST_BUCKETS:
            self._forget()
        answered = self._clock()
        for bucket, most in wanted.items():
            lease = leases[bucket]
            one = self._held.setdefault((org_id, bucket), _Held())
            until = answered + max(0.01, lease.seconds_left)
            is_same_window = abs(one.until - until) < self._limits.window_seconds / 2
            one.left = lease.granted + (one.left if is_same_window else 0)
            one.beyond, one.until = max(0, most - lease.used), until

    def _forget(self) -> None:
        moment = self._clock()
        self._held = {key: one for key, one in self._held.items() if one.until > moment}
        self._taking = {org: lock for org, lock in self._taking.items() if lock.locked()}


class Exhausted(RateLimited):
    def __init__(self, spent: Standing, headers: list[tuple[bytes, bytes]]) -> None:
        super().__init__(
            f"the limit {spent.policy!r} of {spent.most} requests is used up; it is full again in {spent.seconds} s",
            retry_after_seconds=spent.seconds,
        )
        self.headers = headers


def headers_of(standings: list[Standing], window_seconds: int) -> list[tuple[bytes, bytes]]:
    """The headers that tell where a caller stands."""
    # draft-ietf-httpapi-ratelimit-headers still moves; the X- ones are what GitHub's clients read. Both come from here alone.
    tightest = min(standings, key=lambda one: one.remaining)
    policies = ", ".join(f'"{one.policy}";q={one.most};w={window_seconds}' for one in standings)
    state = ", ".join(f'"{one.policy}";r={one.remaining};t={one.seconds}' for one in standings)
    return [
        (b"ratelimit-policy", policies.encode()),
        (b"ratelimit", state.encode()),
        (b"x-ratelimit-limit", str(tightest.most).encode()),
        (b"x-ratelimit-remaining", str(tightest.remaining).encode()),
        (b"x-ratelimit-reset", str(math.ceil(now().timestamp()) + tightest.seconds).encode()),
    ]
