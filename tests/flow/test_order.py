"""From webhook to projection: whatever order, repetition or division of the same deliveries, the same rows at the end.

Every example is played into an organization of its own that has the same provider account, so the derived ids are equal and
rows can be compared as they are. The other examples' organizations are the other tenants in the room.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.contracts.envelope import Envelope, read
from libs.database.engine import Database
from libs.ids import AccountId, CompanyId, OrgId, new_id
from libs.messaging.processor import Processor
from libs.messaging.work import Units
from libs.providers.simulation import PostKind
from libs.providers.smartlead.simulator import SmartleadSimulator
from services.analytics.consumers import consumers as analytics_consumers
from tests.integration.services.provider_sync.stage import processor, rows_of, set_stage

PROJECTIONS = ("campaigns", "steps", "messages", "engagements")
_FACTS = {"campaign", "sequence_step", "lead", "message", "engagement"}
EXAMPLES = 25


class Flow:
    """Both services on one database, and the webhooks of one campaign that all examples share."""

    def __init__(self, database: Callable[[str], Database], units: Callable[[str], Units]) -> None:
        self._sync = database("provider_sync")
        self._analytics = database("analytics")
        self._units = units("provider_sync")
        self._account = AccountId(new_id())
        self._companies = [CompanyId(new_id()) for _ in range(3)]
        simulator = SmartleadSimulator(seed=7, clients_of_campaigns=(111,), now=datetime(2026, 11, 20, tzinfo=UTC))
        plan = simulator.deliveries(45, duplicates=0, shuffle=False)
        self.bodies = [post.body for post in plan.of(PostKind.NORMAL)]
        self.expected: dict[str, Any] | None = None

    async def play(self, order: Sequence[int], cuts: Sequence[int], seed: int) -> dict[str, Any]:
        """Deliver the webhooks in this order, divided into batches at `cuts`; then their facts, shuffled; answers all rows."""
        org = OrgId(new_id())
        stage = await set_stage(self._units, org, account_id=self._account, companies=self._companies)
        webhooks = [
            stage.webhook(self.bodies[number]) for number in order
        ]  # received_at is assigned here, after permuting
        await _deliver(processor(self._sync, "provider-sync.webhooks"), webhooks, cuts)
        facts = await facts_of(self._sync, org)
        dice = random.Random(seed)
        dice.shuffle(facts)
        facts += dice.sample(facts, len(facts) // 5)
        listener = next(one for one in analytics_consumers() if one.queue == "analytics.facts")
        await _deliver(Processor(self._analytics, listener, "analytics"), facts, [cut * 3 for cut in cuts])
        return {"model": await rows_of(self._sync, org), "projections": await projections_of(self._analytics, org)}


@pytest.fixture
async def flow(database: Callable[[str], Database], units: Callable[[str], Units]) -> Flow:
    return Flow(database, units)


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(seed=st.integers(0, 2**32), cuts=st.lists(st.integers(1, 60), max_size=6), again=st.integers(0, 20))
async def test_every_order_and_repetition_ends_in_the_same_rows(
    flow: Flow, seed: int, cuts: list[int], again: int
) -> None:
    if flow.expected is None:
        flow.expected = await flow.play(range(len(flow.bodies)), [], 0)
        assert flow.expected["projections"]["messages"]
        assert flow.expected["projections"]["engagements"]
    dice = random.Random(seed)
    order = [*range(len(flow.bodies)), *(dice.randrange(len(flow.bodies)) for _ in range(again))]
    dice.shuffle(order)

    got = await flow.play(order, cuts, seed)

    for part, tables in flow.expected.items():
        for table, rows in tables.items():
            assert got[part][table] == rows, f"{part}.{table}"


async def _deliver(to: Processor, envelopes: Sequence[Envelope], cuts: Sequence[int]) -> None:
    edges = sorted({cut for cut in cuts if cut < len(envelopes)} | {0, len(envelopes)})
    for start, end in pairwise(edges):
        await to.deliver(envelopes[start:end])


async def facts_of(database: Database, org: OrgId) -> list[Envelope]:
    async with database.transaction() as transaction:
        await transaction.as_dispatch()
        rows = await transaction.driver.fetch("SELECT type, envelope FROM outbox WHERE org_id = $1", org)
    return [read(row["envelope"]) for row in rows if row["type"].split(".")[0] in _FACTS]


async def projections_of(database: Database, org: OrgId) -> dict[str, list[dict[str, Any]]]:
    found = {}
    async with database.tenant_transaction(org) as session:
        for table in PROJECTIONS:
            rows = await session.fetch(f"SELECT * FROM {table} ORDER BY 2")
            # How many revisions it took tells of the way, not of the state.
            found[table] = [
                {name: row[name] for name in [*row.keys()] if name not in ("org_id", "revision")} for row in rows
            ]
    return found
