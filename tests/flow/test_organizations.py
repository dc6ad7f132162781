"""Organizations that end while their webhooks stream (F43): suspended ones lose nothing, of erased ones nothing is left and
nothing comes back, and the neighbour notices neither."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import pytest

from libs.contracts.envelope import Envelope
from libs.contracts.event import registry
from libs.database.names import SERVICES, process_name
from libs.ids import OrgId, parse_public_id
from libs.messaging import outbox, topology
from libs.providers.simulation import PostKind
from libs.providers.smartlead.simulator import SmartleadSimulator
from libs.providers.smartlead.simulator.journal import Happened
from tests.fixtures.database import MigratedDatabase
from tests.flow.running import running
from tests.integration.libs.database.tables import tables
from tests.integration.libs.messaging.house import until
from tests.integration.services.provider_sync.stage import rows_of
from tests.security.matrix.seeding import Providers, people_called
from tests.security.stack import Stack, opened

POSTS = 45
PATIENCE_SECONDS = 60
TOMBSTONES = {f"{service}.org_states" for service in SERVICES}
# What may still name an erased organization, besides: what the platform wrote down about its own acts, and their events.
OF_THE_PLATFORM = {"gateway.erasures", "gateway.audit_log", "gateway.inbox", *(f"{one}.outbox" for one in SERVICES)}


@dataclass
class Tenant:
    """`canary` is in every name, address and text of it."""

    canary: str
    id: str
    key: str
    simulator: SmartleadSimulator
    bodies: list[bytes] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)

    @property
    def org_id(self) -> OrgId:
        return OrgId(parse_public_id("org", self.id))

    @property
    def happened(self) -> set[str]:
        journal = self.simulator.journal
        kinds = (Happened.SENT, Happened.REPLIED, Happened.UNTRACKED_REPLY)
        return set().union(*(journal.message_keys(one) for one in kinds))


class House:
    def __init__(self, stack: Stack, admin: asyncpg.Connection) -> None:
        self.stack = stack
        self.admin = admin
        self.providers = Providers(stack.network)
        self.told: list[Envelope] = []  # every event that any service put into its outbox

    async def asked(self, method: str, path: str, key: str, body: Any = None, **more: Any) -> Any:
        answer = await self.stack.ask(method, path, key, json=body, **more)
        assert answer.status_code < 300, (path, answer.text)
        return answer.json()

    async def found(self, canary: str) -> Tenant:
        """An organization with an account that its provider posts for."""
        platform = self.stack.platform_key
        org = (await self.asked("POST", "/v1/organizations", platform, {"name": f"{canary} agency"}))["id"]
        wanted = {"name": f"{canary} key", "role": "org_admin"}
        key = (await self.asked("POST", "/v1/api-keys", platform, wanted, org=org))["key"]
        company = (await self.asked("POST", "/v1/companies", key, {"name": f"{canary} bakery"}))["id"]
        tenant = Tenant(canary, org, key, self.providers.open("smartlead", canary))
        body = self.providers.account("smartlead", canary, company)

        async def is_open() -> bool:  # the company reaches provider_sync as an event
            return (await self.stack.ask("POST", "/v1/provider-accounts", key, json=body)).status_code < 300

        await until(is_open, seconds=PATIENCE_SECONDS)

        async def is_registered() -> bool:
            return bool(tenant.simulator.account.registrations)

        await until(is_registered, seconds=PATIENCE_SECONDS)
        with people_called(canary):
            plan = tenant.simulator.deliveries(POSTS, duplicates=0, shuffle=False)
        tenant.bodies = [post.body for post in plan.of(PostKind.NORMAL)]
        return tenant

    async def post(self, tenant: Tenant, bodies: Sequence[bytes]) -> None:
        url = tenant.simulator.account.registrations[0].url
        for body in bodies:
            tenant.answers.append((await self.stack.post(url, body)).status_code)

    async def stand(self, tenant: Tenant, word: str) -> None:
        await self.asked(
            "POST", f"/v1/organizations/{tenant.id}/{word}", self.stack.platform_key, {"reason": "a drill"}
        )

    async def messages(self, tenant: Tenant) -> set[str]:
        rows = await rows_of(self.stack.databases["provider_sync"], tenant.org_id)
        return {row["key"] for row in rows["messages"] if row["direction"] is not None}

    async def ledger(self, tenant: Tenant, key: str | None = None) -> Any:
        org = None if key is None else tenant.id
        return await self.asked("GET", "/v1/analytics/ledger?settle_seconds=0", key or tenant.key, org=org)

    async def is_at_rest(self, tenant: Tenant, key: str | None = None) -> bool:
        """All that came to the door is accounted for, and nothing is on its way or to be done."""
        told = await self.ledger(tenant, key)
        return bool(
            told["balanced"]
            and told["door"]["accepted"] == tenant.answers.count(200)
            and told["door"]["on_the_way"] == 0
            and all(hop["on_the_way"] == hop["due"] == 0 for hop in told["data"])
        )

    async def owned(self, org_id: OrgId) -> set[str]:
        """The tables in which the org has rows."""
        sql = "SELECT EXISTS (SELECT FROM {} WHERE org_id = $1)"
        found = [table for table in await tables(self.admin) if table.is_tenants]
        return {str(table) for table in found if await self.admin.fetchval(sql.format(table), org_id)}

    async def see_nothing_of(self, tenant: Tenant) -> None:
        assert await self.holding([tenant.canary]) == set()
        assert await self.owned(tenant.org_id) == TOMBSTONES
        assert await self.holding([str(tenant.org_id), tenant.org_id.hex]) <= TOMBSTONES | OF_THE_PLATFORM

    async def contents(self, org_id: OrgId) -> dict[str, str]:
        """A hash per table of all that the org has, but for what is counted while somebody looks."""
        found = {}
        for table in await tables(self.admin):
            if table.is_tenants and table.name != "rate_buckets" and str(table) != "gateway.api_keys":
                sql = f"SELECT coalesce(string_agg(t::text, ' ' ORDER BY t::text), '') FROM {table} t WHERE org_id = $1"
                found[str(table)] = hashlib.sha256((await self.admin.fetchval(sql, org_id)).encode()).hexdigest()
        return found

    async def holding(self, words: Sequence[str]) -> set[str]:
        """The tables of any schema in which one of these words stands, in whichever column and spelling."""
        spelled = sorted({spelling for word in words for spelling in _spellings(word)})
        found = set()
        for table in await tables(self.admin):
            sql = f"SELECT EXISTS (SELECT FROM {table} t WHERE t::text ILIKE ANY($1::text[]))"
            if await self.admin.fetchval(sql, [f"%{one}%" for one in spelled]):
                found.add(str(table))
        return found


def _spellings(word: str) -> set[str]:
    """As text, within base64 at each of its three places (without what its neighbours decide), and of both the hex of a bytea."""
    raw = word.encode()
    spelled = {word}
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + raw).decode()
        first, last = (0, 2, 3)[shift], {0: None, 1: -3, 2: -2}[(shift + len(raw)) % 3]
        spelled.add(encoded[first:last])
    return spelled | {one.encode().hex() for one in spelled}


def test_a_word_is_found_in_every_spelling() -> None:
    for before in ("", "a", "ab", "abc"):
        for after in ("", "x", "xy"):
            text = f"{before}canaryword{after}".encode()
            shown = base64.b64encode(text).decode()
            for form in (text.decode(), text.hex(), shown, shown.encode().hex()):
                assert any(one in form for one in _spellings("canaryword")), form


@pytest.fixture(params=["in_process", "rabbitmq"])
async def house(
    request: pytest.FixtureRequest, migrated: MigratedDatabase, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[House]:
    amqp_url = None
    if request.param == "rabbitmq":
        amqp_url = request.getfixturevalue("rabbit_server").new_vhost()
        await topology.declare(amqp_url)
    async with _house(migrated, amqp_url, monkeypatch) as made:
        yield made


@asynccontextmanager
async def _house(
    migrated: MigratedDatabase, amqp_url: str | None, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[House]:
    admin = await asyncpg.connect(migrated.admin_url)
    insert = outbox.insert
    try:
        async with opened(migrated) as stack:
            made = House(stack, admin)

            async def noted(driver: Any, schema: str, envelopes: Sequence[Envelope]) -> None:
                made.told += envelopes
                await insert(driver, schema, envelopes)

            monkeypatch.setattr(outbox, "insert", noted)
            async with running(stack, amqp_url):
                yield made
    finally:
        await admin.close()


async def test_an_organization_erased_in_flight_is_gone_for_good_and_its_neighbour_whole(house: House) -> None:
    gone, other = await house.found("kanariegone"), await house.found("kanarieother")
    third = len(gone.bodies) // 3
    streaming = asyncio.create_task(house.post(other, other.bodies))
    await house.post(gone, gone.bodies[:third])

    async def is_applied() -> bool:
        return bool(await house.messages(gone))

    await until(is_applied, seconds=PATIENCE_SECONDS)
    held = await house.holding([gone.canary])
    assert {
        "webhook_ingest.deliveries",
        "provider_sync.messages",
        "provider_sync.leads",
        "gateway.organizations",
    } <= held
    await house.stand(gone, "suspend")
    await house.post(gone, gone.bodies[third : 2 * third])  # kept, and parked
    assert set(gone.answers) == {200}
    begun = await house.asked(
        "DELETE",
        f"/v1/organizations/{gone.id}",
        house.stack.platform_key,
        {"confirm": f"{gone.canary} agency", "reason": "a drill"},
    )
    await house.post(gone, gone.bodies[2 * third :])  # while it is being erased

    async def erasure() -> Any:
        return await house.asked("GET", f"/v1/organizations/{gone.id}/erasure", house.stack.platform_key)

    async def is_erased() -> bool:
        return bool((await erasure())["state"] == "completed")

    assert begun["state"] == "running"
    await until(is_erased, seconds=PATIENCE_SECONDS)
    await streaming
    await until(lambda: house.is_at_rest(other), seconds=PATIENCE_SECONDS)

    # The neighbour: every post taken, all that happened known, nothing unaccounted for.
    assert set(other.answers) == {200}
    assert await house.messages(other) == other.happened
    # Of the other nothing is left, in no table and no spelling; and all of it was counted.
    await house.see_nothing_of(gone)
    told = {one["service"]: one for one in (await erasure())["services"]}
    assert set(told) == {process_name(service) for service in SERVICES}
    assert told["webhook-ingest"]["tables"]["deliveries"] == gone.answers.count(200)
    assert told["provider-sync"]["tables"]["messages"] > 0
    assert told["gateway"]["tables"]["api_keys"] == 1
    assert set(gone.answers) <= {200, 404}  # and no post of it failed in any other way
    # The door does not know it any more.
    before = len(gone.answers)
    await house.post(gone, gone.bodies[:3])
    assert gone.answers[before:] == [404, 404, 404]

    # Whatever was told of it comes once more, to everybody who ever listened; and nothing of it comes back.
    theirs = await house.contents(other.org_id)
    late = [envelope for envelope in house.told if envelope.org_id == gone.org_id]
    assert len({envelope.type for envelope in late}) >= 12
    for processor in house.stack.processors:
        mine = [one for one in late if processor.queue in registry.types[one.type].heard_by]
        await processor.deliver(mine)
        await processor.defer(mine)
    await house.post(gone, gone.bodies)
    assert set(gone.answers[before:]) == {404}
    await house.see_nothing_of(gone)

    async def is_told() -> bool:
        return all(one["refused"] > 0 for one in (await erasure())["services"])

    await until(is_told, seconds=PATIENCE_SECONDS)
    assert await house.contents(other.org_id) == theirs
    log = await house.asked("GET", "/v1/audit-log", house.stack.platform_key)
    acts = [entry for entry in log["data"] if entry["object"] == gone.id]
    assert [entry["action"] for entry in acts][:2] == ["organization.erased", "organization.suspended"]
    assert acts[0]["details"] == {"reason": "a drill"}
    assert gone.canary not in str(log)


async def test_an_organization_suspended_in_flight_loses_nothing_and_is_asked_for_nothing(house: House) -> None:
    waiting, other = await house.found("kanariewaits"), await house.found("kanarieother")
    half = len(waiting.bodies) // 2
    streaming = asyncio.create_task(house.post(other, other.bodies))
    await house.post(waiting, waiting.bodies[:half])
    await house.stand(waiting, "suspend")
    await house.post(waiting, waiting.bodies[half : half + 5])  # while word of it is on its way: handled, or parked

    async def is_heard() -> bool:
        sql = "SELECT EXISTS (SELECT FROM provider_sync.org_states WHERE org_id = $1 AND state = 'suspended')"
        return bool(await house.admin.fetchval(sql, waiting.org_id))

    await until(is_heard, seconds=PATIENCE_SECONDS)
    rest = waiting.bodies[half + 5 :]
    await house.post(waiting, rest)
    await streaming

    staff = house.stack.platform_key
    await until(lambda: house.is_at_rest(other), seconds=PATIENCE_SECONDS)
    await until(lambda: house.is_at_rest(waiting, staff), seconds=PATIENCE_SECONDS)

    assert set(waiting.answers) == set(other.answers) == {200}
    assert await house.messages(other) == other.happened
    hops = {hop["queue"]: hop for hop in (await house.ledger(waiting, staff))["data"]}
    webhooks = hops["provider-sync.webhooks"]
    assert webhooks["parked"] >= len(rest) > 0
    assert webhooks["done"] + webhooks["parked"] == webhooks["sent"] == len(waiting.bodies)
    assert webhooks["dead"] == 0
    letters = await house.asked("GET", "/v1/dead-letters?state=parked&limit=100", staff, org=waiting.id)
    of_it = [one for one in letters["data"] if one["consumer"] == "provider-sync.webhooks"]
    assert {(one["error_class"], one["attempts"]) for one in of_it} == {("organization_suspended", 0)}
    assert len(of_it) == webhooks["parked"]
    asked = "SELECT count(*) FROM provider_sync.sync_jobs WHERE org_id = $1 AND state = 'running'"
    assert await house.admin.fetchval(asked, waiting.org_id) == 0
    refused = await house.stack.ask("GET", "/v1/me", waiting.key)
    assert (refused.status_code, refused.json()["code"]) == (403, "organization_suspended")

    await house.stand(waiting, "resume")

    async def is_served() -> bool:  # and counted: counts are told a moment after what they count
        hops = {hop["queue"]: hop for hop in (await house.ledger(waiting))["data"]}
        found = [hops["provider-sync.webhooks"][state] for state in ("done", "parked", "dead")]
        return found == [len(waiting.bodies), 0, 0] and await house.is_at_rest(waiting)

    await until(is_served, seconds=PATIENCE_SECONDS)
    assert await house.messages(waiting) == waiting.happened

    async def is_off_the_list() -> bool:
        return not (await house.asked("GET", "/v1/dead-letters", waiting.key))["data"]

    await until(is_off_the_list, seconds=PATIENCE_SECONDS)
