"""What an account's provider cannot do is refused when it is asked for, with the capability's name and the reason."""

from __future__ import annotations

from typing import Any

import pytest

from libs.ids import public_id
from libs.providers.capabilities import CAPABILITIES
from libs.providers.registry import PROVIDERS
from tests.integration.services.provider_sync.stage import payload, processor, set_stage
from tests.integration.services.provider_sync.test_http import PERMISSIONS, Face

MAY = frozenset({*PERMISSIONS, "campaigns:write", "leads:write", "inbox:write", "syncs:start"})
STEPS = {"steps": [{"delay_days": 0, "variants": [{"subject": "One", "body_html": "<p>One</p>"}]}]}
TREE = {"first": {"kind": "end", "delay_hours": 3}}
LEAD = {"leads": [{"email": "ada@example.com", "profile_url": "https://www.linkedin.com/in/ada-example"}]}

# What is asked for by each capability, below /email or /linkedin. `{cam}` and `{led}` are the account's own.
ASKS: dict[str, list[tuple[str, str, Any]]] = {
    "CampaignEditing": [
        ("POST", "", {"account_id": "{acc}", "name": "Autumn"}),
        ("PATCH", "/{cam}", {"name": "Autumn"}),
    ],
    "CampaignControl": [
        ("POST", "/{cam}/start", None),
        ("POST", "/{cam}/pause", None),
        ("POST", "/{cam}/resume", None),
    ],
    "CampaignStopping": [("POST", "/{cam}/stop", None)],
    "EmailSequences": [("PUT", "/{cam}/sequence", STEPS), ("POST", "/{cam}/sequence/refreshes", None)],
    "LinkedInSequences": [("PUT", "/{cam}/sequence", TREE), ("POST", "/{cam}/sequence/refreshes", None)],
    "LeadAdding": [("POST", "/{cam}/leads", LEAD)],
    "LeadPausing": [("POST", "/{cam}/leads/{led}/pause", None), ("POST", "/{cam}/leads/{led}/resume", None)],
    "LeadStopping": [("POST", "/{cam}/leads/{led}/stop", None)],
    "LeadRemoving": [("DELETE", "/{cam}/leads/{led}", None)],
    "Statistics": [("POST", "/{cam}/statistics/refreshes", None)],
}
OF_ONE_CHANNEL = {"EmailSequences": "email", "LinkedInSequences": "linkedin"}
# Asked for elsewhere, and refused there: see test_sync_http and test_endpoint_http, and reconciliation's test_providers.
ELSEWHERE = {"Feeds", "WebhookUpkeep", "Pulls", "Snapshots"}
# Used by ourselves, for other things that are asked for; no route is for them alone.
INSIDE = {
    "ConnectionCheck", "Campaigns", "CampaignLeads", "Leads", "LeadUnsubscribing", "LeadCategories", "Inbox",
    "WebhookRegistration", "WebhookListing", "CampaignPulls",
}  # fmt: skip
FIRST = {"smartlead": "email_sent", "emailbison": "email_sent", "heyreach": "message_sent"}


def test_of_each_capability_it_is_known_where_it_is_asked_for():
    assert {one.__name__ for one in CAPABILITIES} == set(ASKS) | ELSEWHERE | INSIDE
    # A reply is refused as all else would be, and no provider is there that could not take one.
    assert all("Inbox" not in provider.lacks for provider in PROVIDERS.values())


@pytest.mark.parametrize("provider", sorted(PROVIDERS))
async def test_what_the_provider_cannot_do_is_a_422_that_names_the_capability(database, units, make_org, provider):
    stage = await set_stage(units("provider_sync"), make_org(), provider=provider)
    heard = stage.webhook(payload(FIRST[provider], provider))
    await processor(database("provider_sync"), "provider-sync.webhooks").deliver([heard])
    async with database("provider_sync").tenant_transaction(stage.org_id) as session:
        await session.execute("UPDATE accounts SET base_url = 'https://send.example.com'")
        ids = {
            "acc": public_id("acc", stage.account.id),
            "cam": public_id("cam", await session.fetchval("SELECT id FROM campaigns")),
            "led": public_id("led", await session.fetchval("SELECT id FROM leads")),
        }
    channel, face = PROVIDERS[provider].channel.value, Face(database("provider_sync"), units("provider_sync"))
    asked = []
    for name in ASKS:
        if OF_ONE_CHANNEL.get(name, channel) != channel:
            continue
        for method, path, body in ASKS[name]:
            told = body if not body or "account_id" not in body else body | {"account_id": ids["acc"]}
            url = f"/{channel}/campaigns{path.format(**ids)}"
            answer = await face(method, url, stage.org_id, json=told, permissions=MAY)
            if name in PROVIDERS[provider].lacks:
                problem = answer.json()
                assert (answer.status_code, problem["code"]) == (422, "capability_unsupported"), (url, answer.text)
                assert f"offer no {name}" in problem["detail"]
                assert PROVIDERS[provider].lacks[name] in problem["detail"]
                asked.append(name)
            else:
                assert answer.status_code == 202 or path == "/{cam}", (url, answer.text)
    missing = {name for name in PROVIDERS[provider].lacks if OF_ONE_CHANNEL.get(name, channel) == channel}
    assert set(asked) == missing & set(ASKS)
    await face.close()
