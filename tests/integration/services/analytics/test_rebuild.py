"""`outrider rebuild analytics`: what stands is held against its facts, and put right only when asked."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner, Result

from libs.database.engine import OrganizationErased
from libs.ids import public_id
from libs.messaging.standing import set_standing
from services.analytics.handlers.rebuilding import compare
from services.analytics.repository.facts import FactRepository
from services.analytics.repository.projections import PROJECTIONS
from services.cli.main import app
from tests.fixtures.database import MigratedDatabase
from tests.integration.services.analytics.conftest import Agency, Analytics


@pytest.fixture
def rebuild(migrated: MigratedDatabase, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ANALYTICS_DATABASE_URL", migrated.url("analytics"))

    async def run(*words: str) -> Result:
        return await asyncio.to_thread(lambda: CliRunner().invoke(app, ["rebuild", "analytics", *words]))

    return run


async def played(analytics: Analytics, *agencies: Agency) -> None:
    for agency in agencies:
        await analytics.hears(
            agency.campaign(), agency.message("m1"), agency.reply("r1"), agency.engagement("opened", "m1")
        )
        await analytics.hears(agency.campaign(revision=2, name="Renamed"))


async def test_what_differs_is_named_and_put_right_only_when_asked(
    analytics: Analytics, rebuild, agency: Agency, stranger: Agency
) -> None:
    await played(analytics, agency, stranger)
    async with analytics.database.tenant_transaction(agency.org_id) as session:
        await session.execute("UPDATE messages SET direction = 'inbound'")
        broken = await analytics.rows(agency.org_id)
    right, theirs = await analytics.rows(stranger.org_id), await analytics.rows(stranger.org_id)
    org, other = public_id("org", agency.org_id), public_id("org", stranger.org_id)

    same = await rebuild("--json", "--org", other)
    assert same.exit_code == 0, same.output
    told = await rebuild("--json", "--org", org)
    assert told.exit_code == 1
    (one,) = json.loads(told.stdout)["organizations"]
    assert (one["differs"], one["applied"], one["facts"]) == (["messages"], False, 5)
    assert await analytics.rows(agency.org_id) != right
    assert [len(rows) for rows in broken.values()] == [len(rows) for rows in right.values()]

    told = await rebuild("--org", org, "--apply")
    assert told.exit_code == 0, told.output
    assert "put right: messages" in told.stdout
    assert (await rebuild("--org", org)).exit_code == 0
    directions = {row[7] for row in (await analytics.rows(agency.org_id))["messages"]}
    assert directions == {row[7] for row in right["messages"]}
    assert await analytics.rows(stranger.org_id) == theirs


async def test_another_time_is_shown_and_never_kept(
    analytics: Analytics, rebuild, agency: Agency, stranger: Agency
) -> None:
    await played(analytics, agency, stranger)
    async with analytics.database.tenant_transaction(agency.org_id) as session:
        await session.execute("UPDATE facts SET recorded_at = now() + interval '1 day' WHERE subject LIKE 'message%'")
    before = await analytics.rows(agency.org_id)
    tomorrow = datetime.now(UTC) + timedelta(hours=1)

    then = await compare(analytics.database, agency.org_id, as_of=tomorrow, keep=False)

    assert (then.made["messages"].count, then.stood["messages"].count) == (0, 2)
    assert (then.made["campaigns"].count, then.kept) == (1, False)
    assert await analytics.rows(agency.org_id) == before
    told = await rebuild("--json", "--as-of", "2020-01-01", "--org", public_id("org", agency.org_id))
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["organizations"][0]["facts"] == 0
    assert await analytics.rows(agency.org_id) == before
    assert (await rebuild("--as-of", "2020-01-01", "--apply")).exit_code == 2
    with pytest.raises(ValueError, match="another time"):
        await compare(analytics.database, agency.org_id, as_of=tomorrow, keep=True)


async def test_consumers_go_on_while_it_folds_and_what_they_keep_meanwhile_is_in_it(
    analytics: Analytics, agency: Agency, monkeypatch: pytest.MonkeyPatch
) -> None:
    await played(analytics, agency)
    async with analytics.database.tenant_transaction(agency.org_id) as session:
        await session.execute("UPDATE messages SET direction = 'inbound'")
    real = FactRepository.stop_writers

    async def once_folded(self: FactRepository) -> None:
        """All is folded and nothing is held: what is told now is kept at once."""
        await analytics.hears(
            agency.message("m2"), agency.campaign("c9"), agency.campaign(revision=3, name="Later"), agency.reply("r2")
        )
        await real(self)

    monkeypatch.setattr(FactRepository, "stop_writers", once_folded)
    async with asyncio.timeout(20):
        told = await compare(analytics.database, agency.org_id, as_of=None, keep=True)
    monkeypatch.undo()

    assert (told.facts, told.kept, told.differs) == (9, True, ["messages"])
    rows = await analytics.rows(agency.org_id)
    assert (len(rows["messages"]), len(rows["campaigns"])) == (4, 2)
    assert {row[7] for row in rows["messages"]} == {"inbound", "outbound"}
    assert (await compare(analytics.database, agency.org_id, as_of=None, keep=False)).differs == []
    async with analytics.database.tenant_transaction(agency.org_id) as session:
        for table in PROJECTIONS:
            assert await session.fetchval(f"SELECT count(*) FROM rebuilt_{table}") == 0


async def test_an_erased_organization_is_not_rebuilt(analytics: Analytics, agency: Agency, stranger: Agency) -> None:
    await played(analytics, agency, stranger)
    async with analytics.database.tenant_transaction(agency.org_id) as session:
        await set_standing(session, "erased", 1)

    with pytest.raises(OrganizationErased):
        await compare(analytics.database, agency.org_id, as_of=None, keep=True)
