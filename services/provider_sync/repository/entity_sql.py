"""The statements by which entities are read and written, made once per kind from its columns.

Only names from domain.kinds are put into the text; every value is a parameter.
"""

# ruff: noqa: S608 - see above

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from services.provider_sync.domain.kinds import Field, Kind


@dataclass(frozen=True, slots=True)
class EntitySql:
    """`insert` and `update` take the org and then one array per column of `written` (resp. `updated`), in that order."""

    lock: str
    insert: str
    update: str
    touch: str
    written: tuple[str, ...]
    updated: tuple[str, ...]


@cache
def sql_of(kind: Kind) -> EntitySql:
    table = kind.table
    company = (Field("company_id", "uuid"),) if kind.has_company else ()
    bookkeeping = (Field("sources", "smallint"), Field("versions", "jsonb"), Field("revision", "integer"))
    values = (*kind.fields, *kind.derived)
    written = (
        Field("id", "uuid"), Field("account_id", "uuid"), *company, *kind.identity, *values, *bookkeeping,
    )  # fmt: skip
    updated = (Field("id", "uuid"), *company, *values, *bookkeeping)
    told = [_read(one) for one in values if one.told]
    read = ", ".join(["id", "account_id", *map(_read, (*company, *kind.identity, *bookkeeping)), *told])
    # A value once stated never becomes NULL, so NULL can say "as it was": texts need not be read to be kept.
    kept = [f"{one.name} = coalesce(new.{one.name}, t.{one.name})" for one in (*company, *values)]
    settings = ", ".join([*kept, *(f"{one.name} = new.{one.name}" for one in bookkeeping), "updated_at = now()"])
    return EntitySql(
        # Not FOR UPDATE: nothing here changes a key.
        lock=f"SELECT {read} FROM {table} WHERE org_id = $1 AND id = ANY($2::uuid[]) ORDER BY id FOR NO KEY UPDATE",
        insert=(
            f"INSERT INTO {table} (org_id, {_names(written)}) SELECT $1, {_values(written)} FROM {_rows(written)} "
            "ON CONFLICT (org_id, id) DO NOTHING RETURNING id"
        ),
        update=(
            f"UPDATE {table} t SET {settings} FROM (SELECT {_values(updated)} FROM {_rows(updated)}) AS new "
            "WHERE t.org_id = $1 AND t.id = new.id"
        ),
        touch=(
            f"UPDATE {table} t SET sources = new.sources, versions = new.versions::jsonb "
            "FROM unnest($2::uuid[], $3::smallint[], $4::text[]) AS new (id, sources, versions) "
            "WHERE t.org_id = $1 AND t.id = new.id"
        ),
        written=tuple(one.name for one in written),
        updated=tuple(one.name for one in updated),
    )


def _read(field: Field) -> str:
    # As text, whatever codec the driver was given.
    return f"{field.name}::text AS {field.name}" if field.type == "jsonb" else field.name


def _names(fields: tuple[Field, ...]) -> str:
    return ", ".join(one.name for one in fields)


def _values(fields: tuple[Field, ...]) -> str:
    return ", ".join(f"r.{one.name}::jsonb AS {one.name}" if one.type == "jsonb" else f"r.{one.name}" for one in fields)


def _rows(fields: tuple[Field, ...]) -> str:
    """Columns of arrays, $2 onwards; jsonb travels as text."""
    arrays = ", ".join(
        f"${number}::{'text' if one.type == 'jsonb' else one.type}[]" for number, one in enumerate(fields, start=2)
    )
    return f"unnest({arrays}) AS r ({_names(fields)})"
