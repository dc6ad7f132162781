"""What a service hands out of an organization's rows, table by table and column by column; and reading a page of it.

Nothing is handed out by default. A service says of each of its tables, and of each column of these, that it is copied, or why
it is not; what nobody decided about is found by tests/security/test_exports.py, which reads the migrated catalogue.

A page is read as everything else of a tenant is: in its own view, under row-level security. PostgreSQL writes the rows' JSON,
so numbers and texts of a jsonb column leave as they are stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from libs.database.engine import TenantSession

# Of what is stored, before base64 and quotes make it longer. A row is at most some 1.5 MiB, so that is a page's bound, too.
PAGE_BYTES = 4 * 1024 * 1024

# Why something is left out, where that is the same in many places.
SECRET = "a secret, or made of one"  # noqa: S105 - a reason
BOOKKEEPING = "bookkeeping: how far work is, and which process has it in hand; nothing that was told or asked for"
MERGING = "bookkeeping: which sighting decided a field, so that the next one can be compared with it"

_OF_REPLAYS = (
    "bookkeeping: which failed events are done again, and how far that is; the audit log tells who asked for it"
)
_BUILDS = dict.fromkeys(
    ("frames", "first_build", "last_build", "probed_build", "probe", "probed_at"),
    "bookkeeping: where in which version of our code it failed",
)

# The tables that libs.messaging gives every service.
_MESSAGING = {
    "outbox": "bookkeeping: events between our services that wait to be sent; what they tell of stands in its own table",
    "inbox": "bookkeeping: events between our services and how far each is; those that failed are gateway's dead_letters",
    "ledger": "bookkeeping: counts of events between our services",
    "org_states": "bookkeeping: whether the organization is active, suspended or erased",
    "replay_plans": _OF_REPLAYS,
    "replay_blocks": _OF_REPLAYS,
    "replay_items": _OF_REPLAYS,
}


@dataclass(frozen=True, slots=True)
class Exported:
    """A table that is copied. `names` are its copied columns in the order of a line, separated by spaces.

    `reasons` are those for every other column (of `org_id` there is one for all). Bytes are written in base64; those of
    columns in `as_hex` as the API writes them.
    """

    names: str
    reasons: Mapping[str, str] = field(default_factory=dict)
    as_hex: frozenset[str] = frozenset()

    @property
    def columns(self) -> list[str]:
        return self.names.split()

    @property
    def left_out(self) -> dict[str, str]:
        of_the_org = {} if "org_id" in self.columns else {"org_id": "the organization's, the same in every row"}
        return dict(sorted({**of_the_org, **self.reasons}.items()))


_MESSAGING_COPIED = {
    "failure_groups": Exported(
        "id fingerprint consumer event_type error_class reason provider status revision notes failures first_seen last_seen "
        "reopened_at",
        _BUILDS,
    )
}


class Exports:
    """All that one service decided. `owner` is its process name, `left_out` has the reason for every other table."""

    def __init__(self, owner: str, tables: Mapping[str, Exported], left_out: Mapping[str, str]) -> None:
        self.owner = owner
        self.tables = dict(sorted({**_MESSAGING_COPIED, **tables}.items()))
        self.left_out = dict(sorted({**_MESSAGING, **left_out}.items()))


class ReadPage(NamedTuple):
    """`lines` are rows as JSON objects; `position` is the last one's key, or None when no row follows it."""

    lines: list[str]
    position: list[str] | None


class _Column(NamedTuple):
    name: str
    type: str
    place: int | None  # in the primary key


class Source:
    """One exported table as the catalogue has it."""

    def __init__(self, table: str, exported: Exported, columns: Sequence[_Column]) -> None:
        self._table = table
        self._exported = exported
        self._columns = {column.name: column for column in columns}
        key = sorted((column.place, column) for column in columns if column.place is not None)
        self._key = [column for _, column in key if column.name != "org_id"]

    @classmethod
    async def of(cls, session: TenantSession, table: str, exported: Exported) -> Source:
        rows = await session.fetch(
            """
            SELECT a.attname::text AS name, format_type(a.atttypid, a.atttypmod) AS type,
              array_position(i.indkey::int2[], a.attnum) AS place
            FROM pg_attribute a LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
            WHERE a.attrelid = to_regclass($1)::oid AND a.attnum > 0 AND NOT a.attisdropped
            """,
            table,
        )
        return cls(table, exported, [_Column(row["name"], row["type"], row["place"]) for row in rows])

    @property
    def order(self) -> str:
        """What the rows are sorted by: a position holds a value for each."""
        return ",".join(column.name for column in self._key)

    async def read(self, session: TenantSession, after: Sequence[str] | None, limit: int) -> ReadPage:
        """The rows behind the key `after`, in the order of the primary key: `limit` at most, and fewer where they are long."""
        given = list(after or ())
        rows = await session.fetch(self._statement(has_position=bool(given)), session.org_id, limit + 1, *given)
        shown = rows[:limit]
        more = bool(shown) and shown[0]["rows_found"] > len(shown)
        return ReadPage([row["line"] for row in shown], list(shown[-1]["position"]) if more else None)

    def _statement(self, *, has_position: bool) -> str:
        key = [_quoted(column.name) for column in self._key] or ["org_id"]
        order, order_of_page = ", ".join(key), ", ".join(f"t.{name}" for name in key)
        position = ", ".join(f"t.{name}::text" for name in key)
        behind = ""
        if has_position:
            given = ", ".join(f"${place}::text::{column.type}" for place, column in enumerate(self._key, start=3))
            behind = f"AND ({order}) > ({given})"
        columns = [self._columns[name] for name in self._exported.columns]
        size = " + ".join(f"coalesce({length}, 0)" for length in map(_length, columns) if length) or "0"
        line = ", ".join(f"{self._written(column)} AS {_quoted(column.name)}" for column in columns)
        # Sizes first, then the JSON of those rows only that fit: lengths of bytes and texts are known without reading them.
        return f"""
            SELECT row_to_json(line)::text AS line, ARRAY[{position}]::text[] AS position, rows_found FROM (
              SELECT *, sum(row_bytes) OVER (ORDER BY {order} ROWS UNBOUNDED PRECEDING) AS bytes_to_here,
                count(*) OVER () AS rows_found
              FROM (
                SELECT *, ({size})::bigint AS row_bytes FROM {self._table} WHERE org_id = $1 {behind}
                ORDER BY {order} LIMIT $2
              ) AS found
            ) AS t CROSS JOIN LATERAL (SELECT {line}) AS line
            WHERE bytes_to_here - row_bytes < {PAGE_BYTES} ORDER BY {order_of_page}
            """

    def _written(self, column: _Column) -> str:
        name = f"t.{_quoted(column.name)}"
        if column.type == "bytea" and column.name in self._exported.as_hex:
            return f"encode({name}, 'hex')"
        if column.type == "bytea":
            return rf"translate(encode({name}, 'base64'), E'\n', '')"  # PostgreSQL breaks it into lines
        if column.type == "timestamp with time zone":
            return f"""to_char({name} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""
        return name


def _quoted(name: str) -> str:
    return f'"{name}"'


def _length(column: _Column) -> str | None:
    """Of what may be long."""
    name = _quoted(column.name)
    if column.type in ("bytea", "text"):
        return f"octet_length({name})"
    return f"octet_length({name}::text)" if column.type == "jsonb" else None
