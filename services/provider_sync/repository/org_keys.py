"""An org's data keys, wrapped; and its secrets, sealed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from libs.database.engine import TenantSession, Transaction
from libs.ids import OrgId

# Table -> its one sealed column, sealed for this table and the row's `id` (a secret that moves is opened and sealed anew).
# What is commented 'sealed' in the schema stands here.
SEALED: Final[Mapping[str, str]] = {
    "accounts": "credentials",
    "endpoints": "token",
    "earlier_tokens": "token",
    "signing_secrets": "secret",
}
_HEAD_BYTES = 17  # the form and the data key's id, see sealing.py


@dataclass(frozen=True, slots=True)
class OrgKey:
    version: int
    id: UUID
    wrapped_by: str
    wrapped: bytes


class OrgKeyRepository:
    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def newest(self) -> OrgKey | None:
        return await self._one("WHERE org_id = $1 ORDER BY version DESC LIMIT 1")

    async def find(self, key_id: UUID) -> OrgKey | None:
        return await self._one("WHERE org_id = $1 AND id = $2", key_id)

    async def _one(self, where: str, *arguments: UUID) -> OrgKey | None:
        row = await self._session.fetchrow(
            f"SELECT version, id, wrapped_by, wrapped FROM org_keys {where}",  # noqa: S608 - one of the texts above
            self._session.org_id,
            *arguments,
        )
        return None if row is None else OrgKey(row["version"], row["id"], row["wrapped_by"], bytes(row["wrapped"]))

    async def insert(self, key: OrgKey) -> None:
        """Keep a key, unless another process was first with this version."""
        await self._session.execute(
            """
            INSERT INTO org_keys (org_id, version, id, wrapped_by, wrapped) VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT (org_id, version) DO NOTHING
            """,
            self._session.org_id,
            key.version,
            key.id,
            key.wrapped_by,
            key.wrapped,
        )

    async def not_wrapped_by(self, wrapping_id: str) -> list[OrgKey]:
        """The org's data keys under other wrapping keys, locked."""
        rows = await self._session.fetch(
            """
            SELECT version, id, wrapped_by, wrapped FROM org_keys WHERE org_id = $1 AND wrapped_by <> $2
            ORDER BY version FOR UPDATE
            """,
            self._session.org_id,
            wrapping_id,
        )
        return [OrgKey(row["version"], row["id"], row["wrapped_by"], bytes(row["wrapped"])) for row in rows]

    async def wrap_anew(self, key: OrgKey) -> None:
        await self._session.execute(
            "UPDATE org_keys SET wrapped_by = $3, wrapped = $4 WHERE org_id = $1 AND version = $2",
            self._session.org_id,
            key.version,
            key.wrapped_by,
            key.wrapped,
        )

    async def newest_is_older_than(self, seconds: float) -> bool:
        """False when the org has no data key."""
        found = await self._session.fetchval(
            "SELECT max(created_at) < now() - $2 * interval '1 second' FROM org_keys WHERE org_id = $1",
            self._session.org_id,
            seconds,
        )
        return bool(found)

    async def drop_unused(self, keys: Sequence[UUID], seconds: float) -> int:
        """Delete these data keys, if a newer one has been the newest for so long; answers how many."""
        return await self._session.execute(
            """
            DELETE FROM org_keys k WHERE k.org_id = $1 AND k.id = ANY($2::uuid[]) AND EXISTS (
              SELECT 1 FROM org_keys n WHERE n.org_id = $1 AND n.version > k.version
                AND n.created_at < now() - $3 * interval '1 second')
            """,
            self._session.org_id,
            list(keys),
            seconds,
        )

    async def all(self) -> list[OrgKey]:
        rows = await self._session.fetch(
            "SELECT version, id, wrapped_by, wrapped FROM org_keys WHERE org_id = $1 ORDER BY version",
            self._session.org_id,
        )
        return [OrgKey(row["version"], row["id"], row["wrapped_by"], bytes(row["wrapped"])) for row in rows]


@dataclass(frozen=True, slots=True)
class Secret:
    """One sealed row."""

    table: str
    row_id: UUID
    sealed: bytes


class SecretRepository:
    """All of an org's sealed rows, whatever their table."""

    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def lock_sealed_otherwise(self, table: str, head: bytes, after: UUID, limit: int) -> list[Secret]:
        """Secrets of the table that do not begin with `head`, locked, in the order of ids."""
        column = SEALED[table]
        rows = await self._session.fetch(
            f"""
            SELECT id, {column} AS sealed FROM {table}
            WHERE org_id = $1 AND id > $2 AND substring({column} FROM 1 FOR {_HEAD_BYTES}) <> $3
            ORDER BY id LIMIT $4 FOR UPDATE
            """,  # noqa: S608 - names of ours
            self._session.org_id,
            after,
            head,
            limit,
        )
        return [Secret(table, row["id"], bytes(row["sealed"])) for row in rows]

    async def replace(self, secrets: Sequence[Secret]) -> None:
        """Write secrets of one table, sealed anew."""
        if not secrets:
            return
        table = secrets[0].table
        column = SEALED[table]
        await self._session.execute(
            f"""
            UPDATE {table} t SET {column} = new.sealed FROM unnest($2::uuid[], $3::bytea[]) AS new (id, sealed)
            WHERE t.org_id = $1 AND t.id = new.id
            """,  # noqa: S608 - names of ours
            self._session.org_id,
            [one.row_id for one in secrets],
            [one.sealed for one in secrets],
        )

    async def counts(self) -> dict[UUID, int]:
        """Data key -> how many secrets it seals."""
        found: dict[UUID, int] = {}
        for table, column in SEALED.items():
            rows = await self._session.fetch(
                f"""
                SELECT substring({column} FROM 2 FOR 16) AS key, count(*) AS secrets FROM {table}
                WHERE org_id = $1 AND substring({column} FROM 1 FOR 1) = '\\x02' GROUP BY 1
                """,  # noqa: S608 - names of ours
                self._session.org_id,
            )
            for row in rows:
                key = UUID(bytes=bytes(row["key"]))
                found[key] = found.get(key, 0) + row["secrets"]
        return found

    async def unenveloped(self) -> list[Secret]:
        """What was sealed before orgs had keys."""
        found = []
        for table, column in SEALED.items():
            rows = await self._session.fetch(
                f"""
                SELECT id, {column} AS sealed FROM {table}
                WHERE org_id = $1 AND substring({column} FROM 1 FOR 1) = '\\x01' ORDER BY id
                """,  # noqa: S608 - names of ours
                self._session.org_id,
            )
            found += [Secret(table, row["id"], bytes(row["sealed"])) for row in rows]
        return found


async def orgs_with_secrets(transaction: Transaction, after: OrgId, most: int) -> list[OrgId]:
    """Orgs that have secrets or keys, in the order of ids; their ids and nothing else."""
    rows = await transaction.driver.fetch("SELECT org_id FROM orgs_with_secrets($1, $2) AS org_id", after, most)
    return [OrgId(row["org_id"]) for row in rows]
