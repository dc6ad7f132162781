"""Analytics loses its facts, and has them again from their owner: the same figures, and nothing of anybody else's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from services.analytics.handlers.rebuilding import compare
from services.cli.main import app
from tests.fixtures.database import MigratedDatabase
from tests.flow.test_order import projections_of
from tests.flow.test_webhook_endpoints import House, Tenant, opened_house

OF_FACTS = ("facts", "campaigns", "steps", "messages", "engagements")


@pytest.fixture
async def house(migrated: MigratedDatabase) -> AsyncIterator[House]:
    async with opened_house(migrated) as one:
        yield one


async def posted(house: House, tenant: Tenant) -> None:
    (url,) = tenant.urls("smartlead")
    for one in tenant.simulators["smartlead"].deliveries(40, duplicates=0).to_send():
        assert (await house.post(url, one.body)).status_code == 200
    await house.stack.settle()


@pytest.mark.heavy
async def test_facts_that_were_lost_are_told_again_by_their_owner(
    house: House, migrated: MigratedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = await house.tenant("smartlead", seed=1), await house.tenant("smartlead", seed=2)
    for tenant in (ours, theirs):
        await posted(house, tenant)
    analytics = house.stack.databases["analytics"]
    before, neighbours = await projections_of(analytics, ours.org_id), await projections_of(analytics, theirs.org_id)
    assert before["messages"]
    for table in OF_FACTS:
        await house.admin.execute(f"DELETE FROM analytics.{table} WHERE org_id = $1", ours.org_id)
    monkeypatch.setenv("PROVIDER_SYNC_DATABASE_URL", migrated.url("provider_sync"))
    # Roles belong to the server: this copy's are those of what it was copied from.
    monkeypatch.setattr("libs.database.names.database_name", lambda _: migrated.template)

    async def resend(*words: str) -> Result:
        every = ["resend", "facts", "--org", ours.id, "--reason", "the disk of ticket 4711", "--json", *words]
        return await asyncio.to_thread(lambda: CliRunner().invoke(app, every))

    assert (await resend()).exit_code == 2  # nobody can be asked
    tried = await resend("--dry-run")
    assert tried.exit_code == 0, tried.output
    await house.stack.settle()
    assert not (await projections_of(analytics, ours.org_id))["messages"]
    told = await resend("--yes")
    assert told.exit_code == 0, told.output
    counts: dict[str, Any] = json.loads(told.stdout)["events"]
    assert counts["message"] == len(before["messages"])
    await house.stack.settle()

    assert await projections_of(analytics, ours.org_id) == before
    facts = "SELECT subject, version, data::text FROM analytics.facts WHERE org_id = $1 ORDER BY 1, 2"
    kept = await house.admin.fetch(facts, ours.org_id)
    assert len(kept) == sum(counts.values())
    assert (await compare(analytics, ours.org_id, as_of=None, keep=False)).differs == []
    await resend("--yes")  # once more: the same facts
    await house.stack.settle()
    assert await house.admin.fetch(facts, ours.org_id) == kept
    assert await projections_of(analytics, theirs.org_id) == neighbours
    assert "facts.resent" in [one["action"] for one in (await house.asked("GET", "/v1/audit-log", ours.key))["data"]]
