"""What sightings state, and which parents they bring along."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from libs.ids import AccountId, CompanyId, entity_id
from libs.providers.sightings import (
    CampaignSighting,
    Direction,
    EngagementKind,
    EngagementSighting,
    MessageSighting,
    Reading,
    SequenceStepSighting,
    Source,
)
from services.provider_sync.domain.accounts import Account
from services.provider_sync.domain.jobs import retry_delay
from services.provider_sync.domain.kinds import CAMPAIGN, CONVERSATION, ENGAGEMENT, LEAD, MESSAGE, STEP
from services.provider_sync.domain.statements import Told, gather

NOON = datetime(2026, 7, 11, 12, tzinfo=UTC)
DEFAULT, FIRST = CompanyId(UUID(int=1)), CompanyId(UUID(int=2))
ACCOUNT = Account(AccountId(UUID(int=9)), "smartlead", "email", DEFAULT, clients={"111": FIRST})


def gathered(**sightings):
    return gather([Told(ACCOUNT, Reading(event_type="x", **sightings), Source.WEBHOOK, None)])


def test_whose_hand_wrote_a_message_is_stated_or_not():
    def stated(**more):
        (message,) = gathered(messages=(reply(**more),)).of(MESSAGE).values()
        return {name: message.fields[name].value for name in ("manual", "inmail") if name in message.fields}

    assert stated() == {}
    assert stated(is_manual=False, is_inmail=True) == {"manual": False, "inmail": True}


def reply(**more):
    fields: dict[str, Any] = {
        "key": "reply:1",
        "conversation_key": "c",
        "lead_key": "email:a",
        "direction": Direction.INBOUND,
    }
    return MessageSighting(**(fields | {"seen_at": NOON, "campaign_external_id": "7"} | more))


def test_a_message_brings_its_campaign_lead_and_conversation():
    stating = gathered(messages=(reply(),))

    ids = {kind.name: set(stating.of(kind)) for kind in (CAMPAIGN, LEAD, CONVERSATION, MESSAGE)}
    assert ids == {
        "campaign": {entity_id(ACCOUNT.id, "campaign", "7")},
        "lead": {entity_id(ACCOUNT.id, "lead", "email:a")},
        "conversation": {entity_id(ACCOUNT.id, "conversation", "c")},
        "message": {entity_id(ACCOUNT.id, "message", "reply:1")},
    }
    (campaign,) = stating.of(CAMPAIGN).values()
    assert (campaign.fields, campaign.sources) == ({}, 0)


def test_an_engagement_brings_its_message_as_a_stub_without_direction():
    opened = EngagementSighting(
        key="o", kind=EngagementKind.OPENED, lead_key="email:a", occurred_at=NOON, seen_at=NOON, message_key="sent:1"
    )

    stating = gathered(engagements=(opened,))

    (message,) = stating.of(MESSAGE).values()
    assert (message.fields, message.sources) == ({}, 0)
    (engagement,) = stating.of(ENGAGEMENT).values()
    assert engagement.fields["message_id"].value == message.id


def test_the_newest_message_is_the_conversations_last_activity_whoever_tells_later():
    new = reply(key="reply:2", occurred_at=NOON, seen_at=NOON)
    old = reply(key="reply:1", occurred_at=NOON - timedelta(days=1), seen_at=NOON + timedelta(days=1))

    (conversation,) = gathered(messages=(new, old)).of(CONVERSATION).values()

    assert conversation.fields["last_activity_at"].value == NOON


def test_a_step_is_known_by_campaign_and_number():
    step = SequenceStepSighting(campaign_external_id="7", number=2, seen_at=NOON)

    (found,) = gathered(steps=(step,)).of(STEP).values()

    assert found.id == entity_id(ACCOUNT.id, "sequence_step", "7:2")
    assert found.sources == 1 << Source.WEBHOOK.rank  # that it exists is a statement, too


def test_a_guessed_step_ranks_as_a_guess():
    (found,) = gathered(messages=(reply(step_number=3, step_source=Source.INFERRED),)).of(MESSAGE).values()

    assert found.fields["stated_step"].version.rank == Source.INFERRED.rank
    assert found.fields["lead_id"].version.rank == Source.WEBHOOK.rank


def test_a_campaigns_company_is_its_clients_or_the_default():
    assert [ACCOUNT.company_of(client) for client in ("111", "999", "", None)] == [FIRST, DEFAULT, DEFAULT, DEFAULT]


def test_words_of_enums_are_plain_text():
    campaign = CampaignSighting(external_id="7", seen_at=NOON)

    assert gathered(campaigns=(campaign,)).of(CAMPAIGN)
    (message,) = gathered(messages=(reply(),)).of(MESSAGE).values()
    assert type(message.fields["direction"].value) is str


def test_patience_ends():
    delays = [retry_delay(attempts, 1.0) for attempts in range(1, 7)]

    assert delays == [*sorted(delay for delay in delays if delay is not None), None]
