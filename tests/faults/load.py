"""What goes on while something breaks: two organizations whose provider posts, and the count of what came of it."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import asyncpg

from libs.client.client import OutriderClient
from libs.ids import parse_public_id
from libs.providers.simulation import PostKind, post_all
from libs.providers.smartlead.simulator import SmartleadSimulator, smartlead_app
from libs.providers.smartlead.simulator.journal import Happened
from services.cli.demo import books
from services.cli.demo.cast import Account, Agency
from services.cli.demo.providers import PROVIDERS
from services.cli.demo.story import serve
from tests.faults.ground import FOLD_SECONDS, Ground

_SMARTLEAD = next(one for one in PROVIDERS if one.name == "smartlead")
_STILL_SECONDS = 3 * FOLD_SECONDS
_seeds = itertools.count(1)


class NotDrained(Exception):
    """What still waits, after how long."""


@dataclass(frozen=True, slots=True)
class Measured:
    """All but the seconds must be 0; `others` are differences that no count names."""

    lost: int
    duplicate_effects: int
    order_breaks: int
    unaccounted: int
    drain_seconds: float
    others: tuple[str, ...] = ()

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.duplicate_effects or self.order_breaks or self.unaccounted or self.others)


@dataclass
class Load:
    """Two agencies with one Smartlead account each; `posts` webhooks each, of which each tenth is posted twice."""

    ground: Ground
    stack: AsyncExitStack
    agencies: list[Agency] = field(default_factory=list)
    orgs: dict[str, UUID] = field(default_factory=dict)  # by the agency's name

    async def open(self, posts: int = 150, **plan: Any) -> None:
        seeds = [next(_seeds) for _ in range(2)]
        simulators = [SmartleadSimulator(api_key=f"faults-{seed}", seed=seed) for seed in seeds]
        url = await serve(smartlead_app(*simulators), self.stack)
        house = self.ground.house
        platform = await self.stack.enter_async_context(OutriderClient(house.gateway_url, house.platform_key))
        for seed, simulator in zip(seeds, simulators, strict=True):
            org = await platform.create_organization(f"Agency {seed}", time_zone="UTC")
            staff = await self.stack.enter_async_context(
                OutriderClient(house.gateway_url, house.platform_key, org=org["id"])
            )
            key = await staff.create_api_key("faults", role="org_admin")
            client = await self.stack.enter_async_context(OutriderClient(house.gateway_url, key["key"]))
            company = await client.create_company("North Pier")
            account = await until_answered(
                lambda client=client, company=company, simulator=simulator: client.create_provider_account(
                    provider="smartlead",
                    name="Smartlead",
                    company_id=company["id"],
                    base_url=url + _SMARTLEAD.path,
                    credentials={"api_key": simulator.api_key},
                )
            )

            async def registered(client: OutriderClient = client, account_id: str = account["id"]) -> bool:
                shown = await client.provider_account(account_id)
                return bool(shown["webhook_endpoint"]["status"] == "registered")

            await until(registered, 60, "the provider was told where to post")
            made = simulator.deliveries(posts, **({"seed": seed} | plan))
            self.agencies.append(
                Agency(org["name"], client, [Account(_SMARTLEAD, simulator, account["id"], made)]),
            )
            self.orgs[org["name"]] = parse_public_id("org", org["id"])

    @property
    def accounts(self) -> list[Account]:
        return [account for agency in self.agencies for account in agency.accounts]

    @property
    def acknowledged(self) -> int:
        return sum(len(account.plan.acknowledged()) for account in self.accounts)

    async def post(self, *, concurrency: int = 6) -> None:
        """As a provider does, until every post was answered 200."""
        async with asyncio.TaskGroup() as group:
            for account in self.accounts:
                group.create_task(
                    post_all(account.plan, account.url_for, concurrency=concurrency, until_acknowledged=True)
                )

    async def reached(self, share: float, seconds: float = 60) -> None:
        """Wait until this share of the posts was acknowledged."""
        total = sum(len(account.plan.to_send()) for account in self.accounts)

        async def there() -> bool:
            return self.acknowledged >= share * total

        await until(there, seconds, f"{share:.0%} of the posts were answered", every=0.01)

    async def drained(self, seconds: float = 120) -> float:
        """Wait until nothing waits anywhere and no count moves; answers how long that took."""
        started = time.monotonic()
        before: list[Any] = []
        ledgers: list[dict[str, Any]] = []
        still_since = started

        async def settled() -> bool:
            nonlocal before, still_since, ledgers
            ledgers = [await agency.client.ledger(settle_seconds=0) for agency in self.agencies]
            counts = [(ledger["door"], ledger["data"]) for ledger in ledgers]
            told = [sum(len(plan.acknowledged()) for plan in agency.plans()) for agency in self.agencies]
            if counts != before or not all(map(books.is_drained, ledgers, told)):
                before, still_since = counts, time.monotonic()
            return time.monotonic() - still_since > _STILL_SECONDS

        try:
            await until(settled, seconds, "everything drained")
        except NotDrained as error:
            raise NotDrained(f"{error}; {'; '.join(map(_open, ledgers))}") from None
        return max(0.0, time.monotonic() - started - _STILL_SECONDS)

    async def measured(self, drain_seconds: float, patience_seconds: float = 30) -> Measured:
        """Hold the tables, past all services, against what the simulators know.

        What a job does late (a read-back that waited for its retry) moves counts once more: what differs is looked at again
        until it stays so.
        """
        give_up_at = time.monotonic() + patience_seconds
        while True:
            found = await self._look(drain_seconds)
            if found.is_clean or time.monotonic() > give_up_at:
                return found
            await asyncio.sleep(_STILL_SECONDS)

    async def _look(self, drain_seconds: float) -> Measured:
        lost = doubled = breaks = unaccounted = 0
        others: list[str] = []
        connection = await asyncpg.connect(self.ground.dsn)
        try:
            for agency in self.agencies:
                one = await tables(connection, agency, self.orgs[agency.name])
                lost, doubled, breaks = lost + one[0], doubled + one[1], breaks + one[2]
                ledger = await agency.client.ledger(settle_seconds=0)
                unaccounted += ledger["unaccounted"]
            checked = await books.check(self.agencies, [], killed=True)
            others = [line for line in checked["problems"] if not line.startswith("accepted is not")]
        finally:
            await connection.close()
        return Measured(lost, doubled, breaks, unaccounted, round(drain_seconds, 1), tuple(others))


def _open(ledger: dict[str, Any]) -> str:
    """What of an org's ledger keeps it from being drained."""
    door = {name: count for name, count in ledger["door"].items() if isinstance(count, int) and count}
    hops = [
        {name: value for name, value in hop.items() if value or name == "balanced"}
        for hop in ledger["data"]
        if hop["on_the_way"] or hop["due"] or not hop["balanced"] or hop["queue"] == books.WEBHOOK_QUEUE
    ]
    return f"door {door}, hops {hops}"


async def tables(connection: asyncpg.Connection, agency: Agency, org_id: UUID) -> tuple[int, int, int]:
    """(lost, doubled, order breaks) of one organization."""
    lost = doubled = 0
    kept = {
        row["body_sha256"]
        for row in await connection.fetch(
            "SELECT DISTINCT body_sha256 FROM webhook_ingest.deliveries WHERE org_id = $1", org_id
        )
    }
    stored = [
        row["key"] for row in await connection.fetch("SELECT key FROM provider_sync.messages WHERE org_id = $1", org_id)
    ]
    for account in agency.accounts:
        told: set[str] = set()
        for post in account.plan.acknowledged():
            lost += hashlib.sha256(post.body).digest() not in kept
            if post.kind is PostKind.NORMAL:
                told |= post.message_keys
        happened = set().union(*(account.simulator.journal.message_keys(kind) for kind in Happened))
        lost += len(told - set(stored))
        doubled += len(stored) - len(set(stored)) + len(set(stored) - happened)
    for table, key in (("messages", "message_id"), ("engagements", "engagement_id")):
        lost += await connection.fetchval(
            f"SELECT count(*) FROM provider_sync.{table} p WHERE org_id = $1 AND NOT EXISTS "
            f"(SELECT FROM analytics.{table} a WHERE a.org_id = $1 AND a.{key} = p.id)",
            org_id,
        )
        doubled += await connection.fetchval(
            f"SELECT count(*) FROM analytics.{table} a WHERE org_id = $1 AND NOT EXISTS "
            f"(SELECT FROM provider_sync.{table} p WHERE p.org_id = $1 AND p.id = a.{key})",
            org_id,
        )
    breaks = 0
    for table, key in (("messages", "message_id"), ("engagements", "engagement_id"), ("campaigns", "campaign_id")):
        breaks += await connection.fetchval(
            f"SELECT count(*) FROM (SELECT (data->>'{key}')::uuid AS id, max(version) AS version FROM analytics.facts "
            f"WHERE org_id = $1 AND type LIKE '{table[:-1]}.recorded.%' GROUP BY 1) f "
            f"LEFT JOIN analytics.{table} p ON p.org_id = $1 AND p.{key} = f.id WHERE p.revision IS DISTINCT FROM f.version",
            org_id,
        )
    return lost, doubled, breaks


async def until_answered(call: Any, seconds: float = 30) -> Any:
    """Companies reach provider_sync as events: what is refused in the first moments is asked again."""
    from libs.client.client import ApiProblem

    deadline = time.monotonic() + seconds
    while True:
        try:
            return await call()
        except ApiProblem as problem:
            if problem.status not in (422, 503) or time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)


async def until(condition: Any, seconds: float, what: str, *, every: float = 0.2) -> None:
    """Wait for a condition; an answer that does not come (a service is away) is no answer.

    Raises:
        NotDrained: it did not hold in time.
    """
    import httpx

    from libs.client.client import ApiProblem

    deadline = time.monotonic() + seconds
    while True:
        try:
            if await condition():
                return
        except (ApiProblem, httpx.HTTPError):
            pass
        if time.monotonic() > deadline:
            raise NotDrained(f"not within {seconds:.0f} s: {what}")
        await asyncio.sleep(every)
