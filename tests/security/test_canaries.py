"""Marked secrets and marked people go through all we do, well and badly, and turn up where they belong and nowhere else.

The run is made once; each test looks at what it left. A new sink is added in sinks.py, a new way to fail in
canary_provider.py.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest

from libs.client.client import OutriderClient
from libs.ids import new_id, parse_public_id
from libs.providers.capabilities import Snapshots
from libs.providers.registry import PROVIDERS
from services.provider_sync.repository.org_keys import SEALED
from tests.flow.hostile import whole
from tests.security.canary_house import House, canary_house
from tests.security.canary_provider import FAULTS, PERSON, SIMULATED
from tests.security.sinks import Sinks, leaks_of_persons, stored

NAMES = ("name", "headline")
TEXTS = ("html", "text", "body", "message", "subject", "preview", "content", "reply", "note", "about")
BAD = ("refused", "quarantined", "unknown", "nul", "odd")  # samples that end badly; of the others some will do
# Requests that go wrong: what they carry must not come back in anything that we say.
KEY = "KCANARYrequest"


@dataclass
class Run:
    sinks: Sinks
    stored: list[tuple[str, str]]
    faults: set[tuple[str, str]]


@pytest.fixture(scope="module")
def run(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    async def make() -> Run:
        with pytest.MonkeyPatch.context() as monkeypatch:
            async with canary_house(postgres_server, tmp_path_factory.mktemp("canary"), monkeypatch) as house:
                await play(house)
                kept = await stored(house.admin_url)
            return Run(house.sinks, kept, house.providers.met)

    return asyncio.run(make())


async def play(house: House) -> None:
    platform = house.client(house.platform_key)
    tenants = []
    for name in ("Here", "There"):
        org = (await platform.create_organization(name))["id"]
        client = house.client(await house.made_key(house.client(house.platform_key, org)))
        tenants.append((client, (await client.create_company("One"))["id"]))
    await house.until("SELECT 1 FROM provider_sync.companies HAVING count(*) = 2")
    working = [await open_accounts(house, *tenant, number) for number, tenant in enumerate(tenants)]
    await house.until(
        "SELECT 1 WHERE NOT EXISTS (SELECT FROM provider_sync.sync_jobs WHERE takes = 0 AND kind <> 'verify_webhook')"
    )
    await asyncio.gather(*(post_webhooks(house, accounts) for accounts in working))
    for (client, _), accounts in zip(tenants, working, strict=True):
        await give_secrets(house, client, accounts)
        await ask_badly(house, client)
    await bother_the_door(house)
    await house.until(
        "SELECT 1 WHERE NOT EXISTS (SELECT FROM provider_sync.inbox WHERE state = 'due' AND attempts = 0) "
        "AND EXISTS (SELECT FROM provider_sync.inbox WHERE state = 'dead')"
    )
    house.providers.turned = True
    for (client, _), accounts in zip(tenants, working, strict=True):
        for key, account in accounts.items():
            if PROVIDERS[house.providers.provider_of[key]].offers(Snapshots):
                await client.start_reconciliation(account)
    await house.until(
        "SELECT 1 FROM provider_sync.sync_jobs WHERE kind = 'snapshot' AND error IS NOT NULL HAVING count(*) = 4"
    )
    for client, _ in tenants:
        await look_at_everything(client)


async def open_accounts(house: House, client: OutriderClient, company: str, number: int) -> dict[str, str]:
    """An account for every fault at every provider, of which all fail; answers those that work until they are turned."""
    planned: list[tuple[str, str | None, str]] = [(one, fault, "writes") for one, fault in product(SIMULATED, FAULTS)]
    planned += [("smartlead", fault, "all") for fault in FAULTS]
    planned = planned[number::2]  # half of them in each organization
    planned += [("smartlead", "bug", "later"), ("emailbison", "422", "later"), ("heyreach", "404", "later")]
    working = {}
    for place, (provider, fault, when) in enumerate(planned):
        key = f"KCANARY{number}x{place}x{new_id().hex}"
        house.providers.add(provider, key, fault=fault, when=when, seed=place)
        account = await client.create_provider_account(
            provider=provider,
            name=f"{fault} {when}",
            company_id=company,
            credentials={"api_key": key},
            base_url=f"http://127.0.0.1:9{SIMULATED[provider][2]}",
        )
        if when == "later":
            house.providers.simulators[key].play(60)
            working[key] = account["id"]
    return working


def marked(value: Any, key: str = "") -> Any:
    """A payload whose people, texts and addresses bear the mark; still a payload of its provider."""
    if isinstance(value, dict):
        return {name: marked(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [marked(inner, key) for inner in value]
    if not isinstance(value, str) or not value:
        return value
    lowered = key.lower()
    if "@" in value and not any(letter in value for letter in " <,"):
        return f"zanary.{value}"
    if lowered.endswith(NAMES):
        return f"Zanary {value}"
    if any(one in lowered for one in TEXTS) and not lowered.endswith(("type", "id", "at", "time")):
        return f"{value} zanary"
    return value


async def post_webhooks(house: House, accounts: dict[str, str]) -> None:
    """Every payload of the corpora, marked: as it is, cut off, and with something else where a value should be."""
    await house.until(
        "SELECT 1 FROM provider_sync.endpoints WHERE account_id = ANY($1) AND status = 'registered' HAVING count(*) = $2",
        [parse_public_id("acc", one) for one in accounts.values()],
        len(accounts),
    )
    for key in accounts:
        url = house.providers.simulators[key].account.registrations[-1].url
        samples = [one for one in whole() if one.provider == url.split("/")[-2] and one.how == "whole"]
        usual = [one for one in samples if not one.name.startswith(BAD)]
        bodies = [body for one in samples if one.name.startswith(BAD) for body in spoilt(one.body)]
        bodies += [body for one in usual[::4] for body in spoilt(one.body)]
        for start in range(0, len(bodies), 20):
            await asyncio.gather(*(house.http.post(url, content=body) for body in bodies[start : start + 20]))


def spoilt(body: bytes) -> Iterator[bytes]:
    try:
        payload = marked(json.loads(body))
    except ValueError:
        yield body + b" zanary"
        return
    yield json.dumps(payload).encode()
    yield json.dumps(payload).encode()[:-20]
    if isinstance(payload, dict):
        field = max(payload, key=lambda name: len(str(payload[name])))
        yield json.dumps({**payload, field: {PERSON: "Zanary Person"}}).encode()


async def give_secrets(house: House, client: OutriderClient, accounts: dict[str, str]) -> None:
    """All ways to hand us a secret after an account is open, taken and refused; and a token that is replaced."""
    endpoints = {one["account_id"]: one for one in (await client._get("/webhook-endpoints"))["data"]}
    for key, account in accounts.items():
        fresh = house.providers.renew(key, f"{key}fresh")
        path = f"{house.gateway}/v1/provider-accounts/{account}"
        for body in ({"credentials": {"api_key": fresh}}, {"credentials": {"api_key": KEY}, "revision": 1}):
            await house.http.patch(path, json=body, headers=client._headers)
        path = f"{house.gateway}/v1/webhook-endpoints/{endpoints[account]['id']}"
        for change in (
            {"add_signing_secret": f"{KEY}{new_id().hex}"},
            {"add_signing_secret": KEY},
            {"add_signing_secret": [KEY]},
            {"allowed_sources": [KEY]},
            {"remove_signing_secrets": [KEY]},
            {"revision": KEY},
        ):
            revision = (await house.http.get(path, headers=client._headers)).json()["revision"]
            await house.http.patch(path, json={"revision": revision} | change, headers=client._headers)
        answer = await house.http.post(f"{path}/rotations", json={"overlap_seconds": 60}, headers=client._headers)
        assert answer.status_code == 202, answer.text


async def ask_badly(house: House, client: OutriderClient) -> None:
    """The gateway, with secrets and people in every place of a request where a mistake could put them."""
    own = client._headers
    account = {"provider": "smartlead", "name": "A", "company_id": "cmp_" + "0" * 32, "credentials": {"api_key": KEY}}
    for body in (
        account,
        account | {"credentials": {"api_key": KEY, "other": KEY}},
        account | {"credentials": {"api_key": [KEY]}},
        account | {"credentials": KEY},
        account | {"credentials": {"api_key": f"{KEY}\n"}},
        account | {"base_url": f"https://user:{KEY}@send.example.com"},
        account | {"base_url": f"https://send.example.com/?api_key={KEY}"},
        account | {"company_id": {KEY: PERSON}},
    ):
        answer = await house.http.post(f"{house.gateway}/v1/provider-accounts", json=body, headers=own)
        assert answer.status_code == 422, answer.text
    await house.http.post(f"{house.gateway}/v1/provider-accounts", content=f'{{"api_key": "{KEY}"', headers=own)
    await house.http.post(f"{house.gateway}/v1/provider-accounts", content=KEY * 200_000, headers=own)
    for headers in (
        {"Authorization": f"Bearer {KEY}"},
        {"Authorization": f"Bearer otr_live_{new_id().hex}_{KEY}"},
        {"Authorization": f"Basic {KEY}"},
        own | {"Outrider-Org": KEY},
        own | {"X-Request-Id": KEY, "traceparent": KEY, "Cookie": f"session={KEY}", "User-Agent": KEY, "Referer": KEY},
    ):
        await house.http.get(f"{house.gateway}/v1/leads", headers=headers)
    for path in (
        f"/v1/leads?api_key={KEY}",
        f"/v1/leads?email={PERSON}",
        f"/v1/leads?after={KEY}",
        f"/v1/leads?limit={KEY}",
        f"/v1/leads/{KEY}",
        f"/v1/{KEY}",
        f"/v1/provider-accounts/{KEY}?token={KEY}",
    ):
        for method in ("GET", "DELETE"):
            await house.http.request(method, house.gateway + path, headers=own)


async def bother_the_door(house: House) -> None:
    """Tokens that open nothing, and one that does, asked in every wrong way."""
    [real, *_] = sorted(house.providers.tokens)
    other = f"{new_id().hex}_{'K' * 43}"
    half = real[:40] + "A" * (len(real) - 40)
    house.sinks.secrets |= {other, half}
    url = f"{house.door}/webhooks/smartlead"
    for path in (f"{url}/{other}", f"{url}/{half}", f"{url}/{real}/more", f"{url}x/{real}", f"{house.door}/{real}"):
        await house.http.post(path, content=f'{{"to_email": "{PERSON}"}}')
    await house.http.get(f"{url}/{real}")
    await house.http.post(f"{url}/{real}?email={PERSON}", content=b"zanary" * 300_000)
    await house.http.post(f"{url}/{real}", content=b"zanary", headers={"content-encoding": "gzip"})
    await house.http.post(f"{url}/{real}", content=b"zanary", headers={"traceparent": PERSON, "user-agent": PERSON})


async def look_at_everything(client: OutriderClient) -> None:
    for listed in (
        client.provider_accounts(), client.dead_letters(), client.deliveries(), client.audit_log(), client.reconciliations(),
        client.api_keys(), client.campaigns(all_companies=True), client.leads(all_companies=True),
        client.conversations(all_companies=True), client.campaign_analytics(all_companies=True),
        client.step_analytics(all_companies=True),
    ):  # fmt: skip
        async for _ in listed:
            pass
    await client.ledger()
    for table in (await client.exports())["data"]:
        assert "next_cursor" in await client.export_page(table["owner"], table["table"])


# Where people are what it is about; all else says nothing of them, logs, spans and reasons least of all.
OF_PEOPLE = tuple(
    re.compile(one)
    for one in (
        r"webhook_ingest\.deliveries\.(body|headers)",  # as they came
        r"provider_sync\.(campaigns|sequence_steps|leads|enrolments|conversations|messages|engagements)\.\w+",  # what they say
        r"analytics\.(facts|campaigns|sequence_steps)\.\w+",  # what they mean
        r"\w+\.(inbox|outbox)\.envelope",  # on the way between these
        r"event (webhook\.received|(campaign|sequence_step|lead|message|engagement)\.recorded)\.v\d",
        r"provider_sync\.sync_jobs\.(key|payload|cause)",  # whom a provider is to be asked about
        r"answer of v1/(email|linkedin|leads|inbox|analytics|exports)",  # shown to whom it belongs
        # The provider's own words, to its customer.
        r"provider_sync\.(endpoints\.error|accounts\.status_reason)|answer of v1/(provider-accounts|webhook-endpoints)",
        r"exception",  # an error may know; what is told of it is a reason (libs.observability.reasons)
    )
)


def test_the_run_met_every_fault_and_every_end(run: Run) -> None:
    assert {fault for _, fault in run.faults} == set(FAULTS)
    texts = {where for where, text in run.stored if text not in ("None", "")}
    assert {f"provider_sync.{one}" for one in ("inbox.reason", "sync_jobs.error", "endpoints.error")} <= texts
    people = leaks_of_persons(run.stored)
    assert {f"provider_sync.{one}" for one in ("messages.body_text", "leads.email", "leads.first_name")} <= set(people)
    assert "webhook_ingest.deliveries.body" in people
    told = [text for where, text in run.sinks.texts() if where == "log"]
    for event in ("sync_job_failed", "message_handled", "webhook_refused", "started", "stopping"):
        assert any(f'"event": "{event}"' in line for line in told), event
    assert any('"exception"' in line for line in told), "a bug was met, and its trace told"
    assert {"POST /webhooks/{provider}/***", "sync register_webhook"} <= {span.name for span in run.sinks.spans}
    assert len(run.sinks.secrets) > 50
    assert run.sinks.errors


def test_no_secret_is_anywhere(run: Run) -> None:
    assert run.sinks.leaks_of_secrets([*run.sinks.texts(), *run.stored]) == {}


def test_people_are_where_they_belong_only(run: Run) -> None:
    found = leaks_of_persons([*run.sinks.texts(), *run.stored])

    assert {where: text for where, text in found.items() if not any(one.fullmatch(where) for one in OF_PEOPLE)} == {}


def test_what_is_sealed_is_no_text(run: Run) -> None:
    sealed = [text for where, text in run.stored if where in {f"provider_sync.{t}.{c}" for t, c in SEALED.items()}]

    assert len(sealed) > 100
    assert all(text[0] == "\x02" for text in sealed)
