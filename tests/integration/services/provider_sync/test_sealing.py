"""Secrets open for their own row, table and org only; a missing key makes work wait; a lost one is named by its id."""

from __future__ import annotations

import os
import time
from typing import Any

import asyncpg
import httpx
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import SecretStr

from libs.database.names import SERVICES
from libs.ids import CompanyId, OrgId, new_id, public_id
from libs.runtime.service import Platform
from libs.tenancy.context import ALL_COMPANIES, TenantContext
from libs.tenancy.signing import HEADER, ContextSigner, ContextVerifier, new_private_key, public_key_of
from services.provider_sync import sealing
from services.provider_sync.app import build
from services.provider_sync.key_ring import KeyRing, KeysUnavailable
from services.provider_sync.repository.accounts import CompanyRepository
from services.provider_sync.repository.org_keys import SEALED, OrgKeyRepository
from services.provider_sync.sealing import SealBroken, Sealer
from services.provider_sync.settings import ProviderSyncSettings
from tests.integration.services.provider_sync.house import KEY, House

OTHER = "22" * 32
ROW = new_id()


def sealer_with(*keys: str) -> Sealer:
    return Sealer(lambda: KeyRing(keys))


@pytest.fixture
def session_of(database):
    return database("provider_sync").tenant_transaction


def sealed_as_before(secret: str, key: str, table: str, org_id: OrgId) -> bytes:
    """What the version before this one wrote: straight under the one key."""
    nonce = os.urandom(12)
    bound_to = b"\x01" + table.encode() + b"\0" + ROW.bytes + org_id.bytes
    return b"\x01" + nonce + AESGCM(bytes.fromhex(key)).encrypt(nonce, secret.encode(), bound_to)


async def test_what_was_sealed_opens_and_no_two_seals_are_alike(session_of, make_org):
    async with session_of(make_org()) as session:
        one = await sealer_with(KEY).seal("secret ü", session, table="accounts", row_id=ROW)
        other = await sealer_with(KEY).seal("secret ü", session, table="accounts", row_id=ROW)

        assert one != other
        assert b"secret" not in one
        assert await sealer_with(KEY).open(one, session, table="accounts", row_id=ROW) == "secret ü"
        assert await session.fetchval("SELECT count(*) FROM org_keys") == 1


@pytest.mark.parametrize("form", ["enveloped", "as before"])
@pytest.mark.parametrize("elsewhere", [{"table": "endpoints"}, {"row_id": new_id()}])
async def test_moved_to_another_row_or_table_it_does_not_open(session_of, make_org, elsewhere, form):
    org_id = make_org()
    place: dict[str, Any] = {"table": "accounts", "row_id": ROW}
    async with session_of(org_id) as session:
        sealer = sealer_with(KEY)
        sealed = await sealer.seal("secret", session, **place)
        if form == "as before":
            sealed = sealed_as_before("secret", KEY, "accounts", org_id)
        assert await sealer.open(sealed, session, **place) == "secret"

        with pytest.raises((SealBroken, KeysUnavailable)):
            await sealer.open(sealed, session, **place | elsewhere)


@pytest.mark.parametrize("with_its_key", [False, True])
async def test_moved_to_another_org_it_does_not_open_even_with_its_key(session_of, make_org, with_its_key):
    here, there, sealer = make_org(), make_org(), sealer_with(KEY)
    async with session_of(here) as session:
        sealed = await sealer.seal("secret", session, table="accounts", row_id=ROW)
        key = await session.fetchrow("SELECT * FROM org_keys")
    async with session_of(there) as session:
        if with_its_key:
            await session.execute(
                "INSERT INTO org_keys (org_id, version, id, wrapped_by, wrapped) VALUES ($1, $2, $3, $4, $5)",
                there, key["version"], key["id"], key["wrapped_by"], key["wrapped"],
            )  # fmt: skip

        with pytest.raises(SealBroken):
            await sealer.open(sealed, session, table="accounts", row_id=ROW)
        with pytest.raises((SealBroken, KeysUnavailable)):
            await sealer.open(sealed_as_before("s", KEY, "accounts", here), session, table="accounts", row_id=ROW)


async def test_set_under_another_data_key_or_version_it_does_not_open(session_of, make_org):
    org_id, sealer = make_org(), sealer_with(KEY)
    async with session_of(org_id) as session:
        sealed = await sealer.seal("secret", session, table="accounts", row_id=ROW)
        other = sealer.new_key(org_id, version=2)
        await OrgKeyRepository(session).insert(other)

        with pytest.raises(SealBroken):
            await sealer.open(sealed[:1] + other.id.bytes + sealed[17:], session, table="accounts", row_id=ROW)
        await session.execute("UPDATE org_keys SET version = 7 WHERE version = 1")
        with pytest.raises(SealBroken):
            await sealer_with(KEY).open(sealed, session, table="accounts", row_id=ROW)


@pytest.mark.parametrize("spoil", [lambda b: b[:-1], lambda b: b"\x03" + b[1:], lambda b: b"", lambda b: b[:20]])
async def test_spoilt_bytes_do_not_open(session_of, make_org, spoil):
    async with session_of(make_org()) as session:
        sealer = sealer_with(KEY)
        sealed = await sealer.seal("secret", session, table="accounts", row_id=ROW)

        with pytest.raises(SealBroken):
            await sealer.open(spoil(sealed), session, table="accounts", row_id=ROW)


async def test_a_missing_wrapping_key_is_named_and_once_it_is_back_all_goes_on(session_of, make_org, monkeypatch):
    org_id, keys = make_org(), [OTHER]
    async with session_of(org_id) as session:
        sealed = await sealer_with(KEY).seal("secret", session, table="accounts", row_id=ROW)
    old = sealed_as_before("old secret", KEY, "accounts", org_id)
    sealer = Sealer(lambda: KeyRing(keys))
    async with session_of(org_id) as session:
        with pytest.raises(KeysUnavailable) as refused:
            await sealer.open(sealed, session, table="accounts", row_id=ROW)
        with pytest.raises(KeysUnavailable):
            await sealer.open(old, session, table="accounts", row_id=ROW)
    assert KeyRing([KEY]).newest in str(refused.value)
    assert KEY not in str(refused.value)

    keys.insert(0, KEY)
    monkeypatch.setattr(sealing, "_RELOAD_SECONDS", 0.0)

    async with session_of(org_id) as session:
        assert await sealer.open(sealed, session, table="accounts", row_id=ROW) == "secret"
        assert await sealer.open(old, session, table="accounts", row_id=ROW) == "old secret"


async def test_a_key_made_in_a_transaction_that_failed_seals_nothing_later(session_of, make_org):
    org_id, sealer = make_org(), sealer_with(KEY)

    async def fail() -> None:
        async with session_of(org_id) as session:
            await sealer.seal("secret", session, table="accounts", row_id=ROW)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()

    async with session_of(org_id) as session:
        sealed = await sealer.seal("secret", session, table="accounts", row_id=ROW)
    async with session_of(org_id) as session:
        assert await sealer_with(KEY).open(sealed, session, table="accounts", row_id=ROW) == "secret"


async def test_plain_keys_are_kept_for_a_while_and_not_all_of_them(session_of, make_org, monkeypatch):
    monkeypatch.setattr(sealing, "_CACHED_KEYS", 3)
    sealer, orgs = sealer_with(KEY), [make_org() for _ in range(5)]
    for org_id in orgs:
        async with session_of(org_id) as session:
            await sealer.seal("secret", session, table="accounts", row_id=ROW)
    assert [org_id for org_id, _ in sealer._plain] == orgs[-3:]

    monkeypatch.setattr(time, "monotonic", lambda: 1e12)
    async with session_of(orgs[0]) as session:
        await sealer.seal("secret", session, table="accounts", row_id=ROW)
    assert [org_id for org_id, _ in sealer._plain] == orgs[:1]


# In the house


@pytest.fixture
async def house(database, units):
    house = House(database("provider_sync"), units("provider_sync"))
    yield house
    await house.http.aclose()


@pytest.fixture
async def account(house, make_org):
    await house.open_account(make_org())
    return await house.open_account(make_org())


async def test_without_its_key_an_accounts_work_waits_and_is_not_charged(house, account):
    """Others go on, and so do webhooks, which need no credentials."""
    keys = [OTHER]
    house.sealer._load = lambda: KeyRing(keys)
    house.sealer._ring = KeyRing(keys)
    house.sealer._plain.clear()
    await house.make_ready(account)
    fresh = await house.open_account(OrgId(new_id()))  # under the key that is here
    await house.make_ready(fresh)

    for _ in range(8):  # more often than anything is tried
        await house.worker.run_due()
        await house.make_due(account)

    (waiting,), (done, look) = await house.jobs(account), await house.jobs(fresh)
    assert (look["kind"], look["state"]) == ("verify_webhook", "due")
    assert (waiting["state"], waiting["attempts"]) == ("due", 0)
    assert KeyRing([KEY]).newest in waiting["error"]
    assert done["state"] == "done"
    assert (await house.endpoint(account))["status"] == "ready"
    [webhook] = await house.deliver(account, [plain_webhook(house)])
    assert await settled(house, webhook) == "done"

    keys.insert(0, KEY)
    house.sealer._loaded_at = 0.0
    await house.worker.run_due()

    assert (await house.endpoint(account))["status"] == "registered"
    assert {job["state"] for job in await house.jobs(account) if job["kind"] != "verify_webhook"} == {"done"}


def plain_webhook(house: House) -> bytes:
    house.simulator.play(20)
    plan = house.simulator.deliveries(1, seed=1)
    body: bytes = next(iter(plan.to_send())).body
    return body


async def settled(house: House, webhook: Any) -> str:
    async with house.database.transaction() as transaction:
        await transaction.as_dispatch()
        found = await transaction.driver.fetchval("SELECT state FROM inbox WHERE event_id = $1", webhook.id)
    return str(found)


async def test_without_any_key_no_account_is_opened(house, make_org):
    house.sealer._ring = KeyRing([])
    house.sealer._load = lambda: KeyRing([])

    with pytest.raises(KeysUnavailable, match="outrider migrate"):
        await house.open_account(make_org())


async def test_a_service_without_keys_starts_shows_what_there_is_and_opens_no_account(
    database, units, make_org, monkeypatch, tmp_path
):
    monkeypatch.setenv("OUTRIDER_HOME", str(tmp_path))
    private, org_id, company_id = new_private_key(), make_org(), CompanyId(new_id())
    async with units("provider_sync").begin(org_id) as work:
        await CompanyRepository(work.session).keep({company_id: "One"})
    verifier = ContextVerifier([public_key_of(private)], "provider-sync")
    platform = Platform(database("provider_sync"), units("provider_sync"), verifier)
    service = build(platform, ProviderSyncSettings(cursor_key=SecretStr("cursors")))
    context = TenantContext("key:1", org_id, ALL_COMPANIES, frozenset({"accounts:read", "accounts:write"}))
    headers = {HEADER: ContextSigner(private).sign(context, "provider-sync")}
    body = {"provider": "smartlead", "name": "Main", "company_id": public_id("cmp", company_id)}
    transport = httpx.ASGITransport(app=service.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://provider-sync", headers=headers) as http:
        refused = await http.post("/provider-accounts", json=body | {"credentials": {"api_key": "k"}})
        listed = await http.get("/provider-accounts")
        ready = await http.get("/health/ready")
    assert service.closing is not None
    await service.closing()

    assert (refused.status_code, refused.json()["retryable"]) == (503, True)
    assert "outrider migrate" in refused.json()["detail"]
    assert (listed.status_code, listed.json()["data"]) == (200, [])
    assert ready.status_code == 200


# In the schema


async def test_all_sealed_columns_are_known_to_a_rotation(migrated):
    connection = await asyncpg.connect(migrated.admin_url)
    try:
        rows = await connection.fetch(
            "SELECT c.relname AS name, a.attname AS column FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid "
            "WHERE c.relnamespace = ANY($1::text[]::regnamespace[]) AND col_description(c.oid, a.attnum) LIKE 'sealed%'",
            list(SERVICES),
        )
    finally:
        await connection.close()

    assert {row["name"]: row["column"] for row in rows} == dict(SEALED)


@pytest.mark.parametrize("service", [*SERVICES, "standalone"])
async def test_nobody_else_reads_secrets_or_keys(migrated, service):
    connection = await asyncpg.connect(migrated.url(service))
    try:
        for table in (*SEALED, "org_keys"):
            if service == "provider_sync":
                assert await connection.fetch(f"SELECT * FROM provider_sync.{table}") == []
            else:
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.fetch(f"SELECT * FROM provider_sync.{table}")
    finally:
        await connection.close()
