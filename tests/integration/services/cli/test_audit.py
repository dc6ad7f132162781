"""`outrider audit verify`: silent while all is as it was written, and exact when it is not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import asyncpg
import pytest
from typer.testing import CliRunner, Result

from libs.ids import PLATFORM_ORG, OrgId, new_id, public_id
from services.cli.main import app
from services.gateway.audit import record
from services.gateway.repository.tenants import Organizations

Verify = Callable[..., Awaitable[Result]]


@pytest.fixture
def verify(migrated, monkeypatch) -> Verify:
    monkeypatch.setenv("GATEWAY_DATABASE_URL", migrated.url("gateway"))

    async def run(*words: str) -> Result:
        return await asyncio.to_thread(lambda: CliRunner().invoke(app, ["audit", "verify", *words]))

    return run


@pytest.fixture
async def orgs(units, make_org) -> list[OrgId]:
    """Two organizations and the platform, with five rows each; and one organization that has none."""
    made = [make_org(), make_org(), PLATFORM_ORG]
    for org_id in made:
        for number in range(5):
            async with units("gateway").begin(org_id) as work:
                if number == 0 and org_id != PLATFORM_ORG:
                    await Organizations(work.session).add("Northwind Outreach", "UTC")
                await record(work.session, None, "key.issued", str(number))
    async with units("gateway").begin(make_org()) as work:
        await Organizations(work.session).add("Quiet", "UTC")
    return made


async def tamper(migrated, statement: str, *arguments: object) -> None:
    admin = await asyncpg.connect(migrated.admin_url)
    try:
        assert (await admin.execute(statement, *arguments)).endswith(" 1")
    finally:
        await admin.close()


async def test_all_chains_are_followed_and_whole(verify, orgs):
    told = await verify("--json")
    assert told.exit_code == 0, told.output
    found = json.loads(told.stdout)
    assert found["whole"] is True
    names = ["platform", *(public_id("org", org_id) for org_id in orgs[:2])]
    assert [one["organization"] for one in found["organizations"]][:3] == names
    assert [(one["rows"], one["first_bad_row"]) for one in found["organizations"]] == [(5, None)] * 3 + [(0, None)]
    table = await verify()
    assert table.exit_code == 0
    assert table.stdout.count("whole") == 4


async def test_one_row_changed_is_named(verify, orgs, migrated):
    mine, theirs = orgs[0], orgs[1]
    await tamper(migrated, "UPDATE gateway.audit_log SET actor = 'x' WHERE org_id = $1 AND position = 3", mine)
    told = await verify()
    assert told.exit_code == 1
    assert f"the audit log of {public_id('org', mine)} was changed at row 3" in " ".join(told.stderr.split())
    assert public_id("org", theirs) not in told.stderr
    found = json.loads((await verify("--json")).stdout)
    bad = {one["organization"]: one["first_bad_row"] for one in found["organizations"]}
    assert {name for name, row in bad.items() if row is not None} == {public_id("org", mine)}
    assert bad[public_id("org", mine)] == 3
    assert found["whole"] is False


async def test_the_platforms_own_log_and_single_organizations_are_asked_alone(verify, orgs, migrated):
    await tamper(migrated, "DELETE FROM gateway.audit_log WHERE org_id = $1 AND position = 5", PLATFORM_ORG)
    assert (await verify("--org", public_id("org", orgs[0]))).exit_code == 0
    told = await verify("--org", "platform", "--json")
    assert told.exit_code == 1
    assert json.loads(told.stdout)["organizations"] == [{"organization": "platform", "rows": 5, "first_bad_row": 5}]
    assert (await verify()).exit_code == 1


async def test_an_organization_that_is_not_is_told_so(verify, orgs):
    for named in (public_id("org", new_id()), "nonsense"):
        told = await verify("--org", named)
        assert told.exit_code == 1
        assert "there is no" in str(told.exception)
