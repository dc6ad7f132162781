"""Every table and column of a tenant is copied, or somebody wrote down why not; and nothing secret is copied.

Asked of the migrated catalogue: a table or column that is added is found here until its service's exports.py says what
becomes of it. What is copied is compared with the rows themselves, of two orgs in every table.
"""

from __future__ import annotations

import base64
import importlib
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Any
from uuid import UUID

import asyncpg
import orjson
import pytest

from libs.clock import rfc3339
from libs.database.names import SERVICES, process_name
from libs.messaging.exports import Exported, Exports, Source
from services.provider_sync.repository.org_keys import SEALED
from tests.integration.libs.database.tables import Table, tables
from tests.integration.libs.database.test_tenancy import A, B
from tests.security.room import Filled, Pool

EXPORTS: dict[str, Exports] = {
    service: importlib.import_module(f"services.{service}.exports").EXPORTS for service in SERVICES
}
# What such a name holds is a secret, or tells whether somebody knows one. Each exception has its reason.
_SECRETIVE = re.compile(
    r"secret|token|password|credential|hmac|hash|sha\d|digest|pepper|last4|seal|wrap|idempotency|mac\b"
)
_HARMLESS = {
    "gateway.api_keys.secret_made_at": "when the secret was made",
    "gateway.audit_log.hash": "of the entry; GET /v1/audit-log shows it, and whoever keeps it can tell a changed log",
    "provider_sync.endpoints.token_id": "the token's id, which the API shows",
    "provider_sync.endpoints.token_made_at": "when the token was made",
    "webhook_ingest.deliveries.token_id": "to which token it came",
}


def undecided(table: Table, exports: Exports) -> Iterator[str]:
    """What nobody decided about this table of a tenant, or decided twice."""
    exported = exports.tables.get(table.name)
    if (exported is None) == (table.name not in exports.left_out):
        where = f"services/{table.schema}/exports.py (of what every service has, libs/messaging/exports.py)"
        yield f"{table}: say in {where} which columns are copied, or why it is left out"
    if exported is None:
        return
    chosen = [*exported.columns, *exported.left_out]
    for column in sorted(set(table.columns) - set(chosen)):
        yield f"{table}.{column}: say in services/{table.schema}/exports.py that it is copied, or why not"
    for column in sorted({one for one in chosen if chosen.count(one) > 1 or one not in table.columns}):
        yield f"{table}.{column}: is decided about twice, or is not there"


def secrets(table: Table, exported: Exported, sealed: set[str]) -> Iterator[str]:
    for column in exported.columns:
        named = f"{table}.{column}"
        if named in sealed or (_SECRETIVE.search(column) and named not in _HARMLESS):
            yield f"{named} is copied, and looks like a secret"


async def _sealed(admin: asyncpg.Connection) -> set[str]:
    rows = await admin.fetch(
        "SELECT a.attrelid::regclass::text || '.' || a.attname AS name FROM pg_attribute a "
        "WHERE col_description(a.attrelid, a.attnum) = 'sealed'"
    )
    return {row["name"] for row in rows} | {f"provider_sync.{table}.{column}" for table, column in SEALED.items()}


async def test_of_every_table_and_column_somebody_decided(admin: asyncpg.Connection) -> None:
    found = [table for table in await tables(admin) if table.is_tenants]
    assert len(found) > 50

    problems = [problem for table in found for problem in undecided(table, EXPORTS[table.schema])]
    assert not problems, "\n".join(problems)
    there = {str(table) for table in found}
    named = {f"{service}.{table}" for service, one in EXPORTS.items() for table in (*one.tables, *one.left_out)}
    assert named <= there, "decided about tables that are not there"


async def test_nothing_that_is_sealed_hashed_or_secret_is_copied(admin: asyncpg.Connection) -> None:
    sealed = await _sealed(admin)
    assert len(sealed) >= 4
    found = {str(table): table for table in await tables(admin)}
    exported = {f"{service}.{name}": one for service, all_of in EXPORTS.items() for name, one in all_of.tables.items()}

    assert [problem for name, one in exported.items() for problem in secrets(found[name], one, sealed)] == []
    copied = {f"{name}.{column}" for name, one in exported.items() for column in one.columns}
    assert set(_HARMLESS) <= copied, "an exception that nobody needs"


def test_what_is_not_decided_or_secret_is_found() -> None:
    table = Table("gateway", "notes", dict.fromkeys(("org_id", "text", "token", "sealed_thing"), "text"), frozenset())

    def problems(exports: Exports) -> list[str]:
        return [one.split(":")[0] for one in undecided(table, exports)]

    assert problems(Exports("gateway", {}, {})) == ["gateway.notes"]
    assert problems(Exports("gateway", {"notes": Exported("org_id")}, {"notes": "both"})) != []
    half = Exported("org_id text text", {"token": "a secret", "gone": "was there once"})
    assert problems(Exports("gateway", {"notes": half}, {})) == [
        "gateway.notes.sealed_thing", "gateway.notes.gone", "gateway.notes.text",
    ]  # fmt: skip
    every = Exported("org_id text token sealed_thing")
    assert len(list(secrets(table, every, {"gateway.notes.text"}))) == 3


@pytest.mark.parametrize("service", SERVICES)
async def test_a_copy_holds_what_the_tables_hold_and_nothing_of_another(
    filled: Filled, pool: Pool, copy: Any, service: str
) -> None:
    """Whatever types columns have; in pages of one row."""
    assert EXPORTS[service].owner == process_name(service)
    database = pool(service)
    await read_json(copy.admin)
    for name, exported in EXPORTS[service].tables.items():
        of_both = await copy.admin.fetch(f"SELECT * FROM {service}.{name}")
        mine = [row for row in of_both if row["org_id"] == A]
        assert mine, name
        assert {row["org_id"] for row in of_both} >= {A, B}

        lines, after = [], None
        while True:
            async with database.tenant_transaction(A) as session:
                source = await Source.of(session, name, exported)
                page = await source.read(session, after, 1)
            assert len(page.lines) == 1
            lines += page.lines
            if page.position is None:
                break
            after = page.position

        wanted = [
            {column: told(row[column], as_hex=column in exported.as_hex) for column in exported.columns} for row in mine
        ]
        found = [orjson.loads(line) for line in lines]
        assert [list(one) for one in found] == [exported.columns] * len(mine)
        assert sorted(map(_key, found)) == sorted(map(_key, wanted)), name


def _key(row: dict[str, Any]) -> bytes:
    return orjson.dumps(row, option=orjson.OPT_SORT_KEYS)


async def read_json(admin: asyncpg.Connection) -> None:
    """From now on jsonb comes as what it says."""
    await admin.set_type_codec("jsonb", schema="pg_catalog", encoder=str, decoder=orjson.loads)


def told(value: Any, *, as_hex: bool = False) -> Any:
    """A value as a reader of the copy finds it; made here in another way than there."""
    if isinstance(value, datetime):
        return rfc3339(value.astimezone(UTC))
    if isinstance(value, bytes):
        return value.hex() if as_hex else base64.b64encode(value).decode()
    if isinstance(
        value, UUID | date | IPv4Address | IPv6Address | IPv4Network | IPv6Network | IPv4Interface | IPv6Interface
    ):
        return str(value)
    if isinstance(value, list):
        return [told(one) for one in value]
    return value
