"""Endpoints from the API to the rows: rotated under load, and posted to by somebody who has captured what was posted."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
import structlog

from libs import clock
from libs.ids import OrgId, parse_public_id
from libs.providers.emailbison.simulator import EmailBisonSimulator, emailbison_app
from libs.providers.heyreach.simulator import HeyReachSimulator, heyreach_app
from libs.providers.simulation import PostKind
from libs.providers.smartlead.simulator import SmartleadSimulator, smartlead_app
from libs.providers.smartlead.simulator.journal import Happened
from services.webhook_ingest.front import Front
from tests.fixtures.database import MigratedDatabase
from tests.flow.test_order import projections_of
from tests.integration.services.provider_sync.stage import rows_of
from tests.security.stack import WAITING_JOBS, Stack, opened

DAY = timedelta(days=1)
PLAYED: dict[str, tuple[Any, Any, str]] = {
    "smartlead": (SmartleadSimulator, smartlead_app, "/api/v1"),
    "heyreach": (HeyReachSimulator, heyreach_app, "/api/public"),
    "emailbison": (EmailBisonSimulator, emailbison_app, ""),
}


@dataclass
class Tenant:
    """An organization with one company, and an account at each of its providers."""

    id: str
    key: str
    company: str
    simulators: dict[str, Any] = field(default_factory=dict)
    endpoints: dict[str, str] = field(default_factory=dict)

    @property
    def org_id(self) -> OrgId:
        return OrgId(parse_public_id("org", self.id))

    def urls(self, provider: str) -> list[str]:
        """Where the provider posts, as it was told."""
        return list(dict.fromkeys(one.url for one in self.simulators[provider].account.registrations))


@dataclass
class House:
    stack: Stack
    admin: asyncpg.Connection

    async def asked(self, method: str, path: str, key: str, body: Any = None, **more: Any) -> Any:
        answer = await self.stack.ask(method, path, key, json=body, **more)
        assert answer.status_code < 300, (path, answer.text)
        return answer.json()

    async def tenant(self, *providers: str, seed: int) -> Tenant:
        platform = self.stack.platform_key
        org = (await self.asked("POST", "/v1/organizations", platform, {"name": f"Agency {seed}"}))["id"]
        admin = {"name": "admin", "role": "org_admin"}
        key = (await self.asked("POST", "/v1/api-keys", platform, admin, org=org))["key"]
        company = (await self.asked("POST", "/v1/companies", key, {"name": "Bakery"}))["id"]
        tenant = Tenant(org, key, company)
        await self.stack.settle()
        for provider in providers:
            simulator, app, path = PLAYED[provider]
            played = tenant.simulators[provider] = simulator(seed=seed)
            account = {
                "provider": provider,
                "name": provider,
                "company_id": company,
                "base_url": self.stack.network.serve(app(played)) + path,
                "credentials": {"api_key": played.api_key},
            }
            opened = await self.asked("POST", "/v1/provider-accounts", key, account)
            tenant.endpoints[provider] = opened["webhook_endpoint"]["id"]
        await self.stack.settle()
        assert all(len(tenant.urls(provider)) == 1 for provider in providers)
        return tenant

    async def endpoint(self, tenant: Tenant, provider: str) -> Any:
        return await self.asked("GET", f"/v1/webhook-endpoints/{tenant.endpoints[provider]}", tenant.key)

    async def post(self, url: str, body: bytes) -> httpx.Response:
        return await self.stack.post(url, body)

    async def work(self, moment: datetime) -> None:
        """Everything that waits for a time is due, and looks at a clock that shows this one; the door looks, too."""
        with clock.frozen(moment):
            while await self.admin.fetchval(
                f"SELECT EXISTS (SELECT FROM provider_sync.sync_jobs WHERE {WAITING_JOBS})"
            ):
                await self.admin.execute("DELETE FROM provider_sync.account_budgets")  # a minute has passed, too
                await self.admin.execute(f"UPDATE provider_sync.sync_jobs SET due_at = now() WHERE {WAITING_JOBS}")
                await self.stack.settle()
            await self.stack.settle()
        door = self.stack.services["webhook_ingest"].app
        assert isinstance(door, Front)
        await door._endpoints.refresh()

    async def verdicts(self, tenant: Tenant) -> Counter[str]:
        rows = await self.admin.fetch(
            "SELECT concat_ws(' ', verdict, quarantine_reason) AS verdict FROM webhook_ingest.deliveries WHERE org_id = $1",
            tenant.org_id,
        )
        return Counter(row["verdict"] for row in rows)

    async def state(self, tenant: Tenant) -> dict[str, Any]:
        """Without `versions`: when a provider was last looked at is no state of what it said."""
        model = await rows_of(self.stack.databases["provider_sync"], tenant.org_id)
        return {
            "model": {
                table: [{name: value for name, value in row.items() if name != "versions"} for row in rows]
                for table, rows in model.items()
            },
            "projections": await projections_of(self.stack.databases["analytics"], tenant.org_id),
        }

    async def message_keys(self, tenant: Tenant) -> set[str]:
        rows = await rows_of(self.stack.databases["provider_sync"], tenant.org_id)
        return {row["key"] for row in rows["messages"]}


@asynccontextmanager
async def opened_house(migrated: MigratedDatabase) -> AsyncIterator[House]:
    async with opened(migrated) as stack:
        admin = await asyncpg.connect(migrated.admin_url)
        try:
            yield House(stack, admin)
        finally:
            await admin.close()


@pytest.fixture
async def house(migrated: MigratedDatabase) -> AsyncIterator[House]:
    async with opened_house(migrated) as one:
        yield one


def happened(simulator: Any) -> set[str]:
    kinds = (Happened.SENT, Happened.REPLIED, Happened.UNTRACKED_REPLY)
    return set().union(*map(simulator.journal.message_keys, kinds))


async def test_a_rotation_under_load_refuses_nothing_and_the_old_address_dies(house: House) -> None:
    """The provider posts all the time, to whatever addresses it knows; some posts it repeats to the address of before."""
    ours, theirs = await house.tenant("smartlead", seed=3), await house.tenant("smartlead", seed=4)
    simulator = ours.simulators["smartlead"]
    bodies = [post.body for post in simulator.deliveries(120, duplicates=0).of(PostKind.NORMAL)]
    (old,) = ours.urls("smartlead")
    neighbours = [post.body for post in theirs.simulators["smartlead"].deliveries(20, duplicates=0).of(PostKind.NORMAL)]
    unanswered, rest = bodies[:15], iter(bodies[15:])
    answers: Counter[int] = Counter()
    posted: Counter[str] = Counter()
    is_over = asyncio.Event()

    async def provider() -> None:
        while (body := next(rest, None)) is not None:
            for url in ours.urls("smartlead"):
                posted[url] += 1
                answers[(await house.post(url, body)).status_code] += 1
            if len(ours.urls("smartlead")) == 1 and posted[old] >= 30:
                await is_over.wait()  # the last third comes once both addresses are known

    async def rotation() -> None:
        started = await house.asked(
            "POST", f"/v1/webhook-endpoints/{ours.endpoints['smartlead']}/rotations", ours.key, {}
        )
        assert [token["state"] for token in started["tokens"]] == ["newest", "overlapping"]
        await house.stack.settle()
        is_over.set()

    with structlog.testing.capture_logs() as logs:
        await asyncio.gather(
            provider(), rotation(), *(house.post(theirs.urls("smartlead")[0], one) for one in neighbours)
        )
    registered = datetime.now(UTC)
    _, new = ours.urls("smartlead")
    for body in unanswered:  # retries, late by a day or so
        answers[(await house.post(old, body)).status_code] += 1
    await house.stack.settle()

    assert set(answers) == {200}
    assert posted[old] == 105
    assert posted[new] > 50
    assert await house.message_keys(ours) == happened(simulator)
    assert (await house.verdicts(ours)).keys() <= {"accepted", "duplicate"}
    shown = await house.endpoint(ours, "smartlead")
    assert [token["state"] for token in shown["tokens"]] == ["newest", "overlapping"]

    await house.work(registered + 9 * DAY)  # a day after the last use, two after the overlap
    assert ours.urls("smartlead") == [new], "the provider has forgotten the old one"
    before = await house.state(ours)
    with clock.frozen(registered + 10 * DAY):
        late = await house.post(old, bodies[0])
        good = await house.post(new, bodies[0])
        await house.stack.settle()
    assert (late.status_code, good.status_code) == (200, 200)
    assert (await house.verdicts(ours))["quarantined token_ended"] == 1
    assert await house.state(ours) == before
    late_id = late.headers["x-request-id"].replace("req_", "dlv_")
    released = await house.asked("POST", "/v1/deliveries/releases", ours.key, {"delivery_ids": [late_id]})
    assert [one["verdict"] for one in released["data"]] == ["duplicate"]
    with clock.frozen(registered + 50 * DAY):
        dead = await house.post(old, bodies[0])
        alive = await house.post(new, bodies[0])
    assert (dead.status_code, alive.status_code) == (404, 200)
    tokens = [url.rsplit("/", 1)[1].split("_", 1)[1] for url in (old, new)]
    assert not [line for line in logs if any(token in str(line) for token in tokens)]
    ledger = await house.asked("GET", "/v1/analytics/ledger", ours.key)
    assert ledger["unaccounted"] == 0
    assert len(theirs.urls("smartlead")) == 1
    assert await house.message_keys(theirs) == happened(theirs.simulators["smartlead"])


async def test_what_was_captured_and_is_posted_again_changes_nothing_however_late(house: House) -> None:
    """Without signatures this is the only defence: what tells a repetition lives as long as the data."""
    ours, theirs = [await house.tenant(*PLAYED, seed=seed) for seed in (5, 6)]
    captured = {
        provider: [post.body for post in ours.simulators[provider].deliveries(40, duplicates=0).of(PostKind.NORMAL)]
        for provider in PLAYED
    }
    urls = {provider: ours.urls(provider)[0] for provider in PLAYED}
    for provider, bodies in captured.items():
        for body in bodies:
            assert (await house.post(urls[provider], body)).status_code == 200
    await house.stack.settle()
    told = datetime.now(UTC)
    before, neighbours = await house.state(ours), await house.state(theirs)
    assert all(before["projections"][table] for table in ("campaigns", "messages", "engagements"))

    for later in (timedelta(seconds=1), DAY, 60 * DAY):
        with clock.frozen(told + later):
            answers = [
                (await house.post(urls[provider], body)).status_code
                for provider, bodies in captured.items()
                for body in reversed(bodies)
            ]
        await house.work(told + later)
        assert set(answers) == {200}
        assert await house.state(ours) == before, f"after {later}"

    assert await house.state(theirs) == neighbours
    verdicts = await house.verdicts(ours)
    assert verdicts["duplicate"] >= 3 * sum(map(len, captured.values())) * 0.8, "few types have nothing to be told by"
