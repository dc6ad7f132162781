"""What a write's outcome proves: that much is known the moment its answer came, before any webhook or pull tells it.

As new as the provider's answer, by the provider's own clock: whatever it tells later is newer. What was only asked for (a
lead's name, a message's text) fills gaps, and gives way to anything that the provider says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from libs.providers import arguments
from libs.providers.records import Addition, Answer, CampaignChanges, ConversationRef, EmailStep, LeadRef, NewLead
from libs.providers.registry import Provider
from libs.providers.sightings import (
    CampaignSighting,
    CampaignStatus,
    Channel,
    Direction,
    EnrolmentSighting,
    LeadSighting,
    LeadState,
    MessageSighting,
    Reading,
    SequenceStepSighting,
    Source,
)
from services.provider_sync.domain.accounts import Account
from services.provider_sync.domain.additions import decided
from services.provider_sync.domain.operations import Effect, Outcome

OLDER_THAN_ALL = datetime(1970, 1, 1, tzinfo=UTC)

# What a campaign is once it was told to, and what it may be by the time that somebody looks.
FOLLOWS: Mapping[str, tuple[CampaignStatus, ...]] = {
    "start_campaign": (CampaignStatus.ACTIVE, CampaignStatus.COMPLETED),
    "resume_campaign": (CampaignStatus.ACTIVE, CampaignStatus.COMPLETED),
    "pause_campaign": (CampaignStatus.PAUSED, CampaignStatus.COMPLETED, CampaignStatus.STOPPED),
    "stop_campaign": (CampaignStatus.STOPPED, CampaignStatus.COMPLETED, CampaignStatus.ARCHIVED),
}
_LEAD_STATES = {
    "pause_lead": LeadState.PAUSED,
    "resume_lead": LeadState.ACTIVE,
    "stop_lead": LeadState.STOPPED,
    "remove_lead": LeadState.REMOVED,
}


def as_of(answered_at: datetime | None, ours: datetime) -> datetime:
    """When an outcome was so: by the provider's clock, which tells whole seconds, with the rest of the second from ours.

    What was read back within that second is older then, and of two changes within it the later one wins.
    """
    return ours if answered_at is None else answered_at.replace(microsecond=max(1, ours.microsecond))


def proven(
    effect: Effect, outcome: Outcome, account: Account, provider: Provider, at: datetime
) -> list[tuple[Reading, Source]]:
    """What is known by now of a write that was done; `at` is the provider's clock when it said so.

    Of one that only a later look found, no more than what was looked for.
    """
    asked = arguments.from_json(effect.kind, effect.arguments)
    channel, is_found = Channel(account.channel), outcome.evidence is not None
    if effect.kind == "reply":
        return _answered(outcome.result, asked, channel, at)
    if effect.kind == "create_campaign":
        return [] if outcome.result is None else [_made(str(outcome.result), asked, channel, at)]
    campaign = asked["campaign_external_id"]
    if effect.kind in _LEAD_STATES:
        return [_moved(campaign, asked["lead"], _LEAD_STATES[effect.kind], channel, at)]
    if is_found:
        return []
    if effect.kind == "add_leads":
        return _added(campaign, asked["leads"], outcome.result, provider, channel, at)
    if effect.kind == "replace_steps":
        return [_sequence(campaign, asked["steps"], at)]
    changes = asked.get("changes")
    name = changes.name if isinstance(changes, CampaignChanges) else None
    client = changes.client_external_id if isinstance(changes, CampaignChanges) else None
    status = FOLLOWS[effect.kind][0] if effect.kind in FOLLOWS else None
    if (name, client, status) == (None, None, None):
        return []
    changed = CampaignSighting(
        external_id=campaign, seen_at=at, channel=channel, name=name, status=status, client_external_id=client
    )
    return [(Reading(event_type=effect.kind, campaigns=(changed,)), Source.PULL)]


def _made(external_id: str, asked: Mapping[str, Any], channel: Channel, at: datetime) -> tuple[Reading, Source]:
    made = CampaignSighting(
        external_id=external_id,
        seen_at=at,
        channel=channel,
        name=asked["name"],
        status=CampaignStatus.DRAFT,
        client_external_id=asked.get("client_external_id"),
    )
    return Reading(event_type="create_campaign", campaigns=(made,)), Source.PULL


def _moved(campaign: str, lead: LeadRef, state: LeadState, channel: Channel, at: datetime) -> tuple[Reading, Source]:
    moved = EnrolmentSighting(
        campaign_external_id=campaign, lead_key=lead.key, seen_at=at, channel=channel, state=state
    )
    return Reading(event_type="lead", enrolments=(moved,)), Source.PULL


def _added(
    campaign: str, leads: Sequence[NewLead], answer: Any, provider: Provider, channel: Channel, at: datetime
) -> list[tuple[Reading, Source]]:
    """Those of whom it is clear that they are in the campaign; of the others nothing is known before they are looked for."""
    clear = decided([provider.name_lead(lead).key for lead in leads], answer)
    states = {Addition.ADDED: LeadState.WAITING, Addition.KNOWN: None}  # who was in before may be anywhere by now
    there = [(lead, clear.get(provider.name_lead(lead).key)) for lead in leads]
    return enrolled(campaign, [(lead, states[one]) for lead, one in there if one in states], provider, channel, at)


def enrolled(
    campaign: str,
    leads: Sequence[tuple[NewLead, LeadState | None]],
    provider: Provider,
    channel: Channel,
    at: datetime,
) -> list[tuple[Reading, Source]]:
    """What is known of leads who are in the campaign since somebody asked for it, and how far each is there, if known."""
    there, wished, enrolments = [], [], []
    for lead, state in leads:
        named = provider.name_lead(lead)
        there.append(LeadSighting(key=named.key, seen_at=at, email=named.email, profile_url=named.profile_url))
        enrolments.append(
            EnrolmentSighting(
                campaign_external_id=campaign, lead_key=named.key, seen_at=at, channel=channel, state=state
            )
        )
        wished.append(
            LeadSighting(
                key=named.key,
                seen_at=OLDER_THAN_ALL,
                email=lead.email,
                profile_url=lead.profile_url,
                first_name=lead.first_name,
                last_name=lead.last_name,
                company_name=lead.company_name,
                title=lead.title,
                phone=lead.phone,
                location=lead.location,
            )
        )
    if not there:
        return []
    return [
        (Reading(event_type="add_leads", leads=tuple(there), enrolments=tuple(enrolments)), Source.PULL),
        (Reading(event_type="add_leads", leads=tuple(wished)), Source.INFERRED),
    ]


def _sequence(campaign: str, steps: Sequence[EmailStep], at: datetime) -> tuple[Reading, Source]:
    told = tuple(
        SequenceStepSighting(
            campaign_external_id=campaign,
            number=step.number,
            seen_at=at,
            subject=step.variants[0].subject,
            delay_days=step.delay_days,
        )
        for step in steps
    )
    return Reading(event_type="replace_steps", steps=told), Source.PULL


def _answered(key: Any, asked: Mapping[str, Any], channel: Channel, at: datetime) -> list[tuple[Reading, Source]]:
    """Only where the provider named the message; elsewhere the conversation is read back."""
    if not isinstance(key, str):
        return []
    conversation: ConversationRef = asked["conversation"]
    answer: Answer = asked["answer"]
    told = MessageSighting(
        key=key,
        conversation_key=conversation.key,
        lead_key=conversation.lead.key,
        direction=Direction.OUTBOUND,
        seen_at=at,
        channel=channel,
        campaign_external_id=conversation.campaign_external_id,
        is_manual=True,
    )
    wished = MessageSighting(
        key=key,
        conversation_key=conversation.key,
        lead_key=conversation.lead.key,
        direction=Direction.OUTBOUND,
        seen_at=OLDER_THAN_ALL,
        channel=channel,
        body_text=answer.text,
        body_html=answer.html,
        in_reply_to_key=answer.to_message_key,
    )
    return [
        (Reading(event_type="reply", messages=(told,)), Source.PULL),
        (Reading(event_type="reply", messages=(wished,)), Source.INFERRED),
    ]
