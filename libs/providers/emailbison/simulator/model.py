"""One workspace as things: campaigns, steps and their variants, mailboxes, leads, scheduled e-mails, the master inbox."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from libs.providers.emailbison import keys

_FIRST_NAMES = "Dana Priya Lee Omar Nils Aiko Ruth Teo Vera Kofi Lena Rafa Sana Bruno Elif Jon Maya Igor".split()
_LAST_NAMES = "Ruiz Nair Park Haddad Berg Mori Stone Costa Weiss Mensah Vogel Lopes Khan Rossi Demir Hale".split()
_COMPANIES = (
    "Acme Tooling,Initech Parts,Globe Forge,Pine Works,Delta Cranes,Union Belts,Prime Valves,Oak & Iron,Sun Pumps"
).split(",")
_TITLES = ("Head of Ops", "Plant Manager", "Buyer", "Maintenance Lead")
_CAMPAIGN_NAMES = ("Q3 Ops Leaders", "Leeds lines", "Spare parts", "Night crews", "Second site")
_SUBJECTS = ("Leeds line changeover", "A spare part idea", "Your night crew", "Pumps in stock")
DAYS = "monday tuesday wednesday thursday friday saturday sunday".split()
OFFICE_HOURS: dict[str, object] = {
    **{day: day not in ("saturday", "sunday") for day in DAYS},
    "start_time": "09:00",
    "end_time": "17:00",
    "timezone": "America/New_York",
}
_WAITS_DAYS = (2, 3, 1)  # after each step; the last leads nowhere, yet 0 is refused


@dataclass(slots=True)
class Step:
    """A step, or (with `parent_id`) a variant of one: variants have no number of their own."""

    id: int
    number: int
    wait_in_days: int
    subject: str
    body: str
    parent_id: int | None = None
    threads: bool = False
    is_active: bool = True
    variants: list[Step] = field(default_factory=list)

    @property
    def choices(self) -> list[Step]:
        return [self, *self.variants]


@dataclass(slots=True)
class Mailbox:
    id: int
    name: str
    address: str
    created_at: datetime
    updated_at: datetime
    is_connected: bool = True
    counts: Counter[str] = field(default_factory=Counter)  # sent, replied, opened, unsubscribed, bounced, interested


@dataclass(slots=True)
class Lead:
    id: int
    uuid: str
    address: str
    first_name: str
    last_name: str
    company: str
    title: str
    created_at: datetime
    status: str = "unverified"
    notes: str | None = None
    variables: dict[str, str] | None = None  # None: those of the people that the simulator made up
    was_contacted_before: bool = False  # by a campaign that is gone: then no first contact is told any more
    tag_ids: list[int] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.first_name} {self.last_name}"

    @property
    def custom_variables(self) -> list[dict[str, object]]:
        told = {"hook": f"new site of {self.company}"} if self.variables is None else self.variables
        return [{"name": name, "value": value} for name, value in told.items()]

    @property
    def key(self) -> str:
        return keys.lead(self.address)


@dataclass(slots=True)
class InboxRow:
    """A row of the master inbox: `type` as the provider writes it. It is made some time after it was received."""

    id: int
    uuid: str
    type: str
    folder: str
    subject: str
    text: str
    received_at: datetime
    created_at: datetime
    updated_at: datetime
    from_name: str
    from_address: str
    to_name: str
    to_address: str
    message_id: str
    mailbox: Mailbox
    lead: Lead | None = None
    campaign: Campaign | None = None
    mail: Mail | None = None
    is_interested: bool = False
    is_automated: bool = False
    is_read: bool = False
    written_html: str | None = None
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()

    @property
    def html(self) -> str:
        return self.written_html if self.written_html is not None else f"<div>{self.text}</div>"

    @property
    def key(self) -> str:
        return (keys.manual if self.type == "Outgoing Email" else keys.reply)(str(self.id))


@dataclass(slots=True)
class Mail:
    """A scheduled e-mail; `sent_at` None: it is yet to go."""

    id: int
    step: Step
    variant: int  # which of the step's texts, from 1
    mailbox: Mailbox
    scheduled_at: datetime
    sent_at: datetime | None
    subject: str
    html: str
    message_id: str
    opens: int = 0
    replies: int = 0
    is_bounced: bool = False
    is_interested: bool = False

    @property
    def key(self) -> str:
        return keys.sent(str(self.id))


@dataclass(slots=True)
class Enrolment:
    """A lead in a campaign; the same mailbox writes all mails."""

    lead: Lead
    mailbox: Mailbox
    created_at: datetime
    status: str = "in_sequence"
    mails: list[Mail] = field(default_factory=list)
    replies: int = 0
    bounces: int = 0
    is_interested: bool = False
    next_at: datetime | None = None  # when the next mail is due

    @property
    def sent(self) -> list[Mail]:
        return [mail for mail in self.mails if mail.sent_at is not None]


@dataclass(slots=True)
class Settings:
    """What can be set beside open_tracking and include_auto_replies_in_stats. What an update leaves out becomes this."""

    max_emails_per_day: int = 1000
    max_new_leads_per_day: int = 1000
    plain_text: bool = False
    can_unsubscribe: bool = False
    unsubscribe_text: str | None = None
    sequence_prioritization: str = "followups"


@dataclass(slots=True)
class Campaign:
    id: int
    uuid: str
    sequence_id: int
    name: str
    created_at: datetime
    updated_at: datetime
    steps: list[Step]
    status: str = "active"
    open_tracking: bool = True
    tells_automated: bool = True  # `include_auto_replies_in_stats`: else no webhook tells an automated reply
    enrolments: list[Enrolment] = field(default_factory=list)
    settings: Settings = field(default_factory=lambda: Settings())
    schedule: dict[str, object] | None = None
    sender_ids: list[int] = field(default_factory=list)

    @property
    def external_id(self) -> str:
        return str(self.id)

    def enrolment(self, lead_id: int) -> Enrolment | None:
        return next((one for one in self.enrolments if one.lead.id == lead_id), None)

    @property
    def mailboxes(self) -> list[Mailbox]:
        found = {enrolment.mailbox.id: enrolment.mailbox for enrolment in self.enrolments}
        return list(found.values())


@dataclass(slots=True)
class Registration:
    id: int
    name: str
    url: str
    event_ids: tuple[str, ...]  # as subscribed to: in small letters
    created_at: datetime
    updated_at: datetime


@dataclass(slots=True)
class Account:
    """A workspace of an instance. Ids count up from a start of the workspace's own, as all share the instance's tables."""

    api_key: str
    instance_url: str
    workspace_id: int
    workspace_name: str
    created_at: datetime
    mailboxes: list[Mailbox] = field(default_factory=list)
    campaigns: list[Campaign] = field(default_factory=list)
    registrations: list[Registration] = field(default_factory=list)
    leads: dict[str, Lead] = field(default_factory=dict)
    inbox: list[InboxRow] = field(default_factory=list)
    tags: list[tuple[int, str]] = field(default_factory=list)
    variables: list[tuple[int, str]] = field(default_factory=list)
    first_id: int = 1
    _last_ids: Counter[str] = field(default_factory=Counter)

    def new_id(self, table: str) -> int:
        self._last_ids[table] += 1
        return self.first_id + self._last_ids[table]

    @property
    def variable_names(self) -> set[str]:
        return {name for _, name in self.variables}

    def campaign(self, external_id: str) -> Campaign | None:
        return next((campaign for campaign in self.campaigns if campaign.external_id == external_id), None)

    def lead(self, id_or_address: str) -> Lead | None:
        if "@" in id_or_address:
            return self.leads.get(id_or_address.strip().lower())
        return next((lead for lead in self.leads.values() if str(lead.id) == id_or_address), None)


def new_uuid(rng: random.Random) -> str:
    """A version 4 UUID that the seed decides."""
    number = rng.getrandbits(128) & ~(0xF << 76 | 0x3 << 62) | 0x4 << 76 | 0x2 << 62
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def open_account(rng: random.Random, *, api_key: str, now: datetime, campaigns: int) -> Account:
    """A workspace with `campaigns` campaigns, and no mail yet."""
    born = whole_second(now) - timedelta(days=40)
    account = Account(
        api_key=api_key,
        instance_url="https://send.example.com",
        workspace_id=rng.randrange(2, 900),
        workspace_name="Northwind Outbound",
        created_at=born,
        # Far apart, so that two accounts of one test do not share an id.
        first_id=rng.randrange(1, 20_000) * 100_000,
    )
    for name, host in (("Priya Nair", "mail"), ("Omar Haddad", "mail"), ("Ruth Stone", "post")):
        address = f"{name.split()[0].lower()}@{host}.example.com"
        account.mailboxes.append(Mailbox(account.new_id("mailboxes"), name, address, born, born))
    account.tags = [(account.new_id("tags"), name) for name in ("Interested", "Google", "Priority")]
    account.variables = [(account.new_id("variables"), "hook")]
    for index in range(campaigns):
        account.campaigns.append(_campaign(rng, account, index, now=now))
    return account


def _campaign(rng: random.Random, account: Account, index: int, *, now: datetime) -> Campaign:
    created_at = whole_second(now) - timedelta(days=16, minutes=rng.randrange(1, 600))
    subject = _SUBJECTS[index % len(_SUBJECTS)]
    steps = [
        Step(
            id=account.new_id("steps"),
            number=number,
            wait_in_days=wait,
            subject=subject,
            body=f"<p>Hi {{FIRST_NAME}}, note {number} about {subject.lower()}.</p>",
            threads=number > 1,
        )
        for number, wait in enumerate(_WAITS_DAYS, start=1)
    ]
    if index % 2 == 1:
        first = steps[0]
        body = first.body.replace("note 1", "a word")
        first.variants.append(Step(account.new_id("steps"), 1, first.wait_in_days, f"{subject}?", body, first.id))
    return Campaign(
        id=account.new_id("campaigns"),
        uuid=new_uuid(rng),
        sequence_id=account.new_id("sequences"),
        name=_CAMPAIGN_NAMES[index % len(_CAMPAIGN_NAMES)] + ("" if index < len(_CAMPAIGN_NAMES) else f" {index}"),
        created_at=created_at,
        updated_at=created_at,
        steps=steps,
        open_tracking=index % 3 != 2,
        settings=Settings(can_unsubscribe=True),
        schedule=dict(OFFICE_HOURS),
        sender_ids=[mailbox.id for mailbox in account.mailboxes],
    )


def new_lead(rng: random.Random, account: Account, *, created_at: datetime) -> Lead:
    """A person who does not exist, at a company that does not exist."""
    number = len(account.leads)
    first, last, company = rng.choice(_FIRST_NAMES), rng.choice(_LAST_NAMES), rng.choice(_COMPANIES)
    host = "".join(letter for letter in company.lower() if letter.isalpha())
    lead = Lead(
        id=account.new_id("leads"),
        uuid=new_uuid(rng),
        address=f"{first}.{last}{number}@{host}.example.com".lower(),
        first_name=first,
        last_name=last,
        company=company,
        title=rng.choice(_TITLES),
        created_at=created_at,
    )
    account.leads[lead.address] = lead
    return lead


def whole_second(at: datetime) -> datetime:
    """The provider writes six digits behind the second, and all are 0."""
    return at.replace(microsecond=0)
