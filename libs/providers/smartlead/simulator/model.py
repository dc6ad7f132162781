"""A Smartlead account as things: campaigns, steps, mailboxes, leads, and the mail that went to and fro."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta

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

_FIRST_NAMES = (
    "Ines Leo Ana Tarik Mira Jonas Adaeze Pavel Lucia Soren Noor Emil Greta Yusuf Petra Idris Maeve Hugo".split()
)
_LAST_NAMES = (
    "Okafor Ruiz Lindqvist Novak Adeyemi Moreau Castell Haddad Brandt Silva Ekman Farouk Walsh Tanaka Dietz".split()
)
_COMPANIES = (
    "North Pier,Copper Lane,Bright Quay,Fern & Field,Slate Works,Harbour Nine,Tall Oak,Blue Lantern,Kite Street,Low Tide"
).split(",")
_CAMPAIGN_NAMES = ("Harbour pilot", "Spring restock", "Dock slots", "Second wave", "Cold chain", "Night shift")
_SUBJECTS = ("Dock slots", "Quick question", "Your night shift", "An idea for the harbour")
_DELAYS_DAYS = (0, 2, 3)


@dataclass(slots=True)
class Step:
    id: int
    variant_id: int
    number: int
    delay_days: int
    subject: str  # blank from the second step on: the same thread
    body: str
    is_manual: bool = False


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
    """One e-mail. Without a step it is an answer that a person wrote in the inbox."""

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
    """A lead in a campaign; `map_id` is the id of the pair."""

    map_id: int
    lead: Lead
    mailbox: Mailbox
    created_at: datetime
    status: str = "STARTED"
    category_id: int | None = None
    sent: list[Sent] = field(default_factory=list)


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

    @property
    def external_id(self) -> str:
        return str(self.id)

    def status_at(self, at: datetime) -> str:
        return next((status for since, status in reversed(self.history) if since <= at), "DRAFTED")

    @property
    def updated_at(self) -> datetime:
        return self.history[-1][0] if self.history else self.created_at


@dataclass(slots=True)
class Registration:
    id: int
    name: str
    url: str
    event_types: tuple[str, ...]
    created_at: datetime


@dataclass(slots=True)
class Account:
    api_key: str
    user_id: int
    secret_key: str
    webhook_id: int
    webhook_created_at: datetime
    clients: list[tuple[int, str]]
    mailboxes: list[Mailbox]
    campaigns: list[Campaign]
    registrations: list[Registration] = field(default_factory=list)
    leads: dict[str, Lead] = field(default_factory=dict)

    def campaign(self, external_id: str) -> Campaign | None:
        return next((campaign for campaign in self.campaigns if campaign.external_id == external_id), None)


def new_uuid(rng: random.Random) -> str:
    """A version 4 UUID that the seed decides."""
    number = rng.getrandbits(128) & ~(0xF << 76 | 0x3 << 62) | 0x4 << 76 | 0x2 << 62
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def open_account(
    rng: random.Random, *, api_key: str, now: datetime, clients_of_campaigns: tuple[int | None, ...]
) -> Account:
    """An account with one campaign for each of `clients_of_campaigns`, and no mail yet."""
    born = now - timedelta(days=20)
    mailboxes = [
        Mailbox(
            id=rng.randrange(10_000, 99_999),
            name=first,
            address=f"{first.lower()}@{host}.example.com",
            password=f"dummy-mailbox-password-{index}",
        )
        for index, (first, host) in enumerate((("Leo", "reach"), ("Mira", "reach"), ("Jonas", "hello")))
    ]
    first_campaign = rng.randrange(3_000_000, 3_900_000)
    campaigns = [
        _campaign(rng, first_campaign + 7 * index, index, client_id, now=now)
        for index, client_id in enumerate(clients_of_campaigns)
    ]
    known_clients = dict.fromkeys(client_id for client_id in clients_of_campaigns if client_id is not None)
    return Account(
        api_key=api_key,
        user_id=rng.randrange(10_000, 99_999),
        secret_key=new_uuid(rng),
        webhook_id=rng.randrange(100_000, 999_999),
        webhook_created_at=born,
        clients=[(client_id, f"Client {client_id}") for client_id in known_clients],
        mailboxes=mailboxes,
        campaigns=campaigns,
    )


def _campaign(rng: random.Random, campaign_id: int, index: int, client_id: int | None, *, now: datetime) -> Campaign:
    created_at = now - timedelta(days=16, minutes=rng.randrange(1, 600))
    started_at = now - timedelta(days=14, minutes=rng.randrange(10, 300))
    paused_at = now - timedelta(days=7, minutes=rng.randrange(0, 600))
    resumed_at = paused_at + timedelta(minutes=rng.randrange(20, 90))
    step_id, subject = rng.randrange(8_000, 900_000), _SUBJECTS[index % len(_SUBJECTS)]
    steps = [
        Step(
            id=step_id + number,
            variant_id=step_id // 3 + number,
            number=number,
            delay_days=delay,
            subject=subject if number == 1 else "",
            body=f"<div>Hi {{{{first_name}}}}, note {number} about {subject.lower()}. "
            f'<a href="https://{index}.example.com/demo">Demo</a></div>',
        )
        for number, delay in enumerate(_DELAYS_DAYS, start=1)
    ]
    if index % 3 == 1:
        steps.append(Step(step_id + 9, step_id // 3 + 9, len(steps) + 1, 1, "", "<div>Call them</div>", is_manual=True))
    return Campaign(
        id=campaign_id,
        name=_CAMPAIGN_NAMES[index % len(_CAMPAIGN_NAMES)] + ("" if index < len(_CAMPAIGN_NAMES) else f" {index}"),
        client_id=client_id,
        created_at=created_at,
        steps=steps,
        history=[(created_at, "DRAFTED"), (started_at, "ACTIVE"), (paused_at, "PAUSED"), (resumed_at, "ACTIVE")],
        tells_first_sent=index % 3 == 2,
    )


def new_lead(rng: random.Random, account: Account, *, created_at: datetime) -> Lead:
    """A person who does not exist, at a company that does not exist; lead ids exceed 32 bits as the real ones do."""
    number = len(account.leads)
    first, last = rng.choice(_FIRST_NAMES), rng.choice(_LAST_NAMES)
    company = rng.choice(_COMPANIES)
    host = "".join(letter for letter in company.lower() if letter.isalpha())
    lead = Lead(
        id=4_155_000_000 + account.user_id * 100_000 + number * 17,
        address=f"{first}.{last}{number}@{host}.example.com".lower(),
        first_name=first,
        last_name=last,
        company_name=company,
        created_at=created_at,
    )
    account.leads[lead.address] = lead
    return lead
