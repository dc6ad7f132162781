"""What a provider's payload states, in our words: the one language between adapters and the model.

A sighting is one statement about one entity at one provider time (`seen_at`). `None` means "not stated", never "is
empty"; a statement of emptiness is the empty string. Nothing here knows tenants, databases or the network.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Channel(StrEnum):
    EMAIL = "email"
    LINKEDIN = "linkedin"


class Source(StrEnum):
    """Where a statement comes from; on equal provider times the one later in this list wins."""

    INFERRED = "inferred"
    WEBHOOK = "webhook"
    PULL = "pull"

    @property
    def rank(self) -> int:
        return list(Source).index(self)


class CampaignStatus(StrEnum):
    DRAFT = "draft"
    ACTIVE = "active"
    PAUSED = "paused"
    STOPPED = "stopped"
    COMPLETED = "completed"
    ARCHIVED = "archived"
    UNKNOWN = "unknown"


class LeadState(StrEnum):
    """How far a lead is in one campaign."""

    WAITING = "waiting"  # nothing was sent yet
    ACTIVE = "active"
    PAUSED = "paused"
    STOPPED = "stopped"  # by an answer or by hand
    COMPLETED = "completed"
    BLOCKED = "blocked"  # bounced, block-listed, unsubscribed
    FAILED = "failed"
    REMOVED = "removed"  # taken out, and not listed by the provider any more
    UNKNOWN = "unknown"


class Direction(StrEnum):
    OUTBOUND = "outbound"
    INBOUND = "inbound"


class EngagementKind(StrEnum):
    OPENED = "opened"
    CLICKED = "clicked"
    BOUNCED = "bounced"
    UNSUBSCRIBED = "unsubscribed"
    CATEGORIZED = "categorized"
    MANUAL_STEP_REACHED = "manual_step_reached"
    # LinkedIn
    CONNECTION_REQUESTED = "connection_requested"
    CONNECTION_ACCEPTED = "connection_accepted"
    PROFILE_VIEWED = "profile_viewed"
    FOLLOWED = "followed"
    LIKED = "liked"


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignSighting:
    """Natural key: `external_id`. `client_external_id` is the provider's sub-account ("" = stated to have none)."""

    external_id: str
    seen_at: datetime
    channel: Channel = Channel.EMAIL
    name: str | None = None
    status: CampaignStatus | None = None
    client_external_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceStepSighting:
    """Natural key: (`campaign_external_id`, `number`); numbers start at 1."""

    campaign_external_id: str
    number: int
    seen_at: datetime
    external_id: str | None = None
    subject: str | None = None
    delay_days: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadSighting:
    """Natural key: `key`, the one name of the person that every payload of this provider carries (`email:ines@…`)."""

    key: str
    seen_at: datetime
    external_id: str | None = None
    email: str | None = None
    profile_url: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    company_name: str | None = None
    title: str | None = None
    phone: str | None = None
    location: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolmentSighting:
    """Natural key: (`campaign_external_id`, `lead_key`); that a lead is, or was, in a campaign, and how far it is there.

    `external_id` is that of the pair, where the provider has one.
    """

    campaign_external_id: str
    lead_key: str
    seen_at: datetime
    channel: Channel = Channel.EMAIL
    external_id: str | None = None
    state: LeadState | None = None
    added_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationSighting:
    """Natural key: `key`; the thread between a lead and us within a campaign (no campaign: an untracked one).

    `sender_external_id` is the account of ours that speaks, where the provider needs it named to answer.
    """

    key: str
    lead_key: str
    seen_at: datetime
    channel: Channel = Channel.EMAIL
    campaign_external_id: str | None = None
    external_id: str | None = None
    sender_external_id: str | None = None
    subject: str | None = None
    category: str | None = None
    sentiment: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageSighting:
    """Natural key: `key`. `occurred_at` is when it was sent or received, `seen_at` how fresh this statement is.

    `step_number` is the sequence step that sent it (outbound) or that it answers (inbound); `step_source` says how we
    know.
    `in_reply_to_key` is the key of the outbound message that an inbound one answers. `is_manual`: a person wrote it, no
    sequence; `is_inmail`: LinkedIn's paid kind.
    """

    key: str
    conversation_key: str
    lead_key: str
    direction: Direction
    seen_at: datetime
    channel: Channel = Channel.EMAIL
    campaign_external_id: str | None = None
    step_number: int | None = None
    step_source: Source | None = None
    occurred_at: datetime | None = None
    from_address: str | None = None
    to_address: str | None = None
    subject: str | None = None
    body_text: str | None = None
    body_html: str | None = None
    internet_message_id: str | None = None
    in_reply_to_key: str | None = None
    is_manual: bool | None = None
    is_inmail: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EngagementSighting:
    """Natural key: `key`; something a lead (or a mail server) did.

    `details` holds small facts of the kind (link, category).
    """

    key: str
    kind: EngagementKind
    lead_key: str
    occurred_at: datetime
    seen_at: datetime
    channel: Channel = Channel.EMAIL
    campaign_external_id: str | None = None
    message_key: str | None = None
    step_number: int | None = None
    details: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBack:
    """A wish: this payload names no provider time, so it states nothing; please read the truth.

    `kind` is campaign or lead. A lead is named by its key, as for Pulls.read_messages, within `campaign_external_id`
    (None: the payload tells no campaign).
    """

    kind: str
    external_id: str
    reason: str
    campaign_external_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """All that one payload states.

    An unknown `event_type` has `recognized=False` and no sightings: kept and counted. `workspace_external_id` is the
    provider's tenant that the payload names: to be compared with the account's, never to find one by.
    """

    event_type: str
    recognized: bool = True
    workspace_external_id: str | None = None
    campaigns: tuple[CampaignSighting, ...] = ()
    steps: tuple[SequenceStepSighting, ...] = ()
    leads: tuple[LeadSighting, ...] = ()
    enrolments: tuple[EnrolmentSighting, ...] = ()
    conversations: tuple[ConversationSighting, ...] = ()
    messages: tuple[MessageSighting, ...] = ()
    engagements: tuple[EngagementSighting, ...] = ()
    read_backs: tuple[ReadBack, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorReading:
    """What the door needs to know of raw bytes, and no more.

    `dedupe_key` (32 bytes) is equal for two deliveries of one occurrence. `quarantine_reason` is set when the bytes are
    no payload of this provider at all: then both other fields are None.
    """

    dedupe_key: bytes | None = None
    event_type: str | None = None
    quarantine_reason: str | None = None
