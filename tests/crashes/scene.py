"""Who lives in the house while it crashes: two agencies whose provider posts, and a workshop where everything else is tried."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import count
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import httpx

from libs.client.client import ApiProblem, OutriderClient
from libs.clock import now
from libs.ids import parse_public_id
from libs.providers.simulation import Plan, post_all
from libs.providers.smartlead.simulator import SmartleadSimulator, smartlead_app
from services.cli.demo.cast import Account
from services.cli.demo.story import serve
from tests.crashes.ground import CrashGround
from tests.faults.load import Load, until, until_answered

_FIRST_POSTS = 20
_TICK_SECONDS = 0.2
_numbers = count(1)
T = TypeVar("T")
# Answers what was not as it must be.
Check = Callable[[], Awaitable[list[str]]]


class Scene:
    def __init__(self, ground: CrashGround, load: Load) -> None:
        self.ground = ground
        self.load = load
        self.platform: OutriderClient
        self.workshop: OutriderClient  # another organization's, whose account nobody posts for
        self.workshop_org: UUID
        self.company: str
        self.tool: SmartleadSimulator
        self.tool_account: str
        self.api: Any
        self.api_url: str
        self.database: asyncpg.Connection

    async def open(self, stack: AsyncExitStack) -> None:
        await self.load.open(_FIRST_POSTS)
        await self.load.post()
        house = self.ground.house
        self.database = await asyncpg.connect(self.ground.dsn)
        stack.push_async_callback(self.database.close)
        self.tool = simulator()
        self.api = smartlead_app(self.tool)
        self.api_url = await serve(self.api, stack) + "/api/v1"
        self.platform = await stack.enter_async_context(OutriderClient(house.gateway_url, house.platform_key))
        org = await self.platform.create_organization(f"Workshop {next(_numbers)}", time_zone="UTC")
        staff = await stack.enter_async_context(OutriderClient(house.gateway_url, house.platform_key, org=org["id"]))
        key = await staff.create_api_key("crashes", role="org_admin")
        self.workshop = await stack.enter_async_context(OutriderClient(house.gateway_url, key["key"]))
        self.workshop_org = parse_public_id("org", org["id"])
        self.company = (await self.workshop.create_company("Bench"))["id"]
        self.tool_account = (await self.open_account(self.tool))["id"]
        ticking = asyncio.create_task(_tick(self.tool))
        stack.callback(ticking.cancel)

    async def open_account(self, simulated: SmartleadSimulator) -> dict[str, Any]:
        account: dict[str, Any] = await until_answered(
            lambda: self.workshop.create_provider_account(
                provider="smartlead",
                name="Smartlead",
                company_id=self.company,
                base_url=self.api_url,
                credentials={"api_key": simulated.api_key},
            )
        )
        return account

    async def post(self, posts: int, **plan: Any) -> None:
        """More happens at every account, and is posted until each post was answered 200."""
        async with asyncio.TaskGroup() as group:
            for account in self.load.accounts:
                group.create_task(_post_more(account, posts, **plan))

    async def sure(self, call: Callable[[], Awaitable[T]], seconds: float = 40) -> T:
        """Ask until somebody answers: a service that crashed is back in seconds."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                return await call()
            except ApiProblem as problem:
                if problem.status < 500 or time.monotonic() > deadline:
                    raise
            except httpx.HTTPError:
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(0.1)

    async def until(self, condition: Callable[[], Awaitable[bool]], what: str, seconds: float = 60) -> None:
        await until(condition, seconds, what, every=0.1)

    async def drained(self, seconds: float = 90) -> None:
        """Nothing waits anywhere, in the workshop neither."""

        async def settled() -> bool:
            ledger = await self.workshop.ledger(settle_seconds=0)
            return bool(ledger["balanced"]) and all(hop["on_the_way"] == hop["due"] == 0 for hop in ledger["data"])

        await self.load.drained(seconds)
        await until(settled, 60, "the workshop's ledger balances")

    async def count(self, sql: str, *arguments: Any) -> int:
        return int(await self.database.fetchval(sql, *arguments))


# Makes somebody pass a place, and answers how to see that its own work was done once.
Errand = Callable[[Scene], Awaitable[Check]]


def simulator() -> SmartleadSimulator:
    number = next(_numbers)
    return SmartleadSimulator(api_key=f"crash-{number}", seed=number)


async def _tick(simulated: SmartleadSimulator) -> None:
    """Its clock goes with ours: what was made so much before it was asked for is not taken for what was asked for."""
    while True:
        simulated.advance(max(timedelta(0), now() - simulated.now))
        await asyncio.sleep(_TICK_SECONDS)


async def _post_more(account: Account, posts: int, **plan: Any) -> None:
    known, journal = account.plan.posts, account.plan.journal
    planned = account.simulator.deliveries(posts, **({"seed": next(_numbers)} | plan))
    more = [replace(post, number=len(known) + place) for place, post in enumerate(planned.posts)]
    account.plan.posts = [*known, *more]
    await post_all(Plan(more, journal), account.url_for, concurrency=6, until_acknowledged=True, timeout_seconds=20)


@asynccontextmanager
async def played(ground: CrashGround) -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        scene = Scene(ground, Load(ground, stack))
        await scene.open(stack)
        yield scene
