"""After all was asked: each act is in the audit log once, also what an owner did and an event told; and no chain is broken."""

from __future__ import annotations

from collections.abc import Mapping

from libs.ids import PLATFORM_ORG
from services.gateway.audit import verify
from tests.security.matrix.world import World


async def gaps(world: World, acts: Mapping[str, tuple[str, int]]) -> list[str]:
    """`acts`: request id -> what it was, and in how many logs it must stand."""
    await world.stack.settle()
    rows = await world.admin.fetch(
        "SELECT request_id, count(*) AS times FROM gateway.audit_log WHERE outcome = 'done' GROUP BY request_id"
    )
    found = {row["request_id"]: row["times"] for row in rows}
    problems = [
        f"{what}: {found.get(request_id, 0)} rows of the audit log instead of {wanted}"
        for request_id, (what, wanted) in acts.items()
        if found.get(request_id, 0) != wanted
    ]
    for org_id in (PLATFORM_ORG, *(tenant.org_id for tenant in world.tenants.values())):
        bad = await verify(world.stack.databases["gateway"], org_id)
        if bad is not None:
            problems.append(f"the audit log of {org_id} is not as it was written at row {bad}")
    return problems
