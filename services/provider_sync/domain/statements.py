"""From a payload's sightings to what they state of each entity, with the parents they refer to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from libs.contracts.envelope import Envelope
from libs.ids import entity_id
from libs.providers.sightings import (
    CampaignSighting,
    ConversationSighting,
    EngagementSighting,
    EnrolmentSighting,
    LeadSighting,
    MessageSighting,
    Reading,
    SequenceStepSighting,
    Source,
)
from services.provider_sync.domain import merging
from services.provider_sync.domain.accounts import Account
from services.provider_sync.domain.kinds import (
    CAMPAIGN,
    CONVERSATION,
    ENGAGEMENT,
    ENROLMENT,
    KINDS,
    LEAD,
    MESSAGE,
    STEP,
    Kind,
)
from services.provider_sync.domain.merging import State, Stated, Value


@dataclass(frozen=True, slots=True)
class Told:
    """A reading, whose account it is of, and what made us read it (None: nothing of ours did)."""

    account: Account
    reading: Reading
    source: Source
    cause: Envelope | None


@dataclass(slots=True)
class Stating:
    """What a set of readings states: by kind and id, everything about one entity merged into one."""

    states: dict[str, dict[UUID, State]] = field(default_factory=lambda: {kind.name: {} for kind in KINDS})
    causes: dict[UUID, Envelope | None] = field(default_factory=dict)  # one contributor is as good as another

    def of(self, kind: Kind) -> dict[UUID, State]:
        return self.states[kind.name]

    def add(self, kind: Kind, seen: State, cause: Envelope | None) -> None:
        known = self.states[kind.name]
        before = known.get(seen.id)
        known[seen.id] = seen if before is None else merging.merge(before, seen)
        self.causes.setdefault(seen.id, cause)


def gather(told: Iterable[Told]) -> Stating:
    """Everything that the readings state. Whatever is referred to is there too, if only as a stub."""
    stating = Stating()
    for one in told:
        reader = _Reader(one, stating)
        for campaign in one.reading.campaigns:
            reader.campaign(campaign)
        for step in one.reading.steps:
            reader.step(step)
        for lead in one.reading.leads:
            reader.lead(lead)
        for enrolment in one.reading.enrolments:
            reader.enrolment(enrolment)
        for conversation in one.reading.conversations:
            reader.conversation(conversation)
        for message in one.reading.messages:
            reader.message(message)
        for engagement in one.reading.engagements:
            reader.engagement(engagement)
    return stating


class _Reader:
    def __init__(self, told: Told, stating: Stating) -> None:
        self._account = told.account
        self._source = told.source
        self._cause = told.cause
        self._stating = stating

    def campaign(self, seen: CampaignSighting) -> None:
        fields = self._fields(
            seen.seen_at, name=seen.name, status=seen.status, client_external_id=seen.client_external_id
        )
        self._campaign_of(seen.external_id, fields)

    def step(self, seen: SequenceStepSighting) -> None:
        key = f"{seen.campaign_external_id}:{seen.number}"
        identity = (key, self._campaign_of(seen.campaign_external_id), seen.number)
        fields = self._fields(
            seen.seen_at, external_id=seen.external_id, subject=seen.subject, delay_days=seen.delay_days
        )
        self._add(STEP, key, identity, fields)

    def lead(self, seen: LeadSighting) -> None:
        fields = self._fields(
            seen.seen_at,
            external_id=seen.external_id,
            email=seen.email,
            profile_url=seen.profile_url,
            first_name=seen.first_name,
            last_name=seen.last_name,
            company_name=seen.company_name,
            title=seen.title,
            phone=seen.phone,
            location=seen.location,
        )
        self._lead(seen.key, fields)

    def enrolment(self, seen: EnrolmentSighting) -> None:
        key = f"{seen.campaign_external_id}:{seen.lead_key}"
        identity = (
            key, self._account.channel, self._campaign_of(seen.campaign_external_id), self._lead(seen.lead_key),
        )  # fmt: skip
        fields = self._fields(seen.seen_at, external_id=seen.external_id, state=seen.state, added_at=seen.added_at)
        self._add(ENROLMENT, key, identity, fields)

    def conversation(self, seen: ConversationSighting) -> None:
        fields = self._fields(
            seen.seen_at,
            lead_id=self._lead(seen.lead_key),
            campaign_id=self._campaign(seen.campaign_external_id),
            external_id=seen.external_id,
            sender_external_id=seen.sender_external_id,
            subject=seen.subject,
            category=seen.category,
            sentiment=seen.sentiment,
        )
        self._conversation(seen.key, fields)

    def message(self, seen: MessageSighting) -> None:
        lead_id, campaign_id = self._lead(seen.lead_key), self._campaign(seen.campaign_external_id)
        of_thread = self._fields(seen.seen_at, Source.INFERRED, lead_id=lead_id, campaign_id=campaign_id)
        if seen.occurred_at is not None:
            # With the message's own time as version the newest message wins: a maximum that no order can disturb.
            of_thread |= self._fields(
                seen.occurred_at, Source.INFERRED, last_activity_at=seen.occurred_at, last_direction=seen.direction
            )
        fields = self._fields(
            seen.seen_at,
            conversation_id=self._conversation(seen.conversation_key, of_thread),
            campaign_id=campaign_id,
            lead_id=lead_id,
            direction=seen.direction,
            occurred_at=seen.occurred_at,
            from_address=seen.from_address,
            to_address=seen.to_address,
            subject=seen.subject,
            body_text=seen.body_text,
            body_html=seen.body_html,
            internet_message_id=seen.internet_message_id,
            manual=seen.is_manual,
            inmail=seen.is_inmail,
            in_reply_to_id=None if seen.in_reply_to_key is None else self._id(MESSAGE, seen.in_reply_to_key),
        )
        # The rank says how the step is known, which may be worse than how the message is.
        fields |= self._fields(seen.seen_at, seen.step_source or self._source, stated_step=seen.step_number)
        self._add(MESSAGE, seen.key, (seen.key, self._account.channel), fields)

    def engagement(self, seen: EngagementSighting) -> None:
        message_id = None
        if seen.message_key is not None:
            message_id = self._add(MESSAGE, seen.message_key, (seen.message_key, self._account.channel))
        fields = self._fields(
            seen.seen_at,
            kind=seen.kind,
            campaign_id=self._campaign(seen.campaign_external_id),
            lead_id=self._lead(seen.lead_key),
            message_id=message_id,
            step_number=seen.step_number,
            occurred_at=seen.occurred_at,
            details=dict(seen.details),
        )
        self._add(ENGAGEMENT, seen.key, (seen.key, self._account.channel), fields)

    def _campaign(self, external_id: str | None) -> UUID | None:
        return None if external_id is None else self._campaign_of(external_id)

    def _campaign_of(self, external_id: str, fields: dict[str, Stated] | None = None) -> UUID:
        return self._add(CAMPAIGN, external_id, (external_id, self._account.channel), fields)

    def _lead(self, key: str, fields: dict[str, Stated] | None = None) -> UUID:
        return self._add(LEAD, key, (key, self._account.channel), fields)

    def _conversation(self, key: str, fields: dict[str, Stated]) -> UUID:
        return self._add(CONVERSATION, key, (key, self._account.channel), fields)

    def _add(self, kind: Kind, key: str, identity: tuple[Value, ...], fields: dict[str, Stated] | None = None) -> UUID:
        found = self._id(kind, key)
        # A mere reference says nothing of how the entity is known.
        sources = 0 if fields is None else merging.bit(self._source)
        self._stating.add(kind, State(found, self._account.id, identity, fields or {}, sources), self._cause)
        return found

    def _id(self, kind: Kind, key: str) -> UUID:
        return entity_id(self._account.id, kind.name, key)

    def _fields(self, seen_at: datetime, source: Source | None = None, **values: Value | None) -> dict[str, Stated]:
        return merging.state(values, seen_at, source or self._source)
