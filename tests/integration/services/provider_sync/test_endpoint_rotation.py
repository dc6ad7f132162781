"""A webhook endpoint's token is replaced at the door and at the provider, and no post is lost for it."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import structlog

from libs import clock
from libs.contracts.events import ActionPerformedV1, WebhookEndpointChangedV1
from libs.errors import Conflict, NotFound, ProviderRefused
from libs.ids import new_id
from libs.providers.registry import PROVIDERS
from libs.providers.simulation import FaultKind
from libs.providers.smartlead.client import SmartleadClient
from services.provider_sync.domain.endpoints import MOST_TOKENS
from services.provider_sync.domain.jobs import Job, JobKind
from services.provider_sync.handlers import registration, rotations
from tests.integration.services.provider_sync.house import Account, House
from tests.integration.services.provider_sync.stage import payload

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
WEEK = 7 * 86_400


@pytest.fixture
async def house_of(database, units):
    opened = []

    def house_of(provider, **simulated):
        opened.append(House(database("provider_sync"), units("provider_sync"), provider, **simulated))
        return opened[-1]

    yield house_of
    for house in opened:
        await house.http.aclose()


@pytest.fixture
def house(house_of):
    return house_of("smartlead")


@pytest.fixture
async def account(house, make_org):
    return await registered_account(house, make_org)


async def registered_account(house, make_org) -> Account:
    """Registered at noon; so is a second tenant's, at the same provider, where it is not seen here."""
    with clock.frozen(NOON):
        neighbour, account = await house.open_account(make_org()), await house.open_account(make_org())
        await house.make_ready(neighbour)
        await house.worker.run_due()
        house.simulator.account.registrations.clear()
        await house.make_ready(account)
        await house.worker.run_due()
    assert isinstance(account, Account)
    return account


async def rotate(house: House, account: Account, overlap_seconds: int = WEEK) -> WebhookEndpointChangedV1:
    """Answers what the door is told."""
    async with house.units.begin(account.org_id) as work:
        await rotations.rotate(account.endpoint.endpoint_id, overlap_seconds, work, house.sealer)
    return await newest(house, account)


async def newest(house: House, account: Account) -> WebhookEndpointChangedV1:
    changed: list[WebhookEndpointChangedV1] = await house.told(account, WebhookEndpointChangedV1)
    return max(changed, key=lambda event: event.revision)


async def register(house: House, account: Account, changed: WebhookEndpointChangedV1) -> WebhookEndpointChangedV1:
    """The door says that it knows the token, and the worker works; answers what the door is told then."""
    await house.make_ready(account, changed.token_id)
    await house.worker.run_due()
    return await newest(house, account)


async def tokens(house: House, account: Account) -> list[Any]:
    async with house.database.tenant_transaction(account.org_id) as session:
        return list(await session.fetch("SELECT * FROM earlier_tokens ORDER BY replaced_at, id"))


def sha256_in(url: str) -> str:
    return hashlib.sha256(url.rsplit("/", 1)[1].encode()).hexdigest()


def urls(house: House) -> list[str]:
    return list(dict.fromkeys(one.url for one in house.simulator.account.registrations))


async def wait_of(house: House, account: Account, kind: str) -> timedelta:
    """How long the newest job of this kind waits yet."""
    async with house.database.tenant_transaction(account.org_id) as session:
        waits = await session.fetchval(
            "SELECT due_at - now() FROM sync_jobs WHERE kind = $1 AND state = 'due' ORDER BY created_at DESC LIMIT 1",
            kind,
        )
    assert isinstance(waits, timedelta)
    return waits


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_the_provider_is_told_the_new_address_and_the_old_one_lives_on(house_of, make_org, provider):
    house = house_of(provider)
    account = await registered_account(house, make_org)
    (old,) = urls(house)

    with clock.frozen(NOON + HOUR):
        told = await rotate(house, account)
        assert await house.worker.run_due() == 0, "the provider is told nothing that the door does not know"
        registered = await register(house, account, told)

    assert (told.revision, told.account_id) == (2, account.id)
    assert told.envelope.company_id == account.company_id
    assert told.token_id is not None
    (waiting,) = told.earlier_tokens
    assert (waiting.token_id, waiting.token_sha256) == (account.endpoint.endpoint_id, account.endpoint.token_sha256)
    assert (waiting.ends_at, waiting.dead_at) == (None, None), "it has no end before the new one is registered"
    before, after = urls(house)
    assert before == old
    assert sha256_in(after) == told.token_sha256 == registered.token_sha256
    assert registered.revision == 3
    (ending,) = registered.earlier_tokens
    assert ending.ends_at == NOON + HOUR + 14 * DAY
    assert ending.dead_at == ending.ends_at + 30 * DAY
    row = await house.endpoint(account)
    assert (row["status"], row["token_id"]) == ("registered", told.token_id)
    assert timedelta(hours=23) < await wait_of(house, account, "remove_webhook") <= DAY
    assert timedelta(days=6) < await wait_of(house, account, "end_token") <= 7 * DAY


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_the_old_registration_is_deleted_when_retries_are_over(house_of, make_org, provider):
    house = house_of(provider)
    account = await registered_account(house, make_org)
    await register(house, account, await rotate(house, account))
    before, after = urls(house)

    await house.make_due(account)
    await house.worker.run_due()

    (token,) = await tokens(house, account)
    assert urls(house) == [after] != [before]
    assert (token["removed_at"] is not None, token["removal_error"]) == (True, None)


async def test_a_registration_that_cannot_be_deleted_is_told_to_people(house, account, monkeypatch):
    async def refuse(*_: Any, **__: Any) -> None:
        raise ProviderRefused("DELETE /webhook/delete was refused (403)")

    monkeypatch.setattr(SmartleadClient, "delete_webhook", refuse)
    await register(house, account, await rotate(house, account, 0))

    (token,) = await tokens(house, account)
    assert token["removed_at"] is None
    assert "was refused" in token["removal_error"]
    assert len(urls(house)) == 2
    assert (await house.endpoint(account))["status"] == "registered"


async def test_word_of_an_older_token_registers_nothing(house, account):
    await rotate(house, account)

    await house.make_ready(account, account.endpoint.endpoint_id)
    await house.make_ready(account, new_id())
    await house.worker.run_due()

    assert (await house.endpoint(account))["status"] == "pending"
    assert len(urls(house)) == 1


async def test_an_old_token_ends_when_nobody_uses_it_and_the_door_is_told(house, account):
    with clock.frozen(NOON):
        told = await register(house, account, await rotate(house, account))
    ids = {"old": account.endpoint.endpoint_id, "new": told.token_id}

    async def ask(moment: datetime) -> WebhookEndpointChangedV1:
        await house.make_due(account)
        with clock.frozen(moment):
            await house.worker.run_due()
        return await newest(house, account)

    with clock.frozen(NOON + 6 * DAY + 12 * HOUR):
        await house.deliver(account, [payload("email_sent")], token_id=ids["old"])
        await house.deliver(account, [payload("email_open")], token_id=ids["new"])
    assert (await ask(NOON + 7 * DAY)).revision == 3, "it was in use half a day ago"
    assert timedelta(hours=11) < await wait_of(house, account, "end_token") <= 12 * HOUR
    ended = await ask(NOON + 7 * DAY + 12 * HOUR)

    assert ended.revision == 4
    (token,) = ended.earlier_tokens
    assert token.ends_at == NOON + 7 * DAY + 12 * HOUR
    assert token.dead_at == token.ends_at + 30 * DAY
    (row,) = await tokens(house, account)
    assert row["last_used_at"] == NOON + 6 * DAY + 12 * HOUR
    assert (await ask(NOON + 8 * DAY)).revision == 4


async def test_a_token_that_is_used_for_ever_ends_all_the_same(house, account):
    with clock.frozen(NOON):
        await register(house, account, await rotate(house, account))
    with clock.frozen(NOON + 14 * DAY):
        await house.deliver(account, [payload("email_sent")], token_id=account.endpoint.endpoint_id)
        await house.make_due(account)
        await house.worker.run_due()

    assert (await tokens(house, account))[0]["ended_at"] == NOON + 14 * DAY


async def test_a_leaked_token_ends_at_once_and_is_deleted_once_the_new_one_is_there(house, account):
    with clock.frozen(NOON):
        told = await rotate(house, account, 0)
    (leaked,) = told.earlier_tokens
    assert leaked.ends_at == NOON
    before = urls(house)

    await register(house, account, told)

    assert len(before) == 1
    assert [sha256_in(url) for url in urls(house)] == [told.token_sha256]


async def test_one_rotation_at_a_time_unless_it_ends_all(house, account):
    first = await rotate(house, account)
    with pytest.raises(Conflict) as refused:
        await rotate(house, account)
    assert refused.value.code == "rotation_under_way"
    await register(house, account, first)
    with pytest.raises(Conflict, match="has not ended yet"):
        await rotate(house, account)

    with clock.frozen(NOON):
        last = await rotate(house, account, 0)

    assert {one.ends_at for one in last.earlier_tokens} == {NOON}
    assert {one.token_sha256 for one in last.earlier_tokens} == {account.endpoint.token_sha256, first.token_sha256}
    await register(house, account, last)
    assert [sha256_in(url) for url in urls(house)] == [last.token_sha256]
    for number in range(MOST_TOKENS - 2):
        with clock.frozen(NOON + number * HOUR):
            await rotate(house, account, 0)
    with pytest.raises(Conflict) as refused, clock.frozen(NOON + DAY):
        await rotate(house, account, 0)
    assert refused.value.code == "too_many_tokens"
    with clock.frozen(NOON + 31 * DAY):
        late = await rotate(house, account, 0)
    assert [one.ends_at for one in late.earlier_tokens if one.ends_at and one.ends_at < NOON + DAY] == []


async def test_a_rotation_that_the_provider_refused_costs_the_old_token_nothing(house, account, monkeypatch):
    async def refuse(*_: Any, **__: Any) -> str:
        raise ProviderRefused("POST /webhook/create was refused (400)")

    with monkeypatch.context() as patched:
        patched.setattr(SmartleadClient, "register_webhook", refuse)
        failed = await register(house, account, await rotate(house, account))
    assert (await house.endpoint(account))["status"] == "failed"
    assert [one.ends_at for one in failed.earlier_tokens] == [None]

    with clock.frozen(NOON):
        again = await rotate(house, account)
        done = await register(house, account, again)

    ends = {one.token_sha256: one.ends_at for one in done.earlier_tokens}
    assert ends == {failed.token_sha256: NOON, account.endpoint.token_sha256: NOON + 14 * DAY}
    assert (await house.endpoint(account))["status"] == "registered"


async def test_a_registration_without_an_answer_begins_the_overlap_once_a_post_proves_it(house, account):
    house.api.faults.next(FaultKind.PAGE, path="/webhook/create")
    unknown = await register(house, account, await rotate(house, account))
    assert (await house.endpoint(account))["status"] == "unknown"
    assert [one.ends_at for one in unknown.earlier_tokens] == [None]

    with clock.frozen(NOON):
        await house.deliver(account, [payload("email_sent")], token_id=account.endpoint.endpoint_id)
        assert (await house.endpoint(account))["status"] == "unknown", "the old address proves nothing"
        await house.deliver(account, [payload("email_open")], token_id=unknown.token_id)

    assert (await house.endpoint(account))["status"] == "registered"
    proven = await newest(house, account)
    assert [one.ends_at for one in proven.earlier_tokens] == [NOON + 14 * DAY]
    await house.deliver(account, [payload("email_link_click")], token_id=unknown.token_id)
    assert (await newest(house, account)).revision == proven.revision
    kinds = {job["kind"] for job in await house.jobs(account)}
    assert kinds == {"register_webhook", "remove_webhook", "end_token", "verify_webhook"}


async def test_a_token_replaced_while_it_is_being_registered_is_deleted_there(house, account, monkeypatch):
    """Its registration is on its way when somebody revokes it: what it leads to is known, and undone."""
    first = await rotate(house, account)
    original = registration.register

    async def revoked_meanwhile(*arguments: Any, **named: Any) -> Any:
        monkeypatch.setattr(registration, "register", original)
        outcome = await original(*arguments, **named)
        await rotate(house, account, 0)
        return outcome

    monkeypatch.setattr(registration, "register", revoked_meanwhile)
    second = await register(house, account, first)
    assert len(urls(house)) == 2

    await register(house, account, second)

    assert [sha256_in(url) for url in urls(house)] == [second.token_sha256]
    assert [row["removed_at"] is not None for row in await tokens(house, account)] == [True, True]


async def test_an_answer_that_comes_when_its_token_is_long_replaced_is_undone_as_well(house, account):
    """Its worker was taken for dead, and another one went on."""
    replaced = await rotate(house, account)
    await register(house, account, await rotate(house, account, 0))
    await house.worker.run_due()
    assert len(urls(house)) == 1
    payload = {"endpoint_id": str(replaced.endpoint_id), "token_id": str(replaced.token_id)}
    job = Job(new_id(), account.id, JobKind.REGISTER_WEBHOOK, payload, replaced.envelope, 1, 1, 1)
    client = SmartleadClient(house.simulator.api_key, f"http://127.0.0.1{house.path}", house.http)
    late = await client.register_webhook(url="https://hooks.example.com/webhooks/smartlead/late", name="Outrider")

    async with house.units.begin(account.org_id) as work:
        await registration.keep(job, registration.Outcome("registered", provider_webhook_id=late), work)
    assert len(urls(house)) == 2
    await house.worker.run_due()

    assert len(urls(house)) == 1


async def test_what_may_be_registered_without_an_id_is_a_persons_to_remove(house, account):
    house.api.faults.next(FaultKind.PAGE, path="/webhook/create")
    await register(house, account, await rotate(house, account))

    await register(house, account, await rotate(house, account))

    first, second = await tokens(house, account)
    assert first["removal_error"] is None
    assert "remove the webhook there whose address ends so" in second["removal_error"]
    assert second["ended_at"] is None, "it may be in use"


async def test_tokens_are_nowhere_to_be_read(house, account):
    with structlog.testing.capture_logs() as logs:
        await register(house, account, await rotate(house, account))
    texts = [re.escape(url.rsplit("/", 1)[1].split("_", 1)[1]) for url in urls(house)]
    secret = re.compile("|".join(texts))

    async with house.database.tenant_transaction(account.org_id) as session:
        rows = await session.fetch("SELECT e::text || t::text AS text FROM endpoints e, earlier_tokens t")
        jobs = await session.fetch("SELECT j::text AS text FROM sync_jobs j")
    async with house.database.transaction() as transaction:
        await transaction.as_dispatch()
        told = await transaction.driver.fetch("SELECT convert_from(envelope, 'UTF8') AS text FROM outbox")
    assert len(texts) == 2
    for text in (*(row["text"] for row in (*rows, *jobs, *told)), *map(str, logs)):
        assert secret.search(text) is None
    (performed,) = [
        one for one in await house.told(account, ActionPerformedV1) if one.action == "webhook_endpoint.rotated"
    ]
    assert performed.details == {"overlap_seconds": WEEK}
    last4 = {row["last4"] for row in await tokens(house, account)}
    assert last4 == {urls(house)[0][-4:]}


async def test_another_orgs_endpoint_is_none(house, account, make_org):
    stranger = await house.open_account(make_org())
    for endpoint_id in (account.endpoint.endpoint_id, UUID(int=7)):
        with pytest.raises(NotFound, match="there is no whe_ object with this id"):
            async with house.units.begin(stranger.org_id) as work:
                await rotations.rotate(endpoint_id, 0, work, house.sealer)

    assert (await newest(house, account)).revision == 1
