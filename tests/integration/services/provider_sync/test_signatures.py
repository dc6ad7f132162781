"""Deliveries are judged when they are handled: observed ones are counted, unproven ones withheld where a proof is required."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import Any

import orjson
import pytest
import structlog

from libs.contracts.envelope import read as read_envelope
from libs.contracts.events import DeadLetterChangedV1
from libs.errors import NotFound
from libs.ids import new_id
from libs.providers.registry import PROVIDERS
from services.provider_sync.endpoint_schemas import EndpointChangeIn
from services.provider_sync.handlers import endpoints
from services.provider_sync.key_ring import KeyRing
from services.provider_sync.sealing import Sealer
from tests.integration.services.provider_sync import stage as stages
from tests.integration.services.provider_sync.house import Account, House
from tests.integration.services.provider_sync.stage import inbox_states, payload, rows_of

QUEUE = "provider-sync.webhooks"
OLD, NEW = "the secret that was", "the secret that will be"


@pytest.fixture
async def house(database, units):
    house = House(database("provider_sync"), units("provider_sync"))
    yield house
    await house.http.aclose()


@pytest.fixture
async def account(house, make_org):
    return await house.open_account(make_org())


@pytest.fixture
async def neighbour(house, make_org):
    return await house.open_account(make_org())


async def configure(house: House, account: Account, **changes: Any) -> None:
    async with house.units.begin(account.org_id) as work:
        revision = await work.session.fetchval("SELECT revision FROM endpoints")
        await endpoints.change_endpoint(
            account.endpoint.endpoint_id, EndpointChangeIn(revision=revision, **changes), work,
            providers=PROVIDERS, sealer=house.sealer,
        )  # fmt: skip


async def require(house: House, account: Account, *secrets: str) -> None:
    """Through observation, as anybody must."""
    for secret in secrets:
        await configure(house, account, add_signing_secret=secret)
    await configure(house, account, signature_mode="observe")
    moved = payload("campaign_status_changed")  # it tells of no message
    await house.deliver(account, [moved], **signed(moved, secrets[0]))
    await configure(house, account, signature_mode="require")


def signed(body: bytes, secret: str) -> dict[str, str]:
    """The field of its event that says how a body was signed."""
    signature = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"signature_headers": orjson.dumps({"x-smartlead-signature": signature}).decode()}


async def counts(house: House, account: Account) -> dict[str, int]:
    row = await house.endpoint(account)
    return {name: row[name] for name in ("verified", "unsigned", "mismatched", "listed", "unlisted")}


async def parked(house: House, account: Account) -> list[Any]:
    async with house.database.transaction() as transaction:
        await transaction.as_dispatch()
        rows = await transaction.driver.fetch(
            "SELECT * FROM inbox WHERE org_id = $1 AND state = 'parked' ORDER BY event_id", account.org_id
        )
    return list(rows)


async def release(house: House, account: Account) -> int:
    async with house.units.begin(account.org_id) as work:
        released = await endpoints.release_withheld(account.endpoint.endpoint_id, work)
    await stages.processor(house.database, QUEUE).run_due()
    return released.released


async def messages(house: House, account: Account) -> int:
    return len(await keys(house, account))


async def keys(house: House, account: Account) -> set[str]:
    return {row["key"] for row in (await rows_of(house.database, account.org_id))["messages"]}


def without_key(name: str, **changes: Any) -> bytes:
    body = orjson.loads(payload(name, **changes))
    body.pop("secret_key", None)
    return orjson.dumps(body)


async def deliver_all(house: House, account: Account, posts: Sequence[tuple[bytes, dict[str, str]]]) -> None:
    """In one batch, each with fields of its own."""
    envelopes = [house.webhook(account, body, **more) for body, more in posts]
    await stages.processor(house.database, QUEUE).deliver(envelopes)


async def test_what_is_observed_is_counted_and_applied_whatever_it_shows(house, account, neighbour):
    await configure(house, account, add_signing_secret=NEW, allowed_sources=["192.0.2.0/24"])
    await configure(house, account, signature_mode="observe")
    sent, opened, clicked = without_key("email_sent"), without_key("email_open"), without_key("email_link_click")

    await deliver_all(
        house,
        account,
        [(sent, signed(sent, NEW)), (opened, {}), (clicked, signed(clicked, OLD)), (payload("email_reply"), {})],
    )
    await house.deliver(account, [payload("email_bounce", secret_key=NEW)], source_listed=False)
    await house.deliver(neighbour, [sent, opened, clicked, payload("email_reply"), payload("email_bounce")])

    assert await counts(house, account) == {
        "verified": 2, "unsigned": 1, "mismatched": 2, "listed": 0, "unlisted": 1,
    }  # fmt: skip
    assert set((await counts(house, neighbour)).values()) == {0}
    assert await parked(house, account) == []
    assert await keys(house, account) == await keys(house, neighbour) != set()


async def test_where_a_proof_is_required_what_shows_none_waits_and_the_rest_of_its_batch_is_applied(
    house, account, neighbour
):
    await require(house, account, NEW)
    await require(house, neighbour, NEW)
    before = await rows_of(house.database, account.org_id)
    heard = (await house.endpoint(account))["last_webhook_at"]
    good, unsigned, forged = (
        without_key("email_sent", stats_id="one", message_id="<one@example.com>"),
        without_key("email_sent", stats_id="two", message_id="<two@example.com>"),
        without_key("email_reply"),
    )

    with structlog.testing.capture_logs() as logs:
        await deliver_all(house, account, [(unsigned, {}), (forged, signed(unsigned, NEW))])
    assert await rows_of(house.database, account.org_id) == before
    assert (await house.endpoint(account))["last_webhook_at"] == heard, "who shows no proof was not heard"
    await deliver_all(house, account, [(forged, {}), (good, signed(good, NEW)), (unsigned, signed(unsigned, OLD))])

    assert await messages(house, account) == 1
    waiting = await parked(house, account)
    assert [row["error_class"] for row in waiting] == ["signature_refused"] * 4
    assert {row["reason"] for row in waiting} == {
        "the delivery shows no proof that it is its provider's",
        "the delivery shows a proof that none of the endpoint's secrets makes",
    }
    assert await counts(house, account) == {"verified": 1, "unsigned": 2, "mismatched": 2, "listed": 0, "unlisted": 0}
    told = await house.told(account, DeadLetterChangedV1)
    assert [(one.state, one.error_class, one.consumer) for one in told] == [("parked", "signature_refused", QUEUE)] * 4
    assert await parked(house, neighbour) == []
    assert "secret that" not in str(logs) + str([bytes(row["envelope"]) for row in waiting])


async def test_released_deliveries_are_judged_with_the_secrets_of_then(house, account, neighbour):
    """The secret was changed at the provider first: what came meanwhile waits, and nothing is lost."""
    await require(house, account, OLD)
    await require(house, neighbour, OLD)
    sent, forged = without_key("email_sent"), without_key("email_reply")
    await deliver_all(house, account, [(sent, signed(sent, NEW)), (forged, {})])
    await deliver_all(house, neighbour, [(sent, signed(sent, NEW))])
    assert await release(house, account) == 2
    assert await messages(house, account) == 0
    assert len(await parked(house, account)) == 2, "nothing was mended, so they wait again"

    await configure(house, account, add_signing_secret=NEW)
    assert await release(house, account) == 2

    assert await messages(house, account) == 1
    (left,) = await parked(house, account)
    assert read_envelope(bytes(left["envelope"])).binary == forged
    assert left["attempts"] == 3
    assert len(await parked(house, neighbour)) == 1
    assert await release(house, account) == 1


async def test_the_mode_is_that_of_the_moment_of_handling(house, account):
    await require(house, account, NEW)
    envelope = house.webhook(account, without_key("email_sent"))
    await configure(house, account, signature_mode="off")

    await stages.processor(house.database, QUEUE).deliver([envelope])

    assert (await inbox_states(house.database, QUEUE))[envelope.id] == "done"
    assert await messages(house, account) == 1


async def test_two_secrets_are_good_until_one_is_removed(house, account):
    await require(house, account, OLD, NEW)
    one, two, three = (
        without_key("email_sent", stats_id=name, message_id=f"<{name}@example.com>") for name in ("one", "two", "three")
    )
    await deliver_all(house, account, [(one, signed(one, OLD)), (two, signed(two, NEW))])
    assert await messages(house, account) == 2

    async with house.database.tenant_transaction(account.org_id) as session:
        oldest = await session.fetchval("SELECT id FROM signing_secrets ORDER BY made_at, id LIMIT 1")
    await configure(house, account, remove_signing_secrets=[f"whs_{oldest.hex}"])
    await deliver_all(house, account, [(three, signed(three, OLD))])

    assert await messages(house, account) == 2
    assert len(await parked(house, account)) == 1


async def test_a_missing_key_stops_what_wants_its_proof_and_nobody_else(house, account, neighbour, monkeypatch):
    await require(house, account, NEW)
    await configure(house, neighbour, add_signing_secret=NEW)
    await configure(house, neighbour, signature_mode="observe")
    sent = without_key("email_sent")
    monkeypatch.setattr(stages, "SEALER", Sealer(lambda: KeyRing(["ff" * 32])))

    await stages.processor(house.database, QUEUE).deliver(
        [house.webhook(one, sent, **signed(sent, NEW)) for one in (account, neighbour)]
    )

    assert await messages(house, neighbour) == 1
    assert (await counts(house, neighbour))["verified"] == 0
    (waiting,) = await parked(house, account)
    assert waiting["reason"] == "the endpoint's signing secrets do not open at the moment"
    monkeypatch.undo()
    assert await release(house, account) == 1
    assert await messages(house, account) == 1


async def test_nobody_releases_anothers(house, account, neighbour):
    await require(house, account, NEW)
    await deliver_all(house, account, [(without_key("email_sent"), {})])

    for endpoint_id in (account.endpoint.endpoint_id, new_id()):
        with pytest.raises(NotFound, match="there is no whe_ object with this id"):
            async with house.units.begin(neighbour.org_id) as work:
                await endpoints.release_withheld(endpoint_id, work)

    assert len(await parked(house, account)) == 1
