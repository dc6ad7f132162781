"""The auditor: judges every organization's ledger all the time, and says so when something is unaccounted for."""

from __future__ import annotations

import asyncio
import zlib
from contextlib import suppress
from uuid import UUID

from libs.database.engine import Database, OrganizationErased, is_conflict
from libs.errors import DependencyDown
from libs.ids import PLATFORM_ORG, OrgId
from libs.observability import metrics
from libs.observability.logs import get_logger
from services.analytics.domain.ledger import Verdict, advice
from services.analytics.handlers.ledger import fold, judge
from services.analytics.repository.ledger import orgs_with_counts

_AT_ONCE = 100
_LEADER = zlib.crc32(b"outrider analytics auditor")

log = get_logger()


class Auditor:
    """Of several replicas one at a time judges; the others tell no figure."""

    def __init__(self, database: Database, *, settle_seconds: float, every_seconds: float) -> None:
        self._database = database
        self._settle_seconds = settle_seconds
        self._every_seconds = every_seconds
        self._told: dict[OrgId, int] = {}  # what does not balance, and how much of it was logged

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            with suppress(DependencyDown):
                await self.judge_all()
            await asyncio.sleep(self._every_seconds)

    async def judge_all(self) -> int | None:
        """Judge every org; answers what is unaccounted for over all of them, or None while another replica does."""
        unaccounted = 0
        async with self._database.tenant_transaction(PLATFORM_ORG) as leading:
            if not await leading.fetchval("SELECT pg_try_advisory_xact_lock($1)", _LEADER):
                metrics.forget(metrics.UNACCOUNTED)
                self._told.clear()
                return None
            past: UUID | None = None
            while orgs := await orgs_with_counts(leading, past, _AT_ONCE):
                for org_id in orgs:
                    unaccounted += await self._judge(org_id)
                past = orgs[-1]
        metrics.record(metrics.UNACCOUNTED, unaccounted)
        return unaccounted

    async def _judge(self, org_id: OrgId) -> int:
        try:
            async with self._database.tenant_transaction(org_id) as session:
                verdict = await judge(session, self._settle_seconds)
            self._tell(org_id, verdict)
            await self._fold(org_id)
        except OrganizationErased:
            self._told.pop(org_id, None)
            return 0
        return verdict.unaccounted

    async def _fold(self, org_id: OrgId) -> None:
        try:
            async with self._database.tenant_transaction(org_id) as session:
                await fold(session)
        except Exception as error:
            if not is_conflict(error):  # with who adds counts: it is folded the next time
                raise

    def _tell(self, org_id: OrgId, verdict: Verdict) -> None:
        """Log what changed: once when it begins, when it grows or shrinks, and when it is over."""
        before = self._told.get(org_id, 0)
        if verdict.unaccounted == before:
            return
        if not verdict.unaccounted:
            del self._told[org_id]
            log.info("ledger_balances_again", org_id=str(org_id))
            return
        self._told[org_id] = verdict.unaccounted
        for hop in verdict.unbalanced:
            log.error(
                "ledger_unbalanced", org_id=str(org_id), event_type=hop.event_type, queue=hop.queue,
                unaccounted=hop.unaccounted, minutes=[bucket.bucket.isoformat() for bucket in hop.worst[:5]],
                ids_differ=any(bucket.ids_differ for bucket in hop.worst), advice=advice(hop),
            )  # fmt: skip
