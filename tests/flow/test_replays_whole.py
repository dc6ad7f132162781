"""Replays of a whole house: a dry run of a thousand mixed letters tells what then happens, and all of it done twice more
changes no row and asks no provider for anything.

Letters are made of what really came: what the door published, and what services asked each other for, is dead before anybody
has looked at it, as if a bug of ours had met it first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from libs.clock import now
from libs.contracts.envelope import read as read_envelope
from libs.contracts.event import seal
from libs.contracts.events import OrganizationCreatedV1, RepairRequestedV1, SnapshotRequestedV1, WebhookReceivedV1
from libs.database.names import process_name
from libs.ids import OrgId, new_id, parse_public_id
from libs.messaging import dry_run
from libs.messaging.replaying import Replays
from tests.fixtures.database import MigratedDatabase
from tests.flow.test_webhook_endpoints import House, Tenant, opened_house
from tests.security.stack import settle_ahead

PROVIDERS = ("smartlead", "heyreach", "emailbison")
# How work is handed on, and what tells of the handling itself: no state of what was told.
MACHINERY = {
    "inbox",
    "outbox",
    "ledger",
    "org_states",
    "failure_groups",
    "replay_plans",
    "replay_blocks",
    "replay_items",
}
# Counts of the handling, who asked (log, rates, a key's last use), and what the gateway shows of letters.
OF_THE_HANDLING = {
    "analytics": {"ledger_counts", "freshness"},
    "gateway": {"audit_log", "audit_heads", "rate_buckets", "api_keys", "dead_letters"},
}


@pytest.fixture
async def house(migrated: MigratedDatabase) -> AsyncIterator[House]:
    async with opened_house(migrated) as one:
        yield one


class Replaying:
    """The replays of one service over the API. Nothing but they and what they release moves."""

    def __init__(self, house: House, tenant: Tenant, service: str) -> None:
        self.house, self.tenant, self.service = house, tenant, service
        process = process_name(service)
        self.processors = {one.queue: one for one in house.stack.processors if one.source == process}
        effects = house.stack.services[service].effect_tables
        self._replays = Replays(house.stack.databases[service], process, self.processors, effect_tables=effects)

    async def asked(self, method: str, path: str, body: Any = None) -> Any:
        return await self.house.asked(method, path, self.tenant.key, body)

    async def tried(self) -> dict[str, Any] | None:
        """A plan of all letters after its dry run; None when there are none."""
        body = {
            "service": process_name(self.service), "everything": True, "rate": 2000.0, "account_rate": 2000.0,
            "canary": 1, "ramp_seconds": 0.0, "stop_failures": 1_000_000, "stop_ratio": 1.0,
        }  # fmt: skip
        answer = await self.house.stack.ask("POST", "/v1/replays", self.tenant.key, json=body)
        if answer.status_code == 404:
            return None
        plan = answer.json()
        await self.asked("POST", f"/v1/replays/{plan['id']}/dry-run")
        await self._replays.run_due()
        return dict(await self.asked("GET", f"/v1/replays/{plan['id']}"))

    async def applied(self, plan: dict[str, Any]) -> dict[str, Any]:
        """To its end; a canary that fails again is passed over."""
        path = f"/v1/replays/{plan['id']}"
        await self.asked("POST", f"{path}/apply", {"hash": plan["hash"], "reason": "mended"})
        while (shown := await self.asked("GET", path))["state"] != "completed":
            if shown["state"] == "stopped":
                await self.asked("POST", f"{path}/resume")
            await self._replays.run_due()
            for processor in self.processors.values():
                while await processor.run_due():
                    pass
        return dict(shown)

    async def rows(self) -> dict[str, dict[bytes, dict[str, Any]]]:
        """Every row of the tenant, by table and key, without the machinery."""
        return await rows_of(self.house, self.service, self.tenant.org_id)


async def rows_of(house: House, service: str, org: OrgId) -> dict[str, dict[bytes, dict[str, Any]]]:
    tables = await house.admin.fetch(
        "SELECT c.relname AS name, array(SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid "
        "AND a.attnum = ANY(i.indkey) WHERE i.indisprimary AND i.indrelid = c.oid ORDER BY a.attnum)::text[] AS key "
        "FROM pg_class c JOIN pg_attribute o ON o.attrelid = c.oid AND o.attname = 'org_id' "
        "WHERE c.relnamespace = $1::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition",
        service,
    )
    found = {}
    for table in tables:
        if table["name"] in MACHINERY:
            continue
        rows = await house.admin.fetch(
            f"SELECT to_jsonb(t)::text AS row FROM {service}.{table['name']} t WHERE org_id = $1", org
        )
        whole = [orjson.loads(row["row"]) for row in rows]
        found[table["name"]] = {
            orjson.dumps(
                {name: one[name] for name in table["key"] if name != "org_id"}, option=orjson.OPT_SORT_KEYS
            ): one
            for one in whole
        }
    return found


def differences(before: Any, after: Any) -> dict[tuple[str, bytes], tuple[str, tuple[str, ...]]]:
    """(table, key) -> what became of the row, and which of its fields are others."""
    found: dict[tuple[str, bytes], tuple[str, tuple[str, ...]]] = {}
    for table in after:
        for key, row in after[table].items():
            was = before[table].get(key)
            if was is None:
                found[table, key] = ("inserted", ())
            elif fields := tuple(sorted(name for name in row if row[name] != was[name])):
                found[table, key] = ("updated", fields)
        for key in before[table].keys() - after[table].keys():
            found[table, key] = ("deleted", ())
    return found


async def bury(house: House, service: str, *, most: int = 1_000_000) -> int:
    """What waits for this service is dead, as if a bug of ours had met it, and `most` of it is kept; answers how many."""
    await house.stack.transport.relay(house.stack.databases["webhook_ingest"], 5000)
    done = await house.admin.execute(
        f"UPDATE {service}.inbox SET state = 'dead', due_at = NULL, attempts = 1, error_class = 'KeyError', reason = 'x', "
        "fingerprint = 'f' WHERE state = 'due'"
    )
    surplus = int(done.rsplit(" ", 1)[-1]) - most
    dropped = await house.admin.execute(
        f"DELETE FROM {service}.inbox WHERE event_id IN (SELECT event_id FROM {service}.inbox "
        "WHERE state = 'dead' AND consumer = 'provider-sync.webhooks' ORDER BY md5(event_id::text) LIMIT $1)",
        max(surplus, 0),
    )
    return surplus + most - int(dropped.rsplit(" ", 1)[-1])


async def post(house: House, tenant: Tenant, count: int, *, poison: int = 0) -> None:
    for provider in PROVIDERS:
        plan = tenant.simulators[provider].deliveries(count, duplicates=0.1, poison=poison, unknown=poison)
        (url,) = tenant.urls(provider)
        for one in plan.to_send():
            answer = await house.post(url, one.body)
            assert answer.status_code == 200


async def replay_deliveries(house: House, tenant: Tenant) -> int:
    told = 0
    for provider in PROVIDERS:
        body = {"endpoint_id": tenant.endpoints[provider], "reason": "all of it again", "max": 500}
        while True:
            answer = await house.asked("POST", "/v1/deliveries/replays", tenant.key, body)
            told += len(answer["delivery_ids"])
            if not answer["has_more"]:
                break
            body["after"] = answer["next_after"]
    return told


async def ask_between_services(house: House, tenant: Tenant) -> None:
    """What others ask provider_sync for, of accounts that are there and of one that is not."""
    queues = {one.queue: one for one in house.stack.processors}
    accounts = (await house.asked("GET", "/v1/provider-accounts", tenant.key))["data"]
    ids = [parse_public_id("acc", one["id"]) for one in accounts] * 8
    wanted: dict[str, list[Any]] = {
        "provider-sync.snapshots": [
            SnapshotRequestedV1(run_id=new_id(), pass_number=1, account_id=account, campaign_id=None)
            for account in [*ids, *ids[:3], new_id()]
        ],
        "provider-sync.repairs": [
            RepairRequestedV1(
                run_id=new_id(), pass_number=1, account_id=account, campaign_id=new_id(), campaign_external_id="1",
                lead_keys=("a", "b"),
            )
            for account in [*ids, new_id()]
        ],
        "provider-sync.webhooks": [
            WebhookReceivedV1(delivery_id=new_id(), provider="smartlead", account_id=new_id(), endpoint_id=new_id(),
                              received_at=now(), body=b"{}")
            for _ in range(5)
        ],
        "provider-sync.tenants": [
            OrganizationCreatedV1(organization_id=tenant.org_id, name="The same again", time_zone="UTC")
        ],
    }  # fmt: skip
    for queue, events in wanted.items():
        await queues[queue].defer([seal(one, source=one.publisher, org_id=tenant.org_id) for one in events])


@pytest.mark.heavy
async def test_a_dry_run_of_a_thousand_mixed_letters_tells_what_then_happens(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_SHOWN_CHANGES", "_SHOWN_SUBJECTS"):
        monkeypatch.setattr(dry_run, name, 100_000)
    monkeypatch.setattr(dry_run, "MOST_SECONDS", 300.0)
    ours, theirs = await house.tenant(*PROVIDERS, seed=1), await house.tenant("smartlead", seed=2)
    replaying = Replaying(house, ours, "provider_sync")
    await post(house, ours, 120)  # handled: much of what comes is known
    await house.stack.settle()
    await replay_deliveries(house, ours)  # of what is known, all is told again
    await post(house, ours, 260, poison=8)
    await ask_between_services(house, ours)
    assert await bury(house, "provider_sync", most=1000) == 1000
    others = await rows_of(house, "provider_sync", theirs.org_id)
    before = await replaying.rows()

    plan = await replaying.tried()

    assert plan is not None
    tried = plan["dry_run"]
    assert tried["error"] is None
    assert (tried["of"], tried["covered"]) == (1000, 1000)
    assert await replaying.rows() == before
    kinds = await house.admin.fetch("SELECT DISTINCT consumer FROM provider_sync.inbox WHERE state = 'dead'")
    assert len(kinds) == 4
    ended = await replaying.applied(plan)

    assert (ended["done"], ended["failed"], ended["skipped"]) == (tried["would_succeed"], tried["would_fail"], 0)
    assert tried["would_fail"] > 20
    failed = await house.admin.fetch(
        "SELECT error_class, reason, count(*) AS n FROM provider_sync.inbox WHERE state = 'dead' GROUP BY 1, 2"
    )
    by_cause: Counter[tuple[str, str]] = Counter()
    for one in tried["failures"]:
        by_cause[one["error_class"], one["reason"]] += one["letters"]
    assert {(row["error_class"], row["reason"]): row["n"] for row in failed} == by_cause
    really = differences(before, await replaying.rows())
    shown = {
        (one["table"], orjson.dumps(one["key"], option=orjson.OPT_SORT_KEYS)): (one["kind"], tuple(one["fields"]))
        for one in tried["changes"]
    }
    assert by_natural_key(shown) == by_natural_key(really)
    assert len(shown) > 700
    counted = {row["table"]: (row["inserted"], row["updated"], row["deleted"]) for row in tried["rows"]}
    of_tables = Counter((table, what) for (table, _), (what, _) in really.items())
    assert counted == {
        table: tuple(of_tables[table, what] for what in ("inserted", "updated", "deleted")) for table in counted
    }
    suppressed = {one["table"]: one["rows"] for one in tried["effects_suppressed"]}
    assert suppressed == {"sync_jobs": of_tables["sync_jobs", "inserted"] + of_tables["sync_jobs", "updated"]}
    told = await house.admin.fetch("SELECT envelope FROM provider_sync.outbox WHERE org_id = $1", ours.org_id)
    facts = [read_envelope(row["envelope"]) for row in told]
    assert {(one.type, one.subject) for one in facts if one.type.endswith(".recorded.v1")} == {
        (one["type"], subject) for one in tried["events"] for subject in one["subjects"]
    }
    assert await rows_of(house, "provider_sync", theirs.org_id) == others


def by_natural_key(found: dict[tuple[str, bytes], Any]) -> Counter[Any]:
    """A job is given an id when it is kept: two times it is kept (and one taken back) are two ids."""
    return Counter((table, b"" if table == "sync_jobs" else key, what) for (table, key), what in found.items())


@pytest.mark.heavy
async def test_everything_replayed_twice_changes_no_row_and_calls_no_provider(house: House) -> None:
    ours, theirs = await house.tenant(*PROVIDERS, seed=1), await house.tenant("smartlead", seed=2)
    await post(house, ours, 150, poison=6)
    await ask_between_services(house, ours)
    assert await bury(house, "provider_sync") > 400
    services = [Replaying(house, ours, name) for name in house.stack.services]
    await replay_all(services)  # for the first time: now they are done, but for those that nobody can read
    await settle_ahead(house.stack, house.admin)
    await house.admin.execute(  # the look at each registered webhook comes by itself, replay or not
        "UPDATE provider_sync.sync_jobs SET due_at = now() + interval '1 day' WHERE kind = 'verify_webhook'"
    )
    calls = {name: len(one.calls) for name, one in apis(house).items()}
    noted = {name: len(one.journal.notes) for name, one in ours.simulators.items()}
    assert min(calls.values()) > 0
    before = {one.service: await one.rows() for one in services}
    assert sum(len(rows) for tables in before.values() for rows in tables.values()) > 1000

    for _ in range(2):
        assert await replay_deliveries(house, ours) > 400
        assert await replay_all(services) > 20
        await settle_ahead(house.stack, house.admin)

    assert {name: len(one.calls) for name, one in apis(house).items()} == calls
    assert {name: len(one.journal.notes) for name, one in ours.simulators.items()} == noted
    for one in services:
        left = OF_THE_HANDLING.get(one.service, set())
        found = differences(before[one.service], await one.rows())
        assert {where: what for where, what in found.items() if where[0] not in left} == {}, one.service
    assert theirs.org_id != ours.org_id


async def replay_all(services: list[Replaying]) -> int:
    """Everything that is dead or parked anywhere, to its end; answers how many letters."""
    letters = 0
    for one in services:
        plan = await one.tried()
        if plan is not None:
            ended = await one.applied(plan)
            letters += ended["total"]
    return letters


def apis(house: House) -> dict[int, Any]:
    """Every simulated provider of the house, with the list of calls that it got."""
    return dict(house.stack.network._apps)
