"""Failure groups: what failed for one cause, in one org. The row keeps what people made of it: a status, notes.

How many letters a group has now is counted in the inbox when somebody asks; the group's row outlives them all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import asyncpg
import orjson

from libs.clock import now, rfc3339
from libs.contracts.envelope import Envelope
from libs.database.engine import TenantSession
from libs.errors import Conflict, NotFound
from libs.ids import OrgId, entity_id
from libs.messaging.work import UnitOfWork
from libs.observability.build import build_id

Status = Literal["open", "acknowledged", "ignored", "resolved"]

MAX_NOTES = 100
# The letters of a group that are looked at to say whom it concerns; of more the answer says `at least`.
LOOKED_AT = 20_000


def group_id(org_id: OrgId, fingerprint: str) -> UUID:
    return entity_id(org_id, "failure_group", fingerprint)


async def note_failures(
    driver: asyncpg.Connection, schema: str, consumer: str, failed: Sequence[tuple[Envelope, Mapping[str, Any]]]
) -> None:
    """Count deliveries that just became dead or parked into their groups; a resolved one that fails again is open again.

    In the transaction that files them, in the dispatch role.
    """
    groups: dict[UUID, tuple[Envelope, Mapping[str, Any], int]] = {}
    for envelope, failure in failed:
        found = group_id(envelope.org_id, failure["fingerprint"])
        groups[found] = (envelope, failure, groups[found][2] + 1 if found in groups else 1)
    rows = [
        (
            envelope.org_id, found, failure["fingerprint"], envelope.type, failure["error_class"], failure["reason"],
            orjson.dumps(failure["frames"]).decode(), failure["provider"], count,
        )
        for found, (envelope, failure, count) in sorted(groups.items(), key=lambda one: (one[1][0].org_id, one[0]))
    ]  # fmt: skip
    await driver.execute(
        f"""
        INSERT INTO {schema}.failure_groups AS g (org_id, id, fingerprint, consumer, event_type, error_class, reason, frames,
                                                  provider, failures, first_build, last_build)
        SELECT org_id, id, fingerprint, $1, event_type, error_class, reason, frames::jsonb, provider, failures, $2, $2
        FROM unnest($3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[],
                    $11::bigint[])
          AS f (org_id, id, fingerprint, event_type, error_class, reason, frames, provider, failures)
        ON CONFLICT (org_id, id) DO UPDATE SET failures = g.failures + excluded.failures, last_seen = now(),
          last_build = excluded.last_build,
          revision = g.revision + (g.status = 'resolved')::int,
          reopened_at = CASE WHEN g.status = 'resolved' THEN now() ELSE g.reopened_at END,
          status = CASE WHEN g.status = 'resolved' THEN 'open' ELSE g.status END
        """,
        consumer,
        build_id(),
        *(list(column) for column in zip(*rows, strict=True)),
    )


@dataclass(frozen=True, slots=True)
class GroupQuery:
    """Which groups; None: whichever. `with_letters`: those alone in which something waits for a person now."""

    status: Status | None = None
    consumer: str | None = None
    error_class: str | None = None
    provider: str | None = None
    with_letters: bool = False


# A group as it is told, with what its letters are now. The letters are counted through their index, up to a bound.
_TOLD = f"""
    SELECT g.id, g.fingerprint, g.consumer, g.event_type, g.error_class, g.reason, g.frames::text AS frames, g.provider,
      g.status, g.revision, g.notes::text AS notes, g.failures, g.first_seen, g.last_seen, g.reopened_at, g.first_build,
      g.last_build,
      -- What failed again since is not mended, whatever one letter showed.
      CASE WHEN g.probe = 'passes' AND g.last_seen < g.probed_at THEN g.probed_build END AS fixed_by_build,
      CASE WHEN g.probe = 'passes' AND g.last_seen < g.probed_at THEN g.probed_at END AS fixed_since,
      n.letters, n.dead, n.parked, n.accounts, n.campaigns, n.subjects, n.last_hour
    FROM failure_groups g CROSS JOIN LATERAL (
      SELECT count(*) AS letters, count(*) FILTER (WHERE state = 'dead') AS dead,
        count(*) FILTER (WHERE state = 'parked') AS parked, count(DISTINCT account_id) AS accounts,
        count(DISTINCT campaign) AS campaigns, count(DISTINCT subject) AS subjects,
        count(*) FILTER (WHERE changed_at > now() - interval '1 hour') AS last_hour
      FROM (SELECT state, account_id, campaign, subject, changed_at FROM inbox i
            WHERE i.org_id = g.org_id AND i.fingerprint = g.fingerprint AND i.state IN ('dead', 'parked')
            LIMIT {LOOKED_AT}) AS looked_at
    ) n
"""


class Groups:
    """One org's."""

    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def page(
        self, query: GroupQuery, *, before: tuple[datetime, UUID] | None, limit: int
    ) -> list[dict[str, Any]]:
        """Last seen first."""
        moment, last = before or (None, None)
        rows = await self._session.fetch(
            f"""
            {_TOLD} WHERE g.org_id = $1 AND ($2::text IS NULL OR g.status = $2) AND ($3::text IS NULL OR g.consumer = $3)
              AND ($4::text IS NULL OR g.error_class = $4) AND ($5::text IS NULL OR g.provider = $5)
              AND ($6 IS FALSE OR n.letters > 0) AND ($7::timestamptz IS NULL OR (g.last_seen, g.id) < ($7, $8))
            ORDER BY g.last_seen DESC, g.id DESC LIMIT $9
            """,
            self._session.org_id, query.status, query.consumer, query.error_class, query.provider, query.with_letters,
            moment, last, limit,
        )  # fmt: skip
        return [_told(row) for row in rows]

    async def get(self, identifier: UUID) -> dict[str, Any]:
        """Raises: NotFound."""
        rows = await self._session.fetch(f"{_TOLD} WHERE g.org_id = $1 AND g.id = $2", self._session.org_id, identifier)
        if not rows:
            raise NotFound("there is no group of dead letters with this id")
        return _told(rows[0])


async def change(
    work: UnitOfWork, identifier: UUID, *, revision: int, status: Status | None, note: str | None, public_id: str
) -> dict[str, Any]:
    """Set a status, add a note (kept for good, MAX_NOTES of them), or both. Audited.

    Raises:
        NotFound, Conflict: somebody changed it since `revision` was read, or it has all the notes it can have.
    """
    row = await work.session.fetchrow(
        "SELECT revision, status, jsonb_array_length(notes) AS notes FROM failure_groups "
        "WHERE org_id = $1 AND id = $2 FOR UPDATE",
        work.org_id, identifier,
    )  # fmt: skip
    if row is None:
        raise NotFound("there is no group of dead letters with this id")
    if row["revision"] != revision:
        raise Conflict(
            f"the group is at revision {row['revision']} by now: read it again", code="revision_conflict",
            pointer="/revision",
        )  # fmt: skip
    if note is not None and row["notes"] >= MAX_NOTES:
        raise Conflict(
            f"the group has {MAX_NOTES} notes, and none of them goes", code="too_many_notes", pointer="/note"
        )
    added = [] if note is None else [{"at": rfc3339(now()), "by": work.actor, "text": note}]
    await work.session.execute(
        "UPDATE failure_groups SET status = coalesce($3, status), notes = notes || $4::text::jsonb, revision = revision + 1 "
        "WHERE org_id = $1 AND id = $2",
        work.org_id, identifier, status, orjson.dumps(added).decode(),
    )  # fmt: skip
    # What the note says stays out: it is erased with the org, the audit log's chain cannot forget a word.
    details: dict[str, Any] = {"note_added": note is not None}
    if status is not None:
        details |= {"status": status, "status_before": row["status"]}
    work.audit("failure_group.changed", public_id, details)
    return await Groups(work.session).get(identifier)


def _told(row: asyncpg.Record) -> dict[str, Any]:
    told = dict(row)
    told["frames"], told["notes"] = orjson.loads(row["frames"]), orjson.loads(row["notes"])
    told["counted_to_the_end"] = row["letters"] < LOOKED_AT
    return told


_ADVICE: dict[str, tuple[str, str]] = {
    "contract_violated": (
        "fix",
        "The bytes are not what their sender promised. Mend the reader, deploy, dry-run a replay.",
    ),
    "unknown_version": ("deploy", "A newer event than this build reads. Deploy one that knows it, then replay."),
    "tenant_mismatch": (
        "investigate",
        "It speaks of an object that the organization has not. Find out why; never replay first.",
    ),
    "organization_suspended": ("wait", "Nothing is wrong: it is handled by itself once the organization is resumed."),
    "too_old": (
        "investigate",
        "From before what is remembered: it may have been applied then. Look before you replay.",
    ),
    "crash": ("investigate", "Handed out and never answered: it may kill the process. Replay one letter alone first."),
    "rate_limited": ("replay", "The provider wanted fewer calls. Replay at a low rate."),
    "provider_unavailable": ("replay", "The provider did not answer. Replay once it does."),
    "credential_refused": ("credential", "The account's key was refused. Give it a new one, then replay."),
    "signature_refused": (
        "release",
        "Withheld for want of its proof. Find out who sends it; mend the endpoint, then release.",
    ),
}


def advice(error_class: str) -> tuple[str, str]:
    """What to do first about failures of this class: a word for machines, a sentence for people."""
    if known := _ADVICE.get(error_class):
        return known
    if error_class[:1].isupper():  # the name of an exception: a bug of ours
        return "fix", "A bug of ours. The frames say where; deploy the mended build, then dry-run a replay."
    return "investigate", "Read a letter and its attempts, mend the cause, then dry-run a replay."
