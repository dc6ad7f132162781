"""A dead letter, its group and a replay that is over, of an org at a service: with a canary in whatever is a word of theirs."""

from __future__ import annotations

import hashlib

import asyncpg
import orjson

from libs.clock import now
from libs.contracts.event import seal
from libs.contracts.events import OrganizationCreatedV1
from libs.ids import OrgId, new_id, public_id
from libs.messaging.groups import group_id


async def failed(admin: asyncpg.Connection, process: str, org_id: OrgId, canary: str) -> dict[str, str]:
    """Public ids by kind: `group@analytics`, `letter@analytics`, `replay@analytics`."""
    schema, consumer = process.replace("-", "_"), f"{process}.tenants"
    told = seal(
        OrganizationCreatedV1(organization_id=new_id(), name=f"{canary} failed"), source="gateway", org_id=org_id
    )
    mark = hashlib.sha256(f"{process} {canary}".encode()).hexdigest()[:24]
    group, replay = group_id(org_id, mark), new_id()
    await admin.execute(
        f"INSERT INTO {schema}.inbox (consumer, event_id, org_id, type, subject, state, envelope, error_class, reason, "
        "fingerprint) VALUES ($1, $2, $3, $4, $5, 'dead', $6, 'contract_violated', $7, $8)",
        consumer, told.id, org_id, told.type, f"thing/{canary}", told.raw, canary, mark,
    )  # fmt: skip
    note = [{"at": "2026-07-11T12:00:00Z", "by": "key:ada", "text": f"{canary} noted"}]
    await admin.execute(
        f"INSERT INTO {schema}.failure_groups (org_id, id, fingerprint, consumer, event_type, error_class, reason, frames, "
        "notes, first_build, last_build) VALUES ($1, $2, $3, $4, $5, 'contract_violated', $6, '[]', $7::text::jsonb, 'a', 'a')",
        org_id, group, mark, consumer, told.type, canary, orjson.dumps(note).decode(),
    )  # fmt: skip
    pace = {"rate": 1, "account_rate": 1, "canary": 1, "ramp_seconds": 1, "stop_failures": 1, "stop_ratio": 1}
    await admin.execute(
        f"INSERT INTO {schema}.replay_plans (org_id, id, state, action, filter, pace, items_hash, hash, total, accounts, "
        "created_by, reason, expires_at) VALUES ($1, $2, 'aborted', 'replay', '{}', $3::text::jsonb, '', '', 1, '{}', 'key:ada', "
        "$4, $5)",
        org_id, replay, orjson.dumps(pace).decode(), f"{canary} reason", now(),
    )  # fmt: skip
    return {
        f"group@{process}": public_id(f"fgr_{process}", group),
        f"letter@{process}": public_id(f"dlt_{process}_tenants", told.id),
        f"replay@{process}": public_id(f"rpl_{process}", replay),
    }
