"""What the capabilities speak of: small frozen values, the same for every provider.

None means "not told" in what is read and "leave as it is" in what is written; "" and empty tuples say that there is none.
Times are aware and UTC. Ids are text, whatever the provider makes of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, time
from enum import StrEnum
from typing import Generic, TypeVar

from libs.providers.sightings import CampaignStatus, LeadSighting
from libs.providers.sightings import LeadState as LeadState

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """`after` is opaque: handed back it asks for the next page; None: this was the last."""

    items: tuple[T, ...]
    after: str | None = None


# Campaigns


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When a campaign may send: `days` are ISO weekdays (1 Monday to 7 Sunday), the times are those of `timezone`."""

    timezone: str
    days: frozenset[int]
    starts_at: time
    ends_at: time


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """A campaign as it is listed. `client_external_id` is the sub-account ("" = stated to have none)."""

    external_id: str
    name: str
    status: CampaignStatus
    created_at: datetime | None = None
    client_external_id: str | None = None
    schedule: Schedule | None = None
    new_leads_per_day: int | None = None
    minutes_between_mails: int | None = None
    sender_external_ids: tuple[str, ...] | None = None
    tracks_opens: bool | None = None
    tracks_clicks: bool | None = None
    is_plain_text: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignChanges:
    """None: stays as it is. What the provider cannot change at all raises Unsupported before anything is sent."""

    name: str | None = None
    client_external_id: str | None = None
    schedule: Schedule | None = None
    new_leads_per_day: int | None = None
    minutes_between_mails: int | None = None
    sender_external_ids: tuple[str, ...] | None = None  # all that it sends from
    tracks_opens: bool | None = None
    tracks_clicks: bool | None = None
    is_plain_text: bool | None = None


# Sequences


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One text of a step. A blank subject continues the thread of the step before."""

    subject: str
    body_html: str
    external_id: str | None = None
    label: str | None = None  # "A", "B"; made up by the adapter where the provider wants one and this says none


@dataclass(frozen=True, slots=True, kw_only=True)
class EmailStep:
    """`delay_days` is the wait after the step before, 0 at the first, however the provider counts. At least one variant."""

    number: int
    delay_days: int
    variants: tuple[Variant, ...]
    external_id: str | None = None
    is_manual: bool | None = None  # a person is asked to do something and nothing is sent; not every provider tells


class NodeKind(StrEnum):
    CONNECTION_REQUEST = "connection_request"
    MESSAGE = "message"
    INMAIL = "inmail"
    VIEW_PROFILE = "view_profile"
    FOLLOW = "follow"
    IS_CONNECTED = "is_connected"  # a question: `if_met` is followed when the answer is yes
    IS_OPEN_PROFILE = "is_open_profile"
    END = "end"
    OTHER = "other"  # a kind that the adapter does not know: it can be read, and not be written


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkedInNode:
    """A step of a LinkedIn sequence, `delay_hours` after the one before. One of `texts` is picked for each lead."""

    kind: NodeKind
    delay_hours: int = 0
    texts: tuple[str, ...] = ()
    fallback_text: str | None = None  # sent when a variable of the text has no value
    subject: str | None = None
    following: LinkedInNode | None = None  # also where a question is answered with no
    if_met: LinkedInNode | None = None


# Leads


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadRef:
    """A lead by our natural key (`email:ines@…`, `linkedin:…`). `external_id` is the provider's, if known."""

    key: str
    external_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewLead:
    """Whom to add: by `email` at e-mail providers, by `profile_url` at LinkedIn's. `fields` are variables of the texts."""

    email: str | None = None
    profile_url: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    company_name: str | None = None
    title: str | None = None
    phone: str | None = None
    location: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    sender_external_id: str | None = None  # LinkedIn: whose account writes; the provider chooses without


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedLead:
    """What a lead is known by: our natural key, and what it is made of, in its one spelling."""

    key: str
    email: str | None = None
    profile_url: str | None = None


class Addition(StrEnum):
    """What became of a lead who was to be added."""

    ADDED = "added"
    KNOWN = "known"  # was in the campaign before, and is
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class LeadAddition:
    """`key` is our natural one; `reason` is of who was refused, in the provider's words."""

    key: str
    outcome: Addition
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadsAdded:
    """What became of a batch, in counts, as most providers say no more. `refused` is by the provider's reason.

    The three need not add up to the batch. `leads` are those of whom the provider said what became of them: all, some or
    nobody; what became of the others tells Leads.list_campaigns_of_lead.
    """

    added: int
    known: int = 0  # were in the campaign before, and are
    refused: Mapping[str, int] = field(default_factory=dict)
    leads: tuple[LeadAddition, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignLead:
    """A lead in a campaign. `lead.external_id` is the lead's, `enrolment_external_id` that of the pair where it has one."""

    lead: LeadSighting
    state: LeadState
    added_at: datetime | None = None
    category: str | None = None
    enrolment_external_id: str | None = None
    is_unsubscribed: bool | None = None


# Conversations


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationRef:
    """A conversation, as far as its provider needs to be told: `key` is our natural key, the rest its parts.

    E-mail: the campaign and the lead. LinkedIn: `external_id` and `sender_external_id`, the account that speaks.
    """

    key: str
    lead: LeadRef
    campaign_external_id: str | None = None
    external_id: str | None = None
    sender_external_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxEntry:
    """A conversation as the inbox lists it."""

    conversation: ConversationRef
    lead_name: str | None = None
    last_reply_at: datetime | None = None
    is_unread: bool | None = None
    category: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What to write. `to_message_key` is the message that is answered; e-mail needs it, to find the thread.

    `text` is plain and goes as such to LinkedIn; e-mail prefers `html`.
    """

    text: str
    html: str | None = None
    to_message_key: str | None = None
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()


# Webhooks


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """A webhook as the provider has it. `faults` are sentences, none when it tells all that we want to hear."""

    external_id: str
    url: str
    event_types: frozenset[str]
    name: str | None = None
    is_active: bool = True
    faults: tuple[str, ...] = ()


# Figures


class Figure(StrEnum):
    """Counters that providers keep. Without `unique_` they count occurrences, with it people."""

    LEADS = "leads"
    LEADS_CONTACTED = "leads_contacted"
    SENT = "sent"
    OPENED = "opened"
    UNIQUE_OPENED = "unique_opened"
    CLICKED = "clicked"
    UNIQUE_CLICKED = "unique_clicked"
    REPLIED = "replied"
    UNIQUE_REPLIED = "unique_replied"
    BOUNCED = "bounced"
    UNSUBSCRIBED = "unsubscribed"
    INTERESTED = "interested"
    # LinkedIn
    CONNECTION_REQUESTS = "connection_requests"
    CONNECTIONS_ACCEPTED = "connections_accepted"
    MESSAGES_SENT = "messages_sent"
    INMAILS_SENT = "inmails_sent"
    UNIQUE_INMAIL_REPLIED = "unique_inmail_replied"
    PROFILE_VIEWS = "profile_views"
    FOLLOWS = "follows"
    LIKES = "likes"


MEANINGS: Mapping[Figure, str] = {
    Figure.LEADS: "people in the campaign",
    Figure.LEADS_CONTACTED: "people to whom at least one message of the sequence was sent",
    Figure.SENT: "mails that the sequence sent",
    Figure.OPENED: "openings, as far as they are tracked",
    Figure.UNIQUE_OPENED: "people who opened a mail",
    Figure.CLICKED: "clicks on links, as far as they are tracked",
    Figure.UNIQUE_CLICKED: "people who clicked",
    Figure.REPLIED: "answers",
    Figure.UNIQUE_REPLIED: "people who answered; on LinkedIn a message, not an InMail",
    Figure.BOUNCED: "mails that came back",
    Figure.UNSUBSCRIBED: "people who want no more mail",
    Figure.INTERESTED: "people who are marked as interested",
    Figure.CONNECTION_REQUESTS: "invitations to connect",
    Figure.CONNECTIONS_ACCEPTED: "invitations that were accepted",
    Figure.MESSAGES_SENT: "messages that the sequence sent",
    Figure.INMAILS_SENT: "InMails that the sequence sent",
    Figure.UNIQUE_INMAIL_REPLIED: "people who answered an InMail",
    Figure.PROFILE_VIEWS: "profiles looked at",
    Figure.FOLLOWS: "people followed",
    Figure.LIKES: "posts liked",
}
EMAIL_FIGURES = tuple(Figure)[: tuple(Figure).index(Figure.INTERESTED) + 1]
# What is counted on LinkedIn: of `leads` and replies the same as by e-mail, and what only is there.
LINKEDIN_FIGURES = (
    Figure.LEADS,
    Figure.LEADS_CONTACTED,
    Figure.UNIQUE_REPLIED,
    *(figure for figure in Figure if figure not in EMAIL_FIGURES),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignFigures:
    """A campaign's counters as of `as_of`; a figure that is missing is one that the provider does not tell.

    `by_step` is by the step's external id, empty where the provider does not count by step.
    """

    campaign_external_id: str
    as_of: datetime | None
    figures: Mapping[Figure, int]
    by_step: Mapping[str, Mapping[Figure, int]] = field(default_factory=dict)
