"""A Smartlead account as things: campaigns, steps, mailboxes, leads, and the mail that went to and fro."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from libs.providers.smartlead import keys

# Id, name and sentiment of the categories that every account is born with. The sentiments of the last three are our guess.
CATEGORIES = (
    (1, "Interested", "positive"),
    (2, "Meeting Request", "positive"),
    (3, "Not Interested", "negative"),
    (4, "Do Not Contact", "negative"),
    (5, "Information Request", "positive"),
    (6, "Out Of Office", "neutral"),
    (7, "Wrong Person", "neutral"),
    (8, "Uncategorizable by AI", None),
    (9, "Sender Originated Bounce", None),
)

# Lead statuses in which more mail is to come, and those that end a lead's way through a campaign.
WAITING = ("STARTED", "INPROGRESS")
ENDED = ("COMPLETED", "STOPPED", "BLOCKED")


@dataclass(slots=True)
class Variant:
    id: int
    label: str
    subject: str
    body: str
    is_deleted: bool = False


@dataclass(slots=True)
class Step:
    """The first text is the step's own; `others` are those that it is tried against."""

    id: int
    variant_id: int
    number: int
    delay_days: int
    subject: str  # blank from the second step on: the same thread
    body: str
    is_manual: bool = False
    others: list[Variant] = field(default_factory=list)

    @property
    def variants(self) -> list[Variant]:
        return [Variant(self.variant_id, "A", self.subject, self.body), *self.others]


@dataclass(slots=True)
class Mailbox:
    id: int
    name: str
    address: str
    password: str  # the provider answers with it; a leak test can look for it


@dataclass(slots=True)
class Lead:
    id: int
    address: str
    first_name: str
    last_name: str
    company_name: str
    created_at: datetime
    is_unsubscribed: bool = False
    phone_number: str | None = None
    website: str | None = None
    location: str | None = None
    linkedin_profile: str | None = None
    company_url: str | None = None
    custom_fields: dict[str, object] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.first_name} {self.last_name}"

    @property
    def key(self) -> str:
        return keys.lead(self.address)

    @property
    def domain(self) -> str:
        return self.address.partition("@")[2]


@dataclass(slots=True)
class Reply:
    message_id: str
    at: datetime
    text: str
    html: str
    author: str
    company: str  # SameCompany, DifferentCompany, Unknown
    is_threaded: bool = False  # a second reply in the same thread

    @property
    def key(self) -> str:
        return keys.reply(self.message_id)


@dataclass(slots=True)
class Sent:
    """One e-mail. Without a step it is an answer that a person wrote in the inbox. `variant_id` None: the step's own."""

    stats_id: str
    step: Step | None
    mailbox: Mailbox
    at: datetime
    subject: str
    html: str
    text: str
    opens: list[datetime] = field(default_factory=list)
    clicks: list[datetime] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    bounced_at: datetime | None = None
    is_bounce_by_sender: bool = False
    is_unsubscribed: bool = False
    # Statistics mark several e-mails of a lead with the time of one reply; this one is such.
    marked_replied_at: datetime | None = None
    variant_id: int | None = None

    @property
    def message_id(self) -> str:
        return f"<{self.stats_id}@{self.mailbox.address.partition('@')[2]}>"

    @property
    def key(self) -> str:
        return keys.sent(self.stats_id)

    @property
    def replied_at(self) -> datetime | None:
        return self.replies[0].at if self.replies else self.marked_replied_at


@dataclass(slots=True)
class Enrolment:
    """A lead in a campaign; `map_id` is the id of the pair. `next_at` is when the next step is due, if one is."""

    map_id: int
    lead: Lead
    mailbox: Mailbox
    created_at: datetime
    status: str = "STARTED"
    category_id: int | None = None
    sent: list[Sent] = field(default_factory=list)
    next_at: datetime | None = None
    paused_in: str | None = None  # the status to go back to
    manual_done: int = 0  # steps that a person did

    @property
    def of_sequence(self) -> list[Sent]:
        return [sent for sent in self.sent if sent.step is not None]

    @property
    def replies(self) -> list[Reply]:
        return [reply for sent in self.sent for reply in sent.replies]


@dataclass(slots=True)
class Settings:
    """In the words that are read; several are written with others."""

    schedule: dict[str, object] | None = None
    schedule_start_time: str | None = None
    minutes_between: int = 20
    new_leads_per_day: int = 100
    track_settings: list[str] = field(default_factory=list)
    stop_lead_settings: str = "REPLY_TO_AN_EMAIL"
    unsubscribe_text: str | None = None
    send_as_plain_text: bool = False
    follow_up_percentage: int = 100
    enable_ai_esp_matching: bool = False


@dataclass(slots=True)
class Campaign:
    id: int
    name: str
    client_id: int | None
    created_at: datetime
    steps: list[Step]
    history: list[tuple[datetime, str]]  # status from that moment on, in order of time
    tells_first_sent: bool = False  # whether FIRST_EMAIL_SENT comes beside EMAIL_SENT: nobody knows, so both occur
    enrolments: list[Enrolment] = field(default_factory=list)
    settings: Settings = field(default_factory=Settings)
    mailbox_ids: list[int] = field(default_factory=list)

    @property
    def external_id(self) -> str:
        return str(self.id)

    def status_at(self, at: datetime) -> str:
        return next((status for since, status in reversed(self.history) if since <= at), "DRAFTED")

    @property
    def updated_at(self) -> datetime:
        return self.history[-1][0] if self.history else self.created_at

    def enrolment(self, lead_id: str) -> Enrolment | None:
        return next((one for one in self.enrolments if str(one.lead.id) == lead_id), None)


@dataclass(slots=True)
class Registration:
    """Of the whole account, of one client's campaigns or of one campaign. `categories` are ids."""

    id: int
    name: str
    url: str
    event_types: tuple[str, ...]
    created_at: datetime
    scope: str = "user"  # or client, campaign
    client_id: int | None = None
    campaign_id: int | None = None
    categories: tuple[int, ...] = ()


@dataclass(slots=True)
class Client:
    id: int
    name: str
    email: str
    created_at: datetime
    permission: list[str] = field(default_factory=lambda: ["reply_master_inbox"])


@dataclass(slots=True)
class Account:
    api_key: str
    user_id: int
    secret_key: str
    webhook_id: int
    webhook_created_at: datetime
    clients: list[Client]
    mailboxes: list[Mailbox]
    campaigns: list[Campaign]
    registrations: list[Registration] = field(default_factory=list)
    leads: dict[str, Lead] = field(default_factory=dict)
    blocked: dict[int, str] = field(default_factory=dict)  # addresses and domains, by the id of their entry
    ids: Iterator[int] = field(default_factory=lambda: iter(range(5_000_000, 9_000_000)))  # of what is made by a call

    def campaign(self, external_id: str) -> Campaign | None:
        return next((campaign for campaign in self.campaigns if campaign.external_id == external_id), None)

    def lead(self, lead_id: str) -> Lead | None:
        return next((lead for lead in self.leads.values() if str(lead.id) == lead_id), None)

    def is_blocked(self, address: str) -> bool:
        return bool({address, address.partition("@")[2]} & set(self.blocked.values()))
