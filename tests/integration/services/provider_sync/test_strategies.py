"""The sync strategy over HTTP: what holds, the numbers behind the advice, and who may switch it."""

from __future__ import annotations

import pytest

from libs.contracts.events import ActionPerformedV1
from libs.ids import public_id
from libs.providers.sightings import Source
from libs.tenancy.context import CompanyScope
from services.provider_sync.domain.merging import bit
from tests.integration.services.provider_sync.stage import processor, readable, set_stage, told
from tests.integration.services.provider_sync.test_http import Face


@pytest.fixture
async def face(database, units):
    face = Face(database("provider_sync"), units("provider_sync"))
    yield face
    await face.close()


@pytest.fixture
async def stage_of(units, make_org):
    async def stage_of(provider):
        await set_stage(units("provider_sync"), make_org(), provider=provider)  # a second tenant in the room
        return await set_stage(units("provider_sync"), make_org(), provider=provider)

    return stage_of


def path(stage):
    return f"/provider-accounts/{public_id('acc', stage.account.id)}"


async def test_heyreach_is_webhook_only_until_somebody_chooses(face, database, stage_of):
    stage = await stage_of("heyreach")
    shown = await face.get(f"{path(stage)}/sync-strategy", stage.org_id)
    assert (shown["current"], shown["recommended"]) == ("webhook_only", "webhook_only")
    assert shown["choices"] == ["webhook_only", "pull_best_effort"]

    changed = await face("PATCH", path(stage), stage.org_id, json={"sync_mode": "pull_best_effort"})

    assert changed.status_code == 200, changed.text
    assert (await face.get(f"{path(stage)}/sync-strategy", stage.org_id))["current"] == "pull_best_effort"
    (audited,) = [
        one for one in await told(database("provider_sync"), stage.org_id) if isinstance(one, ActionPerformedV1)
    ]
    assert (audited.action, audited.details) == ("account.changed", {"sync_mode": "pull_best_effort"})
    renamed = await face("PATCH", path(stage), stage.org_id, json={"name": "Other"})
    assert renamed.status_code == 200
    back = await face("PATCH", path(stage), stage.org_id, json={"sync_mode": "webhook_only"})
    assert back.status_code == 200
    audits = [one for one in await told(database("provider_sync"), stage.org_id) if isinstance(one, ActionPerformedV1)]
    assert [one.details for one in audits[1:]] == [{}, {"sync_mode": "webhook_only"}]


@pytest.mark.parametrize("provider", ["smartlead", "emailbison"])
async def test_email_accounts_say_what_holds_and_refuse_a_choice(face, stage_of, provider):
    stage = await stage_of(provider)

    shown = await face.get(f"{path(stage)}/sync-strategy", stage.org_id)
    refused = await face("PATCH", path(stage), stage.org_id, json={"sync_mode": "webhook_only"})

    assert (shown["current"], shown["recommended"], shown["choices"]) == ("webhook_and_pull", "webhook_and_pull", [])
    assert (refused.status_code, refused.json()["code"]) == (422, "capability_unsupported")


async def test_the_numbers_are_those_of_our_rows(face, database, stage_of):
    stage = await stage_of("heyreach")
    consumer = processor(database("provider_sync"), "provider-sync.webhooks")
    await consumer.deliver([stage.webhook(body) for body in readable("heyreach")])
    async with database("provider_sync").tenant_transaction(stage.org_id) as session:
        # As if all had happened just now, and webhooks had missed one message and told of a second no more than a pull.
        await session.execute("UPDATE messages SET occurred_at = now() + interval '1 second'")
        await session.execute("UPDATE engagements SET occurred_at = now()")
        told_of = await session.fetch("SELECT id FROM messages WHERE direction IS NOT NULL ORDER BY id")
        for source, row in ((bit(Source.PULL), told_of[0]), (bit(Source.PULL) | bit(Source.WEBHOOK), told_of[1])):
            await session.execute("UPDATE messages SET sources = $1 WHERE id = $2", source, row["id"])
        engagements = await session.fetchval("SELECT count(*) FROM engagements WHERE campaign_id IS NOT NULL")

    shown = await face.get(f"{path(stage)}/sync-strategy", stage.org_id)

    evidence = shown["evidence"]
    assert (evidence["by_pull_only"], evidence["by_both"], evidence["missed_by_webhooks"]) == (1, 1, 1)
    assert evidence["by_webhook_only"] == len(told_of) - 2 > 0
    assert evidence["messages"] == evidence["without_step"] == len(told_of)  # no step is ever told at this provider
    assert evidence["engagements"] == engagements > 0
    assert evidence["webhook_endpoint_status"] == "registered"
    assert shown["recommended"] == "pull_best_effort"
    assert f"1 of {len(told_of)} messages" in shown["because"][0]


async def test_other_orgs_and_other_companies_see_no_strategy(face, stage_of):
    stage, other = await stage_of("heyreach"), await stage_of("heyreach")
    own, others = CompanyScope.of([stage.account.company_id]), CompanyScope.of([other.account.company_id])

    foreign = await face("GET", f"{path(stage)}/sync-strategy", other.org_id)
    narrowed = await face("GET", f"{path(stage)}/sync-strategy", stage.org_id, scope=others)

    assert (foreign.status_code, narrowed.status_code) == (404, 404)
    await face.get(f"{path(stage)}/sync-strategy", stage.org_id, scope=own)
