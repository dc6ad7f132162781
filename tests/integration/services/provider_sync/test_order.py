"""Every permutation, duplication and batch split of the same webhooks ends in the same rows and the same facts."""

from __future__ import annotations

import asyncio
import random
from itertools import permutations
from typing import Any

import pytest

from libs.contracts.events import CampaignRecordedV1
from libs.ids import AccountId, CompanyId, OrgId, new_id
from libs.providers.emailbison.simulator import EmailBisonSimulator
from libs.providers.heyreach.simulator import HeyReachSimulator
from libs.providers.smartlead.simulator import SmartleadSimulator
from tests.integration.services.provider_sync.stage import payload, processor, readable, rows_of, set_stage, told

QUEUE = "provider-sync.webhooks"

# One lead in one campaign, told by every type; times spread so that versions, gaps and ties all occur.
STORY = (
    payload("email_sent"),
    payload("email_open"),
    payload("email_link_click"),
    payload("email_reply"),
    payload("email_bounce"),
    payload("lead_unsubscribed_in_inbox"),
    payload("lead_category_updated"),
    payload("email_sent_second_step"),
    payload("email_sent", campaign_status="PAUSED", client_id=111, event_timestamp="2026-07-11T12:30:00.000+00:00"),
    payload("email_sent", campaign_status="STOPPED", client_id=222, event_timestamp="2026-07-11T12:10:00.000+00:00"),
)


class House:
    """The same account in one org after another, so that ids and companies are alike and rows can be compared."""

    def __init__(self, database, units):
        self._database, self._units = database("provider_sync"), units("provider_sync")
        self._account_id = AccountId(new_id())
        self._companies = [CompanyId(new_id()) for _ in range(3)]

    async def ends_as(self, batches, *, at_once=1, provider="smartlead"):
        """The rows and the last told fact of each subject, after these batches of bodies were delivered."""
        org_id = OrgId(new_id())
        stage = await set_stage(
            self._units, org_id, provider=provider, account_id=self._account_id, companies=self._companies
        )
        consumer = processor(self._database, QUEUE)
        for start in range(0, len(batches), at_once):
            await asyncio.gather(
                *(
                    consumer.deliver([stage.webhook(body) for body in batch])
                    for batch in batches[start : start + at_once]
                )
            )
        while await consumer.run_due():  # on a slow machine a delivery leaves a part for later
            pass
        return await rows_of(self._database, org_id), await self._facts(org_id)

    async def _facts(self, org_id):
        newest: dict[str, Any] = {}
        for event in await told(self._database, org_id):
            known = newest.get(event.subject())
            if known is None or event.revision > known.revision:
                newest[event.subject()] = event
        # A child's company is its campaign's, whatever its own event said: so listeners take it, and so do we.
        of_campaign: dict[Any, Any] = {
            event.campaign_id: event.envelope.company_id
            for event in newest.values()
            if isinstance(event, CampaignRecordedV1)
        }
        return {
            subject: (
                event.model_dump(exclude={"revision"}),
                of_campaign.get(getattr(event, "campaign_id", None), event.envelope.company_id),
            )
            for subject, event in newest.items()
        }


@pytest.fixture
def house(database, units):
    return House(database, units)


async def test_the_whole_story_in_any_order_any_batches_and_doubled(house):
    rng = random.Random(7)
    straight = await house.ends_as([[body] for body in STORY])
    assert {table: len(rows) for table, rows in straight[0].items()} == {
        "campaigns": 1, "sequence_steps": 2, "leads": 1, "enrolments": 0, "conversations": 1, "messages": 4,
        "engagements": 5,
    }  # fmt: skip

    for _ in range(40):
        shuffled = [*STORY, *rng.choices(STORY, k=4)]
        rng.shuffle(shuffled)
        size = rng.choice((1, 2, 3, 5, len(shuffled)))
        batches = [shuffled[start : start + size] for start in range(0, len(shuffled), size)]
        assert await house.ends_as(batches) == straight


@pytest.mark.parametrize("provider", ["heyreach", "emailbison"])
async def test_a_whole_corpus_in_any_order_any_batches_and_doubled(house, provider):
    rng = random.Random(11)
    bodies = readable(provider)
    straight = await house.ends_as([[body] for body in bodies], provider=provider)
    assert len(straight[0]["messages"]) > 5
    assert len(straight[0]["engagements"]) > 4

    for _ in range(12):
        shuffled = [*bodies, *rng.choices(bodies, k=6)]
        rng.shuffle(shuffled)
        size = rng.choice((1, 4, 9, len(shuffled)))
        batches = [shuffled[start : start + size] for start in range(0, len(shuffled), size)]
        assert await house.ends_as(batches, provider=provider) == straight


async def test_two_replicas_at_once_end_as_one(house):
    plan = SmartleadSimulator(seed=4).deliveries(240, shuffle=True)
    bodies = [post.body for post in plan.to_send()]
    straight = await house.ends_as([[body] for body in bodies])

    assert (
        await house.ends_as([bodies[start : start + 20] for start in range(0, len(bodies), 20)], at_once=6) == straight
    )


async def test_every_permutation_of_four_that_disagree(house):
    four = (STORY[0], STORY[3], STORY[8], STORY[9])
    ends = [await house.ends_as([[body] for body in order]) for order in permutations(four)]

    assert all(end == ends[0] for end in ends)
    (campaign,) = ends[0][0]["campaigns"]
    assert campaign["client_external_id"] == ""  # the reply is the newest, and says: none
    assert {row["company_id"] for row in ends[0][0]["messages"]} == {campaign["company_id"]}


@pytest.mark.parametrize("simulator", [SmartleadSimulator, HeyReachSimulator, EmailBisonSimulator])
async def test_a_simulated_account_in_two_orders(house, simulator):
    provider = simulator.__name__.removesuffix("Simulator").lower()
    plan = simulator(seed=3).deliveries(300, shuffle=False, unknown=2)
    bodies = [post.body for post in plan.to_send()]
    backwards = bodies[::-1]

    forwards = await house.ends_as(
        [bodies[start : start + 200] for start in range(0, len(bodies), 200)], provider=provider
    )

    assert (
        await house.ends_as(
            [backwards[start : start + 17] for start in range(0, len(bodies), 17)], provider=provider, at_once=2
        )
        == forwards
    )
