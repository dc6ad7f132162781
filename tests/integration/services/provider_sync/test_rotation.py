"""Secrets move to newer keys whatever interrupts it, and an older key may go when nothing hangs on it any more."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from libs.database.engine import TenantSession
from libs.ids import OrgId, new_id, public_id
from libs.state import CHECKOUT
from services.provider_sync import rotation
from services.provider_sync.key_ring import KeyRing, KeysUnavailable
from services.provider_sync.repository.org_keys import SEALED, OrgKeyRepository, Secret, SecretRepository
from services.provider_sync.rotation import Rotation
from services.provider_sync.sealing import Sealer

OLD, NEW = "11" * 32, "22" * 32
OLD_ID, NEW_ID = KeyRing([OLD]).newest, KeyRing([NEW]).newest


def sealer_with(*keys: str) -> Sealer:
    return Sealer(lambda: KeyRing(keys))


async def room_for(admin_url: str, *rows: tuple[OrgId, str, UUID]) -> None:
    """Rows with a secret that is still to be sealed; what else their tables demand is waived."""
    admin = await asyncpg.connect(admin_url)
    try:
        for table, sealed in SEALED.items():
            demanded = await admin.fetch(
                "SELECT attname FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0 AND attnotnull",
                f"provider_sync.{table}",
            )
            for row in demanded:
                if row["attname"] not in ("org_id", "id", sealed):
                    await admin.execute(f"ALTER TABLE provider_sync.{table} ALTER {row['attname']} DROP NOT NULL")
        for org_id, table, row_id in rows:
            await admin.execute(
                f"INSERT INTO provider_sync.{table} (org_id, id, {SEALED[table]}) VALUES ($1, $2, '')", org_id, row_id
            )
    finally:
        await admin.close()


class Vault:
    """Orgs with secrets in every table that has some: two rows sealed with a data key, one as before there were any."""

    def __init__(self, database: Any, admin_url: str) -> None:
        self.database = database
        self.admin_url = admin_url
        self.rows: dict[tuple[OrgId, str, UUID], str] = {}

    async def fill(self, orgs: Sequence[OrgId], *, with_keys: Sequence[str] = (OLD,)) -> None:
        made = [(org_id, table, new_id()) for org_id in orgs for table in SEALED for _ in range(3)]
        await room_for(self.admin_url, *made)
        sealer = sealer_with(*with_keys)
        for number, (org_id, table, row_id) in enumerate(made):
            secret = self.rows[org_id, table, row_id] = f"secret {row_id}"
            async with self.database.tenant_transaction(org_id) as session:
                if number % 3:
                    sealed = await sealer.seal(secret, session, table=table, row_id=row_id)
                else:
                    nonce = os.urandom(12)
                    bound_to = b"\x01" + table.encode() + b"\0" + row_id.bytes + org_id.bytes
                    sealed = b"\x01" + nonce + AESGCM(bytes.fromhex(OLD)).encrypt(nonce, secret.encode(), bound_to)
                await SecretRepository(session).replace([Secret(table, row_id, sealed)])

    async def opened(self, *keys: str) -> int:
        """How many open with these wrapping keys, all as they were."""
        sealer = sealer_with(*keys)
        for (org_id, table, row_id), secret in self.rows.items():
            async with self.database.tenant_transaction(org_id) as session:
                sealed = await session.fetchval(f"SELECT {SEALED[table]} FROM {table} WHERE id = $1", row_id)
                assert await sealer.open(bytes(sealed), session, table=table, row_id=row_id) == secret
        return len(self.rows)

    async def age(self) -> None:
        """An hour passes."""
        admin = await asyncpg.connect(self.admin_url)
        await admin.execute(
            "UPDATE provider_sync.org_keys SET created_at = created_at - $1 * interval '1 second'",
            rotation.SETTLED_SECONDS + 1,
        )
        await admin.close()

    async def newest_seals(self, org_id: OrgId) -> int:
        """How many secrets the org's newest data key seals."""
        async with self.database.tenant_transaction(org_id) as session:
            newest = await OrgKeyRepository(session).newest()
            assert newest is not None
            return (await SecretRepository(session).counts())[newest.id]

    async def keys(self, org_id: OrgId) -> list[tuple[int, str]]:
        async with self.database.tenant_transaction(org_id) as session:
            return [(key.version, key.wrapped_by) for key in await OrgKeyRepository(session).all()]


@pytest.fixture
def vault(database, migrated):
    return Vault(database("provider_sync"), migrated.admin_url)


async def rotated(vault: Vault, *, data_keys: bool = False) -> Counter[str]:
    turning = Rotation(vault.database, sealer_with(OLD, NEW))
    total: Counter[str] = Counter()
    async for org_id in turning.orgs():
        done = await turning.rotate(org_id, data_keys=data_keys)
        assert (done.error, done.broken) == (None, ())
        total.update(wrapped=done.wrapped, made=done.made, sealed=done.sealed, dropped=done.dropped)
    return total


async def hanging(vault: Vault, *keys: str) -> dict[str, dict[str, int]]:
    turning = Rotation(vault.database, sealer_with(*keys))
    found: dict[str, Counter[str]] = {}
    async for org_id in turning.orgs():
        for name, counts in (await turning.hanging(org_id)).items():
            found.setdefault(name, Counter()).update(counts)
    return {name: dict(counts) for name, counts in found.items()}


async def test_after_a_rotation_all_opens_without_the_older_key_and_before_it_does_not(vault, make_org):
    orgs = [make_org(), make_org()]
    await vault.fill(orgs)
    assert await vault.opened(OLD) == 24
    assert await hanging(vault, OLD, NEW) == {OLD_ID: {"data_keys": 2, "secrets": 24}}
    with pytest.raises(KeysUnavailable) as refused:
        await vault.opened(NEW)
    assert OLD not in str(refused.value)

    assert await rotated(vault) == {"wrapped": 2, "made": 0, "sealed": 8, "dropped": 0}

    assert await vault.opened(NEW) == 24
    assert await hanging(vault, OLD, NEW) == {NEW_ID: {"data_keys": 2, "secrets": 24}}
    assert await rotated(vault) == {"wrapped": 0, "made": 0, "sealed": 0, "dropped": 0}


async def test_new_data_keys_seal_everything_and_older_ones_go_once_nothing_can_still_use_them(vault, make_org):
    orgs = [make_org(), make_org()]
    await vault.fill(orgs)
    assert (await rotated(vault, data_keys=True))["made"] == 0, "keys this young are not replaced"
    await vault.age()

    assert await rotated(vault, data_keys=True) == {"wrapped": 0, "made": 2, "sealed": 24, "dropped": 0}
    assert await vault.opened(NEW) == 24
    assert await vault.keys(orgs[0]) == [(1, NEW_ID), (2, NEW_ID)]
    assert await hanging(vault, NEW) == {NEW_ID: {"data_keys": 4, "secrets": 24}}

    await vault.age()
    assert await rotated(vault) == {"wrapped": 0, "made": 0, "sealed": 0, "dropped": 2}
    assert await vault.keys(orgs[0]) == [(2, NEW_ID)]
    assert await vault.opened(NEW) == 24


async def test_one_org_is_rotated_alone(vault, make_org):
    here, there = make_org(), make_org()
    await vault.fill([here, there])

    await Rotation(vault.database, sealer_with(OLD, NEW)).rotate(here, data_keys=False)

    assert await vault.keys(here) == [(1, NEW_ID)]
    assert await vault.keys(there) == [(1, OLD_ID)]


class Killed(BaseException):
    """What a process feels of kill -9: nothing more is done, nothing is caught."""


@pytest.mark.parametrize("data_keys", [False, True])
async def test_killed_at_any_statement_it_loses_nothing_and_goes_on(vault, make_org, monkeypatch, data_keys):
    """The batch is one row, so it is cut within a table, too."""
    monkeypatch.setattr(rotation, "_BATCH", 1)
    originals = {name: getattr(TenantSession, name) for name in ("fetch", "fetchrow", "fetchval", "execute")}
    cuts = 0
    while True:
        vault.rows.clear()
        org_id = make_org()
        await vault.fill([org_id])
        await vault.age()
        left = cuts

        def cut(name):
            async def statement(self, *arguments):
                nonlocal left
                if left == 0:
                    raise Killed
                left -= 1
                return await originals[name](self, *arguments)

            return statement

        for name in originals:
            monkeypatch.setattr(TenantSession, name, cut(name))
        turning = Rotation(vault.database, sealer_with(OLD, NEW))
        try:
            await turning.rotate(org_id, data_keys=data_keys)
            whole = True
        except Killed:
            whole = False
        for name, original in originals.items():
            monkeypatch.setattr(TenantSession, name, original)

        assert await vault.opened(OLD, NEW) == 12
        done = await turning.rotate(org_id, data_keys=data_keys)
        assert (done.error, done.broken) == (None, ())
        assert await vault.opened(NEW) == 12
        assert await vault.newest_seals(org_id) == 12
        assert [version for version, _ in await vault.keys(org_id)] == ([1, 2] if data_keys else [1]), cuts
        if whole:
            break
        cuts += 1
    assert cuts > 20


async def test_sealing_goes_on_while_data_keys_are_replaced(vault, make_org):
    """A writer that chose its key before the new one was made, and commits after everything else was sealed anew."""
    org_id = make_org()
    await vault.fill([org_id])
    await vault.age()
    late = (org_id, "accounts", new_id())
    await room_for(vault.admin_url, late)
    async with vault.database.tenant_transaction(org_id) as session:
        sealed = await sealer_with(OLD, NEW).seal("late", session, table="accounts", row_id=late[2])
    turning = Rotation(vault.database, sealer_with(OLD, NEW))
    await turning.rotate(org_id, data_keys=True)
    async with vault.database.tenant_transaction(org_id) as session:
        await SecretRepository(session).replace([Secret("accounts", late[2], sealed)])
    vault.rows[late] = "late"

    assert (await turning.rotate(org_id, data_keys=False)).sealed == 1
    assert await vault.opened(NEW) == 13


async def test_what_no_key_opens_is_named_and_left(vault, make_org):
    org_id, lost = make_org(), make_org()
    await vault.fill([org_id])
    kept = dict(vault.rows)
    await vault.fill([lost], with_keys=["33" * 32])
    spoilt = next(place for place in kept if place[1] == "accounts")
    async with vault.database.tenant_transaction(org_id) as session:
        await SecretRepository(session).replace([Secret("accounts", spoilt[2], b"\x02" + b"x" * 60)])

    turning = Rotation(vault.database, sealer_with(OLD, NEW))
    mine, theirs = [await turning.rotate(one, data_keys=False) for one in (org_id, lost)]

    assert mine.broken == (f"accounts {spoilt[2]}",)
    assert theirs.error is not None
    assert KeyRing(["33" * 32]).newest in theirs.error
    assert await vault.keys(lost) == [(1, KeyRing(["33" * 32]).newest)]
    vault.rows = {place: secret for place, secret in kept.items() if place != spoilt}
    assert await vault.opened(NEW) == 11
    assert (await hanging(vault, OLD, NEW))[""] == {"secrets": 1}


# The command


@pytest.fixture
def command(migrated, tmp_path):
    env = {name: value for name, value in os.environ.items() if not name.startswith("PROVIDER_SYNC_")} | {
        "OUTRIDER_HOME": str(tmp_path),
        "PROVIDER_SYNC_DATABASE_URL": migrated.url("provider_sync"),
    }

    def start(*words: str, **more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "services.cli", "keys", *words],
            env=env | more, cwd=CHECKOUT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    return start


async def finished(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = await asyncio.to_thread(process.communicate, None, 60)
    return process.returncode, out, err


async def test_the_command_killed_in_the_middle_goes_on_where_it_was(vault, make_org, command, tmp_path):
    orgs = sorted([make_org(), make_org(), make_org()])
    await vault.fill(orgs)
    (tmp_path / "secrets.json").write_text(json.dumps({"credential_key": OLD, "credential_keys": NEW}))
    admin = await asyncpg.connect(vault.admin_url)
    async with admin.transaction():
        await admin.execute("SELECT FROM provider_sync.org_keys WHERE org_id = $1 FOR UPDATE", orgs[1])
        process = command("rotate")
        while await vault.keys(orgs[0]) != [(1, NEW_ID)] or not await waiting_for_a_lock(vault):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        await finished(process)
    await admin.close()
    assert [await vault.keys(one) for one in orgs[1:]] == [[(1, OLD_ID)]] * 2

    code, out, err = await finished(command("status", "--json"))
    assert code == 0, err
    held = {one["id"]: one for one in json.loads(out)["keys"]}
    assert held[OLD_ID] == {"id": OLD_ID, "state": "held", "organizations": 2, "data_keys": 2, "secrets": 24}
    code, out, err = await finished(command("drop", OLD_ID))
    assert (code, out) == (1, "")
    assert "no key that may go" in err

    code, out, err = await finished(command("rotate", "--json"))
    assert code == 0, err
    told = json.loads(out)
    assert (told["organizations"], told["wrapped"], told["failed"]) == (3, 2, [])
    code, out, _ = await finished(command("status", "--json"))
    assert json.loads(out) == {
        "keys": [
            {"id": OLD_ID, "state": "may go", "organizations": 0, "data_keys": 0, "secrets": 0},
            {"id": NEW_ID, "state": "wraps", "organizations": 3, "data_keys": 3, "secrets": 36},
        ],
        "unreadable_secrets": 0,
    }
    assert (await finished(command("drop", OLD_ID)))[0] == 0
    assert json.loads((tmp_path / "secrets.json").read_text()) == {"credential_key": "", "credential_keys": NEW}
    assert await vault.opened(NEW) == 36


async def waiting_for_a_lock(vault: Vault) -> bool:
    admin = await asyncpg.connect(vault.admin_url)
    try:
        return bool(
            await admin.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
        )
    finally:
        await admin.close()


async def test_the_command_says_which_key_is_missing_and_never_shows_one(vault, make_org, command):
    org_id = make_org()
    await vault.fill([org_id, make_org()])

    code, out, err = await finished(
        command("rotate", "--org", public_id("org", org_id), PROVIDER_SYNC_CREDENTIAL_KEYS=NEW)
    )
    assert code == 1
    assert OLD_ID in err
    assert "1 organizations" in out
    refused, _, nothing = await finished(command("rotate"))
    assert refused == 1
    assert "outrider migrate" in nothing
    one_line, _, malformed = await finished(command("status", PROVIDER_SYNC_CREDENTIAL_KEYS=f"{NEW},{NEW[:-2]}"))
    assert one_line == 1
    assert "credential key 2 of 2" in malformed
    _, _, in_environment = await finished(command("new", PROVIDER_SYNC_CREDENTIAL_KEYS=NEW))
    assert "openssl rand -hex 32" in in_environment

    for told in (out, err, nothing, malformed, in_environment):
        assert NEW not in told
        assert OLD not in told


async def test_a_new_key_goes_last_into_the_file(command, tmp_path):
    (tmp_path / "secrets.json").write_text(json.dumps({"credential_key": OLD, "other": "kept"}))

    code, out, err = await finished(command("new"))

    assert code == 0, err
    kept = json.loads((tmp_path / "secrets.json").read_text())
    assert (kept["credential_key"], kept["other"]) == (OLD, "kept")
    assert KeyRing([kept["credential_keys"]]).newest == out.strip()
    assert kept["credential_keys"] not in out + err
