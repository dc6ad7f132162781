"""A HeyReach workspace as things: senders, campaigns, leads, threads and what was said in them."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from libs.providers.fields import JsonObject
from libs.providers.heyreach import keys
from libs.providers.heyreach.profiles import read_profile
from libs.providers.sightings import Direction

_FIRST_NAMES = "Ada Nils Imani Tomas Freya Anton Salma Bruno Ingrid Kofi Livia Oskar Rania Emre Sofia Viktor".split()
_LAST_NAMES = "Example Berg Mensah Costa Lund Petrov Aziz Keller Dahl Owusu Marin Holt Nasser Demir Rossi Falk".split()
_COMPANIES = "Example Freight,Pier Nine,Grey Harbour,Salt & Rope,North Basin,Long Quay,Red Buoy,Open Dock".split(",")
_POSITIONS = ("COO", "Head of Operations", "Terminal Manager", "Owner", None)
_PLACES = ("Oslo", "Rotterdam", "Aarhus", None)
_CAMPAIGN_NAMES = ("Q4 Ops Leaders", "Harbour owners", "Event guests", "Second wave")
_TEXTS = (
    "Hi {first_name},\nquick idea on berth slots.",
    "{first_name}, did this reach you?\n\nTwo lines would do.",
    "Last note from me, {first_name}: shall I send the numbers?",
)


@dataclass(slots=True)
class Sender:
    """One of our people, whose LinkedIn account writes."""

    id: int
    first_name: str
    last_name: str

    @property
    def name(self) -> str:
        return f"{self.first_name} {self.last_name}"

    @property
    def address(self) -> str:
        return f"{self.first_name}@sender.example.com".lower()

    @property
    def profile_url(self) -> str:
        return f"https://www.linkedin.com/in/{self.first_name}-{self.last_name}-{self.id}-example".lower()


@dataclass(slots=True)
class Lead:
    id: str  # LinkedIn's number of the member, as text
    profile_url: str
    first_name: str
    last_name: str
    company_name: str
    position: str | None
    location: str | None
    tags: list[str] = field(default_factory=list)
    address: str | None = None

    @property
    def name(self) -> str:
        return f"{self.first_name} {self.last_name}"

    @property
    def key(self) -> str:
        return keys.lead(read_profile(self.profile_url) or "")


@dataclass(frozen=True, slots=True)
class Said:
    at: datetime
    text: str
    is_reply: bool


@dataclass(slots=True)
class Thread:
    """What a sender and a lead say to each other, whichever campaigns are about it."""

    conversation_id: str
    lead: Lead
    sender: Sender
    is_inmail: bool
    campaign_id: int | None  # the last that used it; None: they wrote first
    said: list[Said] = field(default_factory=list)
    is_read: bool = False

    def key(self, said: Said) -> str:
        direction = Direction.INBOUND if said.is_reply else Direction.OUTBOUND
        return keys.message(self.conversation_id, said.at, direction, said.text)


@dataclass(slots=True)
class Enrolment:
    """A lead in a campaign. The three statuses are told side by side; `node` is the step that is due at `next_at`."""

    id: int
    lead: Lead
    sender: Sender
    created_at: datetime
    campaign_status: str = "Pending"  # InSequence, Finished, Paused, Failed
    connection_status: str = "None"  # ConnectionSent, ConnectionAccepted
    message_status: str = "None"  # MessageSent, MessageReply
    last_action_at: datetime | None = None
    custom_fields: dict[str, str] = field(default_factory=dict)
    thread: Thread | None = None
    node: JsonObject | None = None
    next_at: datetime | None = None
    is_stopped: bool = False

    @property
    def is_over(self) -> bool:
        return self.campaign_status in ("Finished", "Failed")


@dataclass(slots=True)
class Campaign:
    id: int
    name: str
    list_id: int
    list_name: str
    created_at: datetime
    senders: list[Sender]
    texts: tuple[str, ...]
    history: list[tuple[datetime, str]]  # status from that moment on, in order of time
    sequence: JsonObject | None = None  # as it was written
    enrolments: dict[str, Enrolment] = field(default_factory=dict)  # by the lead's id

    @property
    def external_id(self) -> str:
        return str(self.id)

    def status_at(self, at: datetime) -> str:
        return next((status for since, status in reversed(self.history) if since <= at), "DRAFT")

    def enrol(self, account: Account, lead: Lead, sender: Sender, at: datetime) -> Enrolment:
        made = Enrolment(next(account.ids), lead, sender, at)
        self.enrolments[lead.id] = made
        return made


@dataclass(slots=True)
class UserList:
    """A list that was made by itself; each campaign has one of its own besides."""

    id: int
    name: str
    created_at: datetime
    leads: dict[str, Lead] = field(default_factory=dict)  # by the lead's id


@dataclass(slots=True)
class Registration:
    """One webhook: one event type. Two of one type and URL both live, and both post."""

    id: int
    name: str
    url: str
    event_type: str
    campaign_ids: list[int]
    is_active: bool = True


@dataclass(slots=True)
class Account:
    api_key: str
    organization_unit_id: int
    senders: list[Sender]
    campaigns: list[Campaign]
    last_webhook_id: int
    registrations: list[Registration] = field(default_factory=list)
    leads: list[Lead] = field(default_factory=list)
    threads: list[Thread] = field(default_factory=list)
    lists: list[UserList] = field(default_factory=list)
    tags: set[str] = field(default_factory=lambda: {"Interested", "Later", "Port"})
    unreachable: set[str] = field(default_factory=set)  # profiles whom it cannot add, as `read_profile` spells them
    ids: Iterator[int] = field(default_factory=lambda: iter(range(7_000_000, 9_000_000)))  # of what is made meanwhile

    def new_webhook_id(self) -> int:
        """No id comes twice, also when what had it is gone."""
        self.last_webhook_id += 1
        return self.last_webhook_id

    def campaign(self, external_id: str) -> Campaign | None:
        return next((campaign for campaign in self.campaigns if campaign.external_id == external_id), None)

    def sender(self, number: object) -> Sender | None:
        return next((sender for sender in self.senders if sender.id == number), None)

    def lead_at(self, profile: str) -> Lead | None:
        """By any spelling of the profile's URL."""
        wanted = read_profile(profile)
        return next((lead for lead in self.leads if read_profile(lead.profile_url) == wanted), None)


def new_uuid(rng: random.Random) -> str:
    """A version 4 UUID that the seed decides."""
    number = rng.getrandbits(128) & ~(0xF << 76 | 0x3 << 62) | 0x4 << 76 | 0x2 << 62
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def open_account(rng: random.Random, *, api_key: str, now: datetime, campaigns: int, drafts: int) -> Account:
    """A workspace with so many campaigns that run, the last of them finished by now, and so many drafts."""
    senders = [
        Sender(90_000 + rng.randrange(1000) * 10 + number, first, "Sender")
        for number, first in enumerate(("Sam", "Kim", "Noa"))
    ]
    first_campaign, first_list = rng.randrange(300_000, 900_000), rng.randrange(100_000, 900_000)
    found = []
    for index in range(campaigns + drafts):
        created_at = now - timedelta(days=30, seconds=rng.randrange(86_400), microseconds=rng.randrange(1_000_000))
        history = [(created_at, "DRAFT")]
        if index < campaigns:
            history.append((now - timedelta(days=28), "IN_PROGRESS"))
        if 0 < index == campaigns - 1:
            history.append((now - timedelta(minutes=20), "FINISHED"))
        name = _CAMPAIGN_NAMES[index % len(_CAMPAIGN_NAMES)]
        found.append(
            Campaign(
                id=first_campaign + 11 * index,
                name=name if index < len(_CAMPAIGN_NAMES) else f"{name} {index}",
                list_id=first_list + 3 * index,
                list_name=f"{name} list",
                created_at=created_at,
                senders=senders[index % 2 : index % 2 + 2],
                texts=_TEXTS,
                history=history,
                sequence=_sequence(_TEXTS),
            )
        )
    return Account(
        api_key=api_key,
        organization_unit_id=rng.randrange(1000, 9999),
        senders=senders,
        campaigns=found,
        last_webhook_id=rng.randrange(20_000, 80_000),
    )


def _sequence(texts: tuple[str, ...]) -> JsonObject:
    """A request, and the texts for those who accept it."""
    end: JsonObject = {"nodeType": "END", "actionDelay": 3, "actionDelayUnit": "HOUR"}
    following = end
    for number, text in reversed(list(enumerate(texts))):
        following = {
            "nodeType": "MESSAGE",
            "actionDelay": 2 if number else 3,
            "actionDelayUnit": "DAY" if number else "HOUR",
            "payload": {"messages": [text.replace("{first_name}", "{firstName}")]},
            "unconditionalNode": following,
        }
    return {
        "nodeType": "CONNECTION_REQUEST",
        "actionDelay": 3,
        "actionDelayUnit": "HOUR",
        "payload": {"messages": ["Hi {firstName}, shall we connect?"], "fallbackMessage": "Shall we connect?"},
        "conditionalNode": following,
        "unconditionalNode": end,
    }


def new_lead(rng: random.Random, account: Account) -> Lead:
    """A person who does not exist, at a company that does not exist."""
    number = len(account.leads)
    first, last = rng.choice(_FIRST_NAMES), rng.choice(_LAST_NAMES)
    slug = f"{first}-{last}-{account.organization_unit_id}{number:04d}-example".lower()
    lead = Lead(
        id=str(50_000_000 + account.organization_unit_id * 10_000 + number),
        profile_url=f"https://www.linkedin.com/in/{slug}",
        first_name=first,
        last_name=last,
        company_name=rng.choice(_COMPANIES),
        position=rng.choice(_POSITIONS),
        location=rng.choice(_PLACES),
    )
    account.leads.append(lead)
    return lead


def new_thread(rng: random.Random, account: Account, lead: Lead, sender: Sender, *, is_inmail: bool) -> Thread:
    identifier = "2-" + base64.b64encode(f"{new_uuid(rng)}_100".encode()).decode()
    thread = Thread(identifier, lead, sender, is_inmail, campaign_id=None)
    account.threads.append(thread)
    return thread
