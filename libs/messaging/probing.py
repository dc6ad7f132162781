"""Is it mended? A new build tries one letter of each cause that an older one failed at, without keeping anything.

What it finds is marked on the group: `probe` passes or fails with `probed_build`, since `probed_at`. It replays nothing: that a
letter would pass is no reason to do all of them at once, nor at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from uuid import UUID

import asyncpg

from libs.database.engine import Database, OrganizationErased
from libs.errors import DependencyDown
from libs.ids import OrgId
from libs.messaging.dry_run import DryRunBusy, dry_run
from libs.messaging.processor import Processor
from libs.observability.build import build_id
from libs.observability.logs import get_logger

POLL_SECONDS = 60.0  # while replicas of an older build go on failing
_AGAIN_SECONDS = (
    60  # who claimed a group and found nothing out (live work was in the way, the process died) leaves it so long
)
# What a build has no part in, and what must not be touched by itself: it may kill the process.
_NOT_TRIED = ("crash", "too_old", "organization_suspended", "signature_refused")

log = get_logger()


class Probes:
    """One service's. Replicas share the groups: a claim is a row's."""

    def __init__(self, database: Database, processors: Mapping[str, Processor]) -> None:
        self._database = database
        self._processors = processors

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            with suppress(DependencyDown):
                while await self.run_due():
                    pass
            await asyncio.sleep(POLL_SECONDS)

    async def run_due(self) -> int:
        """Try one group; answers how many there were."""
        claimed = await self._claim()
        if claimed is None:
            return 0
        org_id = OrgId(claimed["org_id"])
        try:
            found = await self._try(org_id, claimed["consumer"], claimed["fingerprint"])
        except DependencyDown:
            raise
        except (OrganizationErased, DryRunBusy):
            return 1
        except Exception as error:  # of one cause; the others are tried, and this one says so in the log
            log.error("probe_failed", org_id=str(org_id), group_id=str(claimed["id"]), exc_info=error)
            return 1
        if found is not None:
            await self._keep(org_id, claimed["id"], "passes" if found else "fails")
        return 1

    async def _claim(self) -> asyncpg.Record | None:
        async with self._database.transaction() as transaction:
            await transaction.as_dispatch()
            schema = self._database.schema
            return await transaction.driver.fetchrow(
                f"""
                UPDATE {schema}.failure_groups g SET probed_build = $1, probe = NULL, probed_at = now()
                FROM (
                  SELECT org_id, id FROM {schema}.failure_groups c
                  WHERE status IN ('open', 'acknowledged') AND last_build <> $1 AND error_class <> ALL($2::text[])
                    AND (probed_build IS DISTINCT FROM $1
                         OR probed_at < now() - $3 * interval '1 second' AND (probe IS NULL OR last_seen > probed_at))
                    AND consumer = ANY($4::text[])
                    AND EXISTS (SELECT FROM {schema}.inbox i WHERE i.org_id = c.org_id AND i.fingerprint = c.fingerprint
                                AND i.state IN ('dead', 'parked'))
                  ORDER BY last_seen DESC LIMIT 1 FOR UPDATE SKIP LOCKED
                ) AS next
                WHERE g.org_id = next.org_id AND g.id = next.id RETURNING g.org_id, g.id, g.consumer, g.fingerprint
                """,
                build_id(),
                list(_NOT_TRIED),
                float(_AGAIN_SECONDS),
                list(self._processors),
            )

    async def _try(self, org_id: OrgId, consumer: str, fingerprint: str) -> bool | None:
        """Whether its newest letter would pass; None when that was not found out."""
        async with self._database.tenant_transaction(org_id) as session:
            event_id: UUID | None = await session.fetchval(
                "SELECT event_id FROM inbox WHERE org_id = $1 AND fingerprint = $2 AND state IN ('dead', 'parked') "
                "ORDER BY event_id DESC LIMIT 1",
                org_id,
                fingerprint,
            )
            if event_id is None or session.is_suspended:
                return None
        found = await dry_run(self._database, self._processors, org_id, [(consumer, event_id)], of=1)
        return bool(found["would_succeed"]) if found["covered"] else None

    async def _keep(self, org_id: OrgId, group_id: UUID, probe: str) -> None:
        async with self._database.tenant_transaction(org_id) as session:
            await session.execute(
                "UPDATE failure_groups SET probe = $3, probed_at = now() WHERE org_id = $1 AND id = $2 AND probed_build = $4",
                org_id, group_id, probe, build_id(),
            )  # fmt: skip
        log.info("group_probed", org_id=str(org_id), group_id=str(group_id), probe=probe)
