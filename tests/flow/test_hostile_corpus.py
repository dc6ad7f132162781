"""Every provider's payloads at every other's door, cut anywhere, with any field gone or odd: each is answered 200 and kept
to the byte, and becomes only what the reading of the door's own provider makes of it, in the org of its endpoint.

Three orgs, one set of account ids: ours takes the hostile posts; the neighbour has facts under the very same derived ids
and hears nothing; the stranger's endpoints name accounts that its org does not have.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any
from uuid import UUID

import asyncpg
import orjson
import pytest
import structlog

from libs import clock
from libs.contracts.envelope import read as read_envelope
from libs.contracts.event import registry
from libs.contracts.events import WebhookReceivedV1
from libs.database.engine import Database
from libs.ids import AccountId, CompanyId, OrgId, new_id
from libs.messaging.work import Units
from libs.providers.fields import BELIEVED_AHEAD
from libs.providers.registry import PROVIDERS
from libs.providers.sightings import Reading
from services.provider_sync.domain.accounts import Account
from services.provider_sync.repository.accounts import (
    AccountRepository,
    CompanyRepository,
    Endpoint,
    EndpointRepository,
)
from tests.contract.providers.test_corpus import CASES, NOW
from tests.fixtures.database import MigratedDatabase
from tests.flow import hostile
from tests.flow.hostile import Hostile
from tests.integration.services.provider_sync.stage import TABLES, processor
from tests.integration.services.webhook_ingest.conftest import Door, Mailbox, mailbox

WEBHOOKS = "provider-sync.webhooks"
DONE = ("done", None)
WORKSPACE = "7"  # that of EmailBison's corpus; our account knows it, the neighbour's has not learnt it yet
AT_ONCE = 200  # posts on their way together, and webhooks in a batch
BOOKS = {
    "inbox",
    "failure_groups",
    "outbox",
    "ledger",
}  # what provider_sync keeps of an org even when it refuses all that comes

Posts = Iterable[tuple[Mailbox, Hostile]]


@pytest.fixture(autouse=True)
def _frozen() -> Iterator[None]:
    with clock.frozen(NOW):
        yield


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """A line for each of hundreds of thousands would bury what failed."""
    config = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**config)


@dataclass
class House:
    """The door and provider_sync on one database. `expected` is (org, account, table, key) of each row there should be."""

    door: Door
    sync: Database
    ours: dict[str, Mailbox]
    neighbours: dict[str, Mailbox]
    strangers: dict[str, Mailbox]
    companies: dict[OrgId, list[CompanyId]]
    expected: set[tuple[UUID, UUID, str, str]] = field(default_factory=set)
    outcomes: Counter[str] = field(default_factory=Counter)

    async def take(self, posts: Posts) -> None:
        """Post, look at what was kept, hand on what was published, look at what became of it."""
        rest = iter(posts)
        while group := list(islice(rest, 10 * AT_ONCE)):
            posted: dict[UUID, tuple[Mailbox, Hostile]] = {}
            for start in range(0, len(group), AT_ONCE):
                posted |= await self._post(group[start : start + AT_ONCE])
            await self._handed_on(posted, await self._kept(posted))

    async def _post(self, group: Sequence[tuple[Mailbox, Hostile]]) -> dict[UUID, tuple[Mailbox, Hostile]]:
        answers = await asyncio.gather(*(self.door.post(box, one.body) for box, one in group))
        refused = [
            f"{one} at {box.provider}" for (box, one), it in zip(group, answers, strict=True) if it.status != 200
        ]
        assert refused == []
        return {answer.delivery_id: what for answer, what in zip(answers, group, strict=True)}

    async def _kept(self, posted: dict[UUID, tuple[Mailbox, Hostile]]) -> set[UUID]:
        """Answers what was to be published."""
        rows = await self.door.rows(
            "SELECT id, org_id, endpoint_id, account_id, body, verdict FROM deliveries WHERE id = ANY($1::uuid[])",
            [*posted],
        )
        assert len(rows) == len(posted)
        for row in rows:
            box, one = posted[row["id"]]
            assert row["body"] == one.body, f"{one} at {box.provider}: other bytes"
            assert (row["org_id"], row["endpoint_id"], row["account_id"]) == (box.org_id, box.id, box.account_id)
            unfit = PROVIDERS[box.provider].webhooks.read_at_door(one.body).quarantine_reason is not None
            assert (row["verdict"] == "quarantined") == unfit, f"{one} at {box.provider}: {row['verdict']}"
            self.outcomes[row["verdict"]] += 1
        return {row["id"] for row in rows if row["verdict"] in ("accepted", "conflict")}

    async def _handed_on(self, posted: dict[UUID, tuple[Mailbox, Hostile]], published: set[UUID]) -> None:
        """As the relay does: what was handed over is deleted."""
        raw = await self.door.rows("DELETE FROM outbox WHERE type = 'webhook.received.v1' RETURNING envelope")
        envelopes = {one.id: one for one in (read_envelope(row["envelope"]) for row in raw)}
        assert envelopes.keys() == published
        readings: dict[UUID, Reading | None] = {}
        due: dict[UUID, tuple[str, str | None]] = {}
        for event_id, envelope in envelopes.items():
            box, one = posted[event_id]
            assert (envelope.binary, envelope.org_id) == (one.body, box.org_id), f"{one}: told otherwise"
            readings[event_id] = hostile.read(box.provider, one.body)
            due[event_id] = self._due(box, readings[event_id])
        # A batch is halved until each culprit stands alone: for the time it takes, only a few are mixed with the others.
        fine = [one for one in envelopes.values() if due[one.id] == DONE]
        poison = [one for one in envelopes.values() if due[one.id] != DONE]
        consumer = processor(self.sync, WEBHOOKS)
        fine, poison = fine + poison[:3], poison[3:]
        for group, size in ((fine, AT_ONCE), (poison, 1)):
            for start in range(0, len(group), size):
                await consumer.deliver(group[start : start + size])
        rows = await self._rows(
            "SELECT event_id, state, error_class, envelope FROM inbox WHERE consumer = $1 AND event_id = ANY($2::uuid[])",
            WEBHOOKS,
            [*envelopes],
        )
        assert len(rows) == len(envelopes)
        for row in rows:
            box, one = posted[row["event_id"]]
            reading = readings[row["event_id"]]
            assert (row["state"], row["error_class"]) == due[row["event_id"]], f"{one} at {box.provider}"
            if row["state"] == "dead":
                kept = registry.open(read_envelope(row["envelope"]))
                assert isinstance(kept, WebhookReceivedV1)
                assert kept.body == one.body, f"{one}: the dead letter has other bytes"
            elif reading is not None:
                stated = hostile.entities(box.provider, reading, box.account_id)
                self.expected |= {(box.org_id, box.account_id, *entity) for entity in stated}
            self.outcomes[f"{row['state']} {row['error_class'] or ''}".strip()] += 1
        await self._told_on({box.org_id for box, _ in posted.values()})

    async def _told_on(self, orgs: set[OrgId]) -> None:
        """What provider_sync tells is what its contracts promise, of the orgs that were posted to and their companies."""
        for row in await self._rows("DELETE FROM outbox RETURNING envelope"):
            envelope = read_envelope(row["envelope"])
            registry.open(envelope)
            assert envelope.org_id in orgs
            assert envelope.company_id in {None, *self.companies.get(envelope.org_id, [])}

    def _due(self, box: Mailbox, reading: Reading | None) -> tuple[str, str | None]:
        """The state in which a webhook ends, and why."""
        if box in self.strangers.values():
            return "dead", "tenant_mismatch"
        if reading is None:
            return "dead", "contract_violated"
        if box in self.ours.values() and reading.workspace_external_id not in (None, WORKSPACE):
            return "dead", "tenant_mismatch"
        return DONE

    async def facts(self) -> set[tuple[UUID, UUID, str, str]]:
        """All rows of all orgs; looks at their companies, and at the times that statements are ordered by, on the way."""
        found = set()
        latest = clock.rfc3339(NOW + BELIEVED_AHEAD)
        for table in (*TABLES, "unknown_webhooks", "sync_jobs"):
            key = {"campaigns": "external_id", "unknown_webhooks": "event_type"}.get(table, "key")
            for row in await self._rows(f"SELECT *, {key} AS name FROM {table}"):
                found.add((row["org_id"], row["account_id"], table, row["name"]))
                assert "company_id" not in row or row["company_id"] in self.companies[row["org_id"]]
                for at, *_ in orjson.loads(row.get("versions") or "{}").values():
                    # One that sorts after the present would win every merge to come.
                    assert "2000" < at <= latest, f"{table} {row['name']}: a statement of {at}"
        return found

    async def print_of(self, org: OrgId) -> dict[str, tuple[int, int]]:
        """Every table that has rows of this org: how many, and a sum that changes with any of them."""
        tables = await self._rows(
            "SELECT table_schema, table_name FROM information_schema.columns WHERE column_name = 'org_id' "
            "AND table_schema IN ('webhook_ingest', 'provider_sync')"
        )
        found = {}
        for schema, table in tables:
            (row,) = await self._rows(
                f"SELECT count(*), sum(hashtextextended(t::text, 0)) AS hash FROM {schema}.{table} t WHERE org_id = $1",
                org,
            )
            if row["count"]:
                found[f"{schema}.{table}"] = (row["count"], row["hash"])
        return found

    async def check(self, neighbour_before: dict[str, tuple[int, int]]) -> None:
        there = await self.facts()
        assert there - self.expected == set()
        assert self.expected - there == set()
        assert await self.print_of(self.neighbours["smartlead"].org_id) == neighbour_before
        of_stranger = await self.print_of(self.strangers["smartlead"].org_id)
        # A table in weeks is all of its parts: inbox_until_20261126.
        tables = {name.split("_until_")[0] for name in of_stranger}
        told = {name.removeprefix("provider_sync.") for name in tables if name.startswith("provider_sync.")}
        assert told <= BOOKS
        assert await self._rows("SELECT 1 FROM inbox WHERE state NOT IN ('done', 'dead')") == []

    async def _rows(self, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self.door.admin_url, server_settings={"search_path": "provider_sync"})
        try:
            return list(await connection.fetch(sql, *arguments))
        finally:
            await connection.close()


@pytest.fixture
async def house(
    migrated: MigratedDatabase,
    database: Callable[[str], Database],
    units: Callable[[str], Units],
    make_org: Callable[[], OrgId],
) -> AsyncIterator[House]:
    accounts = {provider: AccountId(new_id()) for provider in PROVIDERS}
    orgs = [make_org() for _ in range(3)]
    ours, neighbours, strangers = (
        {name: replace(mailbox(org, name), account_id=account) for name, account in accounts.items()} for org in orgs
    )
    companies = {org: [CompanyId(new_id()) for _ in range(3)] for org in orgs[:2]}
    for boxes in (ours, neighbours):
        await _settle(units("provider_sync"), boxes, companies)
    door = Door(database("webhook_ingest"), migrated.admin_url)
    await door.open(*ours.values(), *neighbours.values(), *strangers.values())
    one = House(door, database("provider_sync"), ours, neighbours, strangers, companies)
    # The neighbour's facts, under the ids that ours will have.
    await one.take((neighbours[body.provider], body) for body in hostile.whole())
    one.outcomes.clear()
    async with units("provider_sync").begin(orgs[0]) as work:
        await AccountRepository(work.session).learn_workspace(accounts["emailbison"], WORKSPACE)
    yield one
    await door.committer.close()


async def _settle(units: Units, boxes: dict[str, Mailbox], companies: dict[OrgId, list[CompanyId]]) -> None:
    org = boxes["smartlead"].org_id
    default, first, second = companies[org]
    async with units.begin(org) as work:
        await CompanyRepository(work.session).keep({default: "Default", first: "First", second: "Second"})
        for provider, box in boxes.items():
            account = Account(
                id=AccountId(box.account_id),
                provider=provider,
                channel=PROVIDERS[provider].channel,
                company_id=default,
                clients={"111": first, "222": second},
            )
            await AccountRepository(work.session).insert(account, name=provider, credentials=b"sealed")
            endpoint = Endpoint(box.id, account.id, "registered", b"sealed", box.id)
            await EndpointRepository(work.session).insert(endpoint, token_sha256="0" * 64, last4="last")


async def test_whole_payloads_at_every_door(house: House) -> None:
    before = await house.print_of(house.neighbours["smartlead"].org_id)

    await house.take((box, one) for one in hostile.whole() for box in house.ours.values())
    await house.take((box, one) for one in islice(hostile.whole(), 0, None, 10) for box in house.strangers.values())

    await house.check(before)
    assert min(house.outcomes[word] for word in ("done", "dead contract_violated", "dead tenant_mismatch")) > 20


async def test_payloads_cut_off_at_every_door(house: House) -> None:
    before = await house.print_of(house.neighbours["smartlead"].org_id)
    cuts = [one for source in hostile.whole() for one in hostile.cut(source, hostile.telling_sizes(source.body))]

    await house.take((box, one) for one in cuts for box in house.ours.values())

    await house.check(before)
    assert {*house.outcomes} == {"quarantined"}


async def test_payloads_with_an_odd_field(house: House) -> None:
    before = await house.print_of(house.neighbours["smartlead"].org_id)
    dice = random.Random(1)
    others = {of: [box for name, box in house.ours.items() if name != of] for of in house.ours}

    await house.take(
        (box, one)
        for one in hostile.odd_sampled()
        for box in (house.ours[one.provider], dice.choice(others[one.provider]))
    )

    await house.check(before)
    assert house.outcomes["done"] > 1000


@pytest.mark.heavy
def test_no_reading_ends_in_anything_but_facts_or_a_refusal() -> None:
    """Every cut and every odd field, at every door."""
    wrong: dict[str, str] = {}
    cases: Counter[str] = Counter()
    for one in _everything():
        for door in PROVIDERS:
            cases["cut" if " cut to " in one.how else "odd"] += 1
            try:
                _holds(door, one)
            except Exception as error:  # noqa: BLE001 - each kind is told once, with the first that shows it
                wrong.setdefault(f"{door}: {type(error).__name__}: {error}", str(one))
    print(f"\n{cases.total()} cases: {dict(cases)}")  # noqa: T201
    assert wrong == {}
    assert cases["cut"] > 500_000
    assert cases["odd"] > 500_000


@pytest.mark.heavy
async def test_nothing_of_it_is_lost_or_gets_to_another(house: House) -> None:
    """The same through the house."""
    before = await house.print_of(house.neighbours["smartlead"].org_id)

    await house.take(_sifted(house))

    print(f"\n{dict(house.outcomes)}")  # noqa: T201
    await house.check(before)


def _everything() -> Iterator[Hostile]:
    for source in hostile.whole():
        yield from hostile.cut(source, range(len(source.body)))
    for name in CASES:
        yield from hostile.odd_everywhere(*name)


def _holds(door: str, one: Hostile) -> None:
    at_door, reading = PROVIDERS[door].webhooks.read_at_door(one.body), hostile.read(door, one.body)
    unfit = at_door.quarantine_reason is not None
    assert (at_door.dedupe_key is None) == (at_door.event_type is None) == unfit, "half a door's reading"
    assert reading is None or not unfit, "quarantined, and read"
    if " cut to " in one.how:
        assert unfit, "half a payload is taken"
    for text in hostile.texts(reading):
        assert "\0" not in text, "NUL"
        text.encode()


def _sifted(house: House) -> Iterator[tuple[Mailbox, Hostile]]:
    """Every cut at every door; every field removed and retyped at every other provider's door, and at its own with each
    odd value. Of what the own reading refuses, a field has one: a refusal is a transaction of its own."""
    for source in hostile.whole():
        for one in hostile.cut(source, range(len(source.body))):
            yield from ((box, one) for box in house.ours.values())
    for provider, name in CASES:
        others = [box for box in house.ours.values() if box.provider != provider]
        for one in hostile.odd_everywhere(provider, name, hostile.REMOVED_OR_RETYPED):
            yield from ((box, one) for box in others)
        refused: set[str] = set()
        for one in hostile.odd_everywhere(provider, name):
            field_name = one.how.split(" ")[0]
            if hostile.read(provider, one.body) is None:
                if field_name in refused:
                    continue
                refused.add(field_name)
            yield house.ours[provider], one
