"""The rows of the audit log and the head of its chain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import asyncpg

from libs.database.engine import TenantSession


class AuditRows:
    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def locked_head(self, genesis: bytes) -> tuple[int, bytes]:
        """Position and hash of the last row; nobody else appends to this org's chain until the transaction is over."""
        row = await self._session.fetchrow(
            "INSERT INTO audit_heads AS h (org_id, position, hash) VALUES ($1, 0, $2) "
            "ON CONFLICT (org_id) DO UPDATE SET position = h.position RETURNING position, hash",
            self._session.org_id,
            genesis,
        )
        assert row is not None
        return row["position"], row["hash"]

    async def head(self) -> tuple[int, bytes] | None:
        row = await self._session.fetchrow(
            "SELECT position, hash FROM audit_heads WHERE org_id = $1", self._session.org_id
        )
        return None if row is None else (row["position"], row["hash"])

    async def append(self, rows: Sequence[tuple[Any, ...]], position: int, hash: bytes) -> None:
        """Rows as the table has their columns, and what the head is then."""
        await self._session.executemany(
            "INSERT INTO audit_log (org_id, position, at, actor, action, outcome, object, details, request_id, "
            "previous_hash, hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
            [(self._session.org_id, *row) for row in rows],
        )
        await self._session.execute(
            "UPDATE audit_heads SET position = $2, hash = $3 WHERE org_id = $1", self._session.org_id, position, hash
        )

    async def following(self, position: int, limit: int) -> list[asyncpg.Record]:
        """Oldest first."""
        return await self._session.fetch(
            "SELECT * FROM audit_log WHERE org_id = $1 AND position > $2 ORDER BY position LIMIT $3",
            self._session.org_id,
            position,
            limit,
        )

    async def page(self, *, before: int | None, limit: int) -> list[asyncpg.Record]:
        """Newest first."""
        return await self._session.fetch(
            "SELECT * FROM audit_log WHERE org_id = $1 AND ($2::bigint IS NULL OR position < $2) "
            "ORDER BY position DESC LIMIT $3",
            self._session.org_id,
            before,
            limit,
        )
