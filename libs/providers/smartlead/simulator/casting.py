"""Accounts, campaigns and people as they are made up: one seed, one cast."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

from libs.providers.smartlead.simulator.model import Account, Campaign, Client, Lead, Mailbox, Settings, Step

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
        _campaign(rng, first_campaign + 7 * index, index, client_id, [mailbox.id for mailbox in mailboxes], now=now)
        for index, client_id in enumerate(clients_of_campaigns)
    ]
    known_clients = dict.fromkeys(client_id for client_id in clients_of_campaigns if client_id is not None)
    return Account(
        api_key=api_key,
        user_id=rng.randrange(10_000, 99_999),
        secret_key=new_uuid(rng),
        webhook_id=rng.randrange(100_000, 999_999),
        webhook_created_at=born,
        clients=[
            Client(client_id, f"Client {client_id}", f"client{client_id}@agency.example.com", born)
            for client_id in known_clients
        ],
        mailboxes=mailboxes,
        campaigns=campaigns,
    )


def _campaign(
    rng: random.Random, campaign_id: int, index: int, client_id: int | None, mailbox_ids: list[int], *, now: datetime
) -> Campaign:
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
        settings=Settings(
            schedule={"tz": "Europe/Lisbon", "days": [1, 2, 3, 4, 5], "startHour": "09:00", "endHour": "17:00"}
        ),
        mailbox_ids=mailbox_ids,
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
