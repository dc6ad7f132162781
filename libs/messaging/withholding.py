"""Deliveries that a handler would not apply for a reason that may pass: parked in the inbox, the rest of their batch stands.

Unlike a failure this rolls nothing back, so a flood of them costs the good ones of a batch no second run, and what the
handler noted of them (how many, since when) is committed with them. Somebody releases them; then they are judged anew.
What waits for a suspended organization waits here too, unlooked at, and is released by itself once that is resumed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from libs.clock import now
from libs.contracts import envelope as envelopes
from libs.contracts.envelope import Envelope
from libs.contracts.events import DeadLetterChangedV1
from libs.ids import OrgId
from libs.messaging import inbox
from libs.messaging.work import UnitOfWork
from libs.observability.build import build_id

RELEASED_AT_ONCE = 1000
_MORE_HISTORY = inbox.MORE_HISTORY.format(
    "i.", "jsonb_build_array(w.entry::jsonb || jsonb_build_object('attempt', attempts + w.charge))"
)


async def park(
    driver: asyncpg.Connection,
    schema: str,
    consumer: str,
    withheld: Sequence[tuple[Envelope, Mapping[str, Any]]],
    *,
    charged: Collection[UUID],
) -> dict[UUID, int]:
    """Undo the claims of these events, keeping bytes and cause; answers the attempts of each, `charged` ones with one more.

    In the transaction that claimed them, in the dispatch role.
    """
    rows = await driver.fetch(
        f"""
        UPDATE {schema}.inbox i SET state = 'parked', envelope = w.envelope, attempts = attempts + w.charge, due_at = NULL,
          error_class = w.error_class, reason = w.reason, fingerprint = w.fingerprint,
          history = {_MORE_HISTORY},
          account_id = w.account_id, provider = w.provider, campaign = w.campaign, build = $12, changed_at = now()
        FROM unnest($2::uuid[], $3::bytea[], $4::text[], $5::text[], $6::text[], $7::text[], $8::int[], $9::uuid[],
                    $10::text[], $11::text[])
          AS w (id, envelope, error_class, reason, fingerprint, entry, charge, account_id, provider, campaign)
        WHERE i.consumer = $1 AND i.event_id = w.id RETURNING i.event_id, i.attempts
        """,
        consumer,
        [envelope.id for envelope, _ in withheld],
        [envelope.raw for envelope, _ in withheld],
        [failure["error_class"] for _, failure in withheld],
        [failure["reason"] for _, failure in withheld],
        [failure["fingerprint"] for _, failure in withheld],
        [orjson.dumps(inbox.attempt(failure, 0)).decode() for _, failure in withheld],
        [int(envelope.id in charged) for envelope, _ in withheld],
        [failure["account_id"] for _, failure in withheld],
        [failure["provider"] for _, failure in withheld],
        [failure["campaign"] for _, failure in withheld],
        build_id(),
    )
    return {row["event_id"]: row["attempts"] for row in rows}


async def release(work: UnitOfWork, consumer: str, error_class: str, *, mentions: str) -> int:
    """Make due again what was withheld from `consumer` for this reason and whose envelope holds the text `mentions`.

    Answers how many, RELEASED_AT_ONCE at most, oldest first. Publishes DeadLetterChangedV1 for each. One org's, as the
    session is; the handler that withheld them judges them again.
    """
    rows = await work.session.fetch(
        """
        UPDATE inbox i SET state = 'due', due_at = now(), takes = 0, changed_at = now()
        FROM (
          SELECT consumer, event_id FROM inbox
          WHERE org_id = $1 AND state = 'parked' AND consumer = $2 AND error_class = $3
            AND position(convert_to($4, 'UTF8') in envelope) > 0
          ORDER BY event_id LIMIT $5 FOR UPDATE SKIP LOCKED
        ) AS picked
        WHERE i.consumer = picked.consumer AND i.event_id = picked.event_id
        RETURNING i.envelope, i.error_class, i.reason, i.fingerprint, i.attempts
        """,
        work.org_id,
        consumer,
        error_class,
        mentions,
        RELEASED_AT_ONCE,
    )
    return _tell(work, consumer, rows)


async def again(work: UnitOfWork, consumer: str, event_ids: Collection[UUID]) -> set[UUID]:
    """Of these events of one org those that `consumer` has not done: dead and parked ones become due, due ones stay so.

    Publishes DeadLetterChangedV1 for each that becomes due.
    """
    rows = await work.session.fetch(
        """
        UPDATE inbox i SET state = 'due', due_at = now(), takes = 0, changed_at = now()
        FROM (
          SELECT consumer, event_id, state AS was FROM inbox
          WHERE org_id = $1 AND consumer = $2 AND event_id = ANY($3) AND state IN ('dead', 'parked')
          ORDER BY event_id FOR UPDATE
        ) AS picked
        WHERE i.consumer = picked.consumer AND i.event_id = picked.event_id
        RETURNING i.event_id, i.envelope, i.error_class, i.reason, i.fingerprint, i.attempts, picked.was
        """,
        work.org_id,
        consumer,
        list(event_ids),
    )
    _tell(work, consumer, rows)
    waiting = await work.session.fetch(
        "SELECT event_id FROM inbox WHERE org_id = $1 AND consumer = $2 AND event_id = ANY($3) AND state = 'due'",
        work.org_id,
        consumer,
        list(event_ids),
    )
    return {row["event_id"] for row in waiting}


async def resumed(driver: asyncpg.Connection, schema: str, consumer: str) -> list[OrgId]:
    """Some of the orgs that are served again and for which something still waits. In the dispatch role.

    Goes from the orgs that were resumed to their rows: of who is still suspended, however much waits, nothing is read.
    """
    rows = await driver.fetch(
        f"""
        SELECT s.org_id FROM {schema}.org_states s WHERE s.state = 'active' AND EXISTS (
          SELECT FROM {schema}.inbox i WHERE i.consumer = $1 AND i.org_id = s.org_id AND i.state = 'parked'
            AND i.error_class = 'organization_suspended')
        LIMIT 20
        """,
        consumer,
    )
    return [OrgId(row["org_id"]) for row in rows]


async def release_resumed(work: UnitOfWork, consumer: str) -> int:
    """Make due again what waited for this org to be resumed; RELEASED_AT_ONCE at most, none if it is suspended again."""
    if work.session.is_suspended:
        return 0
    rows = await work.session.fetch(
        """
        UPDATE inbox i SET state = 'due', due_at = now(), takes = 0, changed_at = now()
        FROM (
          SELECT consumer, event_id FROM inbox
          WHERE org_id = $1 AND consumer = $2 AND state = 'parked' AND error_class = 'organization_suspended'
          LIMIT $3 FOR UPDATE SKIP LOCKED
        ) AS picked
        WHERE i.consumer = picked.consumer AND i.event_id = picked.event_id
        RETURNING i.envelope, i.error_class, i.reason, i.fingerprint, i.attempts
        """,
        work.org_id,
        consumer,
        RELEASED_AT_ONCE,
    )
    return _tell(work, consumer, rows)


def _tell(work: UnitOfWork, consumer: str, released: Sequence[asyncpg.Record]) -> int:
    for row in released:
        envelope = envelopes.read(row["envelope"])
        work.changes.add(work.org_id, consumer, envelope.type, envelope.id, row.get("was") or "parked", -1)
        work.changes.add(work.org_id, consumer, envelope.type, envelope.id, "due")
        told = DeadLetterChangedV1.model_validate(
            {
                "service": work.source,
                "consumer": consumer,
                "event_id": envelope.id,
                "event_type": envelope.type,
                "event_subject": envelope.subject,
                "state": "due",
                "error_class": row["error_class"],
                "reason": row["reason"],
                "fingerprint": row["fingerprint"],
                "attempts": row["attempts"],
                "changed_at": now(),
            }
        )
        work.publish(told, company_id=envelope.company_id, cause=envelope)
    return len(released)
