"""What the catalogue says of our tables, and rows for every one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg

from libs.database.names import SERVICES

# A value of each type, from a number that differs for each row.
_VALUES = {
    "uuid": "('00000000-0000-7000-8000-' || lpad({n}::text, 12, '0'))::uuid",
    "text": "'text ' || {n}",
    "varchar": "'text ' || {n}",
    "int2": "{n}",
    "int4": "{n}",
    "int8": "{n}",
    "float8": "{n}",
    "numeric": "{n}",
    "bool": "true",
    "bit": "{n}::bit(128)",
    "bytea": "decode(lpad(to_hex({n}), 64, '0'), 'hex')",
    "date": "date '2026-01-01' + {n}",
    "timestamptz": "timestamptz '2026-01-01 00:00Z' + {n} * interval '1 minute'",
    "jsonb": "'{{}}'",
    "json": "'{{}}'",
    "interval": "{n} * interval '1 second'",
}


@dataclass(frozen=True)
class Table:
    schema: str
    name: str
    columns: dict[str, str]  # name -> type
    required: frozenset[str]

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def is_tenants(self) -> bool:
        return "org_id" in self.columns

    @property
    def has_company(self) -> bool:
        return "company_id" in self.columns


async def tables(connection: asyncpg.Connection, schemas: Sequence[str] = SERVICES) -> list[Table]:
    """Every table of the schemas but alembic's own; not the parts of one, which nobody has a right on (test_partitions)."""
    rows = await connection.fetch(
        """
        SELECT n.nspname, c.relname, array_agg(a.attname::text) AS names, array_agg(t.typname::text) AS types,
          array_agg(a.attnotnull AND a.attgenerated = '' AND a.attidentity = '') AS required
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        JOIN pg_type t ON t.oid = a.atttypid
        WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname = ANY($1) AND c.relname <> 'alembic_version'
        GROUP BY 1, 2 ORDER BY 1, 2
        """,
        list(schemas),
    )
    return [
        Table(
            row["nspname"],
            row["relname"],
            dict(zip(row["names"], row["types"], strict=True)),
            frozenset(name for name, needed in zip(row["names"], row["required"], strict=True) if needed),
        )
        for row in rows
    ]


async def let_anything_in(connection: asyncpg.Connection) -> None:
    """Drop what judges values (not whose they are), so that rows can be made up. For a database that is thrown away."""
    found = await connection.fetch(
        "SELECT conrelid::regclass::text AS name, conname FROM pg_constraint "
        "WHERE contype IN ('c', 'f') AND connamespace = ANY($1::text[]::regnamespace[]) AND conparentid = 0 "
        "AND conislocal "
        "ORDER BY contype DESC",
        list(SERVICES),
    )
    for row in found:
        await connection.execute(f'ALTER TABLE {row["name"]} DROP CONSTRAINT "{row["conname"]}"')


async def fill(connection: asyncpg.Connection, table: Table, org_id: UUID, company_id: UUID | None, first: int) -> None:
    """Two rows of the org (and company), or one where these are the whole key.

    `first` is a number that no other row of the table was made from.
    """
    for number in (first, first + 1):
        given: dict[str, Any] = {"org_id": org_id}
        if table.has_company and company_id is not None:
            given["company_id"] = company_id
        names, values = list(given), [f"${place}" for place in range(1, len(given) + 1)]
        for name in sorted(table.required - given.keys()):
            kind = table.columns[name]
            assert kind.startswith("_") or kind in _VALUES, f"{table}.{name}: say in _VALUES how a {kind} is made up"
            names.append(name)
            values.append(f"'{{}}'::{kind[1:]}[]" if kind.startswith("_") else _VALUES[kind].format(n=number))
        await connection.execute(
            f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join(values)}) ON CONFLICT DO NOTHING",
            *given.values(),
        )
