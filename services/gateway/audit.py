"""The audit log: per org a chain in which every row holds the hash of the one before, so that no row can be changed unseen.

The hash finds what was changed behind the service's back, not who rewrites a whole chain: ship the heads elsewhere for that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import orjson

from libs.clock import now, rfc3339
from libs.database.engine import Database, TenantSession, Transaction
from libs.ids import PLATFORM_ORG, OrgId
from services.gateway.domain import Caller
from services.gateway.repository.audit import AuditRows
from services.gateway.repository.tenants import Organizations

MACHINE = "machine"
GENESIS = b"\0" * 32
_READ_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Entry:
    """One act. `details` is JSON text; `object` a public id, a path, or empty."""

    at: datetime
    actor: str
    action: str
    outcome: Literal["done", "denied"]
    object: str
    details: str
    request_id: str


def row_hash(org_id: OrgId, position: int, entry: Entry, previous_hash: bytes) -> bytes:
    """SHA-256 over the previous hash and the row in one canonical form."""
    content = [
        str(org_id), position, rfc3339(entry.at), entry.actor, entry.action, entry.outcome, entry.object, entry.details,
        entry.request_id,
    ]  # fmt: skip
    return hashlib.sha256(previous_hash + orjson.dumps(content)).digest()


async def record(
    session: TenantSession,
    caller: Caller | None,
    action: str,
    target: str = "",
    details: dict[str, Any] | None = None,
    *,
    outcome: Literal["done", "denied"] = "done",
) -> None:
    """Append to the org's chain, in the transaction of the act: both are kept, or neither.

    Without a caller it was somebody at the machine itself. Last before the commit: it makes other appenders of the org wait.
    """
    entry = Entry(
        at=now(),
        actor=MACHINE if caller is None else caller.principal.name,
        action=action,
        outcome=outcome,
        object=target,
        details=canonical(details or {}),
        request_id="" if caller is None else caller.request_id,
    )
    await append(session, [entry])


async def record_on_both_sides(
    transaction: Transaction,
    org_id: OrgId,
    caller: Caller,
    action: str,
    target: str = "",
    details: dict[str, Any] | None = None,
) -> None:
    """What platform staff do to an org is in the platform's log and in the org's; locked in one order for all, by id."""
    for each in sorted((PLATFORM_ORG, org_id)):
        await record(await transaction.as_tenant(each), caller, action, target, details)


async def append(session: TenantSession, entries: Sequence[Entry]) -> None:
    """Put entries at the end of the org's chain, in this order."""
    rows = AuditRows(session)
    position, previous = await rows.locked_head(GENESIS)
    chained = []
    for entry in entries:
        position += 1
        mark = row_hash(session.org_id, position, entry, previous)
        chained.append(
            (position, entry.at, entry.actor, entry.action, entry.outcome, entry.object, entry.details, entry.request_id,
             previous, mark)
        )  # fmt: skip
        previous = mark
    await rows.append(chained, position, previous)


def canonical(details: Mapping[str, Any]) -> str:
    """Details as the JSON text that is hashed."""
    return orjson.dumps(details, option=orjson.OPT_SORT_KEYS).decode()


async def verify(database: Database, org_id: OrgId) -> int | None:
    """The position of the first row that is not as it was written, or is missing; None when the chain is whole.

    `database` is the gateway's. Reads a thousand rows at a time, while others may append.
    """
    async with database.tenant_transaction(org_id) as session:
        rows = AuditRows(session)
        # Without a head nothing tells how long the chain was: then its first row is in doubt, if there is any.
        end, end_hash = await rows.head() or (1, b"")
        empty = not end_hash
        expected, previous = 1, GENESIS
        while True:
            found = await rows.following(expected - 1, _READ_AT_ONCE)
            for row in found:
                entry = Entry(
                    row["at"], row["actor"], row["action"], row["outcome"], row["object"], row["details"],
                    row["request_id"],
                )  # fmt: skip
                mark = row_hash(org_id, expected, entry, previous)
                if row["position"] != expected or row["previous_hash"] != previous or row["hash"] != mark:
                    return expected
                if expected == end and mark != end_hash:
                    return expected
                expected, previous = expected + 1, mark
            if len(found) < _READ_AT_ONCE:
                break
        return expected if expected <= end and not (empty and expected == 1) else None


async def length(database: Database, org_id: OrgId) -> int:
    """How many rows the chain has, as its head tells."""
    async with database.tenant_transaction(org_id) as session:
        head = await AuditRows(session).head()
    return 0 if head is None else head[0]


async def organizations(database: Database) -> list[OrgId]:
    """Every org that has a chain of its own, oldest first."""
    found: list[OrgId] = []
    async with database.tenant_transaction(PLATFORM_ORG) as session:
        while True:
            rows = await Organizations(session).page(after=found[-1] if found else None, limit=_READ_AT_ONCE)
            found += [OrgId(row["org_id"]) for row in rows]
            if len(rows) < _READ_AT_ONCE:
                return found
