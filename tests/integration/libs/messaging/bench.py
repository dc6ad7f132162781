"""One consumer whose handler writes a table of its own, and the replays of its service: what tests of replays drive."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from libs import clock
from libs.contracts import envelope as envelopes
from libs.contracts.envelope import Envelope
from libs.contracts.event import seal
from libs.contracts.events import OrganizationCreatedV1
from libs.errors import ContractViolated
from libs.ids import OrgId, new_id
from libs.messaging import replays
from libs.messaging.consumer import Consumer, RetryPolicy
from libs.messaging.pace import Pace
from libs.messaging.processor import Processor
from libs.messaging.replaying import Replays
from libs.messaging.replays import Letters
from libs.messaging.work import UnitOfWork, Units
from tests.fixtures.database import MigratedDatabase

QUEUE = "analytics.tenants"
AT_ONCE = Pace(rate=10_000, account_rate=10_000, canary=1, ramp_seconds=0)
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


class Bench:
    """A letter's name says what becomes of it: `a/1` writes thing a, once for number 1; names in `broken` are refused."""

    def __init__(self, migrated: MigratedDatabase) -> None:
        self.database = migrated.open("analytics")
        self.units = Units(self.database, "analytics")
        self.broken: set[str] = set()
        self.runs: Counter[str] = Counter()
        consumer = Consumer(QUEUE, (OrganizationCreatedV1,), self._handle, RetryPolicy((), ()))
        self.processor = Processor(self.database, consumer, "analytics")
        self.replays = Replays(self.database, "analytics", {QUEUE: self.processor}, effect_tables=("calls",))
        self.at = NOON
        self._admin_url = migrated.admin_url
        self._login = f"{migrated.template}_analytics"

    async def open(self) -> None:
        admin = await asyncpg.connect(self._admin_url)
        for table in ("things", "calls"):
            await admin.execute(
                f"CREATE TABLE analytics.{table} (org_id uuid, name text, numbers int[] NOT NULL, PRIMARY KEY (org_id, name));"
                f"ALTER TABLE analytics.{table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;"
                f'CREATE POLICY org ON analytics.{table} TO "{self._login}" USING (org_id = (SELECT analytics.app_org_id()));'
                f'GRANT SELECT, INSERT, DELETE, UPDATE ON analytics.{table} TO "{self._login}"'
            )
        await admin.close()

    async def _handle(self, events: Sequence[OrganizationCreatedV1], work: UnitOfWork) -> None:
        self.runs.update(event.name for event in events)
        for event in events:
            name, _, number = event.name.partition("/")
            if self.broken & {name, event.name, "*"}:
                raise ContractViolated(f"'{name}' is broken")
            for table in ("things", "calls") if name == "call" else ("things",):
                await work.session.execute(
                    f"INSERT INTO {table} AS t VALUES ($1, $2, ARRAY[$3::int]) ON CONFLICT (org_id, name) DO UPDATE "
                    "SET numbers = (SELECT array_agg(DISTINCT n ORDER BY n) FROM unnest(t.numbers || excluded.numbers) n)",
                    work.org_id, name, int(number or 0),
                )  # fmt: skip
            work.audit("thing.told", event.name)

    async def bury(self, org_id: OrgId, *names: str, accounts: Sequence[UUID | None] = (None,)) -> list[Envelope]:
        """Dead letters of these names, dealt out over accounts."""
        told = [
            seal(OrganizationCreatedV1(organization_id=new_id(), name=name), source="gateway", org_id=org_id)
            for name in names
        ]
        kept, self.broken = self.broken, {"*"}
        await self.processor.deliver(told[:1])
        self.broken = kept
        self.runs.clear()
        await self.processor.defer(told[1:])  # as if they had failed alike, in no time
        async with self.database.tenant_transaction(org_id) as session:
            await session.execute(
                "UPDATE inbox i SET state = 'dead', due_at = NULL, takes = 0, attempts = 1, error_class = d.error_class, "
                "reason = d.reason, fingerprint = d.fingerprint FROM inbox d WHERE d.event_id = $1 AND i.state = 'due'",
                told[0].id,
            )
        async with self.database.tenant_transaction(org_id) as session:
            for index, account in enumerate(accounts):
                ids = [one.id for one in told[index :: len(accounts)]]
                await session.execute("UPDATE inbox SET account_id = $1 WHERE event_id = ANY($2)", account, ids)
        return told

    async def plan(
        self, org_id: OrgId, chosen: Letters = Letters(), pace: Pace = AT_ONCE, **more: Any
    ) -> dict[str, Any]:
        settings: dict[str, Any] = {"action": "replay", "most": 1000, "public_prefix": "rpl_analytics"} | more
        async with self.units.begin(org_id, actor="key:ada") as work:
            return await replays.plan(work, chosen, pace, **settings)

    async def tried(self, org_id: OrgId, plan: dict[str, Any]) -> dict[str, Any]:
        async with self.units.begin(org_id, actor="key:ada") as work:
            await replays.ask_dry_run(work, plan["id"], public_id="p")
        await self.replays.run_due()
        return await self.get(org_id, plan)

    async def apply(self, org_id: OrgId, plan: dict[str, Any]) -> dict[str, Any]:
        async with self.units.begin(org_id, actor="key:ada") as work:
            return await replays.apply(work, plan["id"], plan_hash=plan["hash"], reason="mended", public_id="p")

    async def begun(
        self, org_id: OrgId, chosen: Letters = Letters(), pace: Pace = AT_ONCE, **more: Any
    ) -> dict[str, Any]:
        plan = await self.plan(org_id, chosen, pace, **more)
        if plan["action"] == "replay":
            await self.tried(org_id, plan)
        return await self.apply(org_id, plan)

    async def move(self, org_id: OrgId, plan: dict[str, Any], how: Any) -> dict[str, Any]:
        async with self.units.begin(org_id, actor="key:ada") as work:
            return dict(await how(work, plan["id"], public_id="p"))

    async def get(self, org_id: OrgId, plan: dict[str, Any]) -> dict[str, Any]:
        async with self.database.tenant_transaction(org_id) as session:
            return await replays.get(session, plan["id"])

    async def step(self, seconds: float = 1.0, *, handle: bool = True) -> None:
        """Time passes; the replays make a step, and what they released is handled."""
        self.at += timedelta(seconds=seconds)
        with clock.frozen(self.at):
            await self.replays.run_due()
            while handle and await self.processor.run_due():
                pass

    async def finished(self, org_id: OrgId, plan: dict[str, Any], *, steps: int = 20) -> dict[str, Any]:
        for _ in range(steps):
            await self.step()
        return await self.get(org_id, plan)

    async def things(self, org_id: OrgId, table: str = "things") -> dict[str, list[int]]:
        async with self.database.tenant_transaction(org_id) as session:
            return {row["name"]: row["numbers"] for row in await session.fetch(f"SELECT name, numbers FROM {table}")}

    async def states(self, org_id: OrgId) -> Counter[str]:
        async with self.database.tenant_transaction(org_id) as session:
            return Counter(row["state"] for row in await session.fetch("SELECT state FROM inbox"))

    async def told(self, org_id: OrgId, event_type: str) -> list[dict[str, Any]]:
        """The data of what stands in the outbox of this type, in order."""
        async with self.database.tenant_transaction(org_id) as session:
            rows = await session.fetch("SELECT envelope FROM outbox WHERE type = $1 ORDER BY id", event_type)
        return [dict(envelopes.read(row["envelope"]).data or {}) for row in rows]
