"""The thin list of operations: the newer change wins, in whatever order they come; each sees their own companies'."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from libs.contracts.event import seal
from libs.contracts.events import OperationChangedV1
from libs.ids import CompanyId, OrgId, new_id, parse_public_id, public_id
from libs.messaging.processor import Processor
from services.gateway.consumers import consumers

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
STATES = ("pending", "running", "unknown", "succeeded")


def change(revision: int, *, operation_id=None, account_id=None):
    return OperationChangedV1.model_validate(
        {
            "operation_id": operation_id or new_id(),
            "account_id": account_id or new_id(),
            "revision": revision,
            "kind": "create_campaign",
            "target": "acc_" + "0" * 32,
            "state": STATES[revision - 1],
            "needs_decision": revision == 3,
            "done": revision // 4,
            "total": 1,
            "error_code": "answer_unknown" if revision == 3 else None,
            "created_at": NOON,
            "changed_at": NOON + timedelta(minutes=revision),
        }
    )


async def deliver(database, org_id: OrgId, company_id: CompanyId | None, *changes: OperationChangedV1) -> None:
    consumer = next(one for one in consumers() if one.queue == "gateway.operations")
    processor = Processor(database("gateway"), consumer, "gateway")
    sealed = [seal(event, source="provider-sync", org_id=org_id, company_id=company_id) for event in changes]
    await processor.deliver(sealed)


async def rows_of(database, org_id: OrgId) -> list[tuple]:
    async with database("gateway").tenant_transaction(org_id) as session:
        return [
            tuple(row)
            for row in await session.fetch("SELECT state, needs_decision, done, error_code, changed_at FROM operations")
        ]


async def test_every_order_and_repetition_ends_alike(database, make_org):
    operation_id, company = new_id(), CompanyId(new_id())
    changes = [change(revision, operation_id=operation_id) for revision in (1, 2, 3, 4)]
    neighbour = make_org()  # has an operation of the same id, which is another
    await deliver(database, neighbour, company, change(2, operation_id=operation_id))
    for order in itertools.permutations(changes):
        org = make_org()
        await deliver(database, org, company, *order[:2])
        await deliver(database, org, company, order[2])
        await deliver(database, org, company, order[3], order[0])
        assert await rows_of(database, org) == [("succeeded", False, 1, None, NOON + timedelta(minutes=4))]

    assert [row[0] for row in await rows_of(database, neighbour)] == ["running"]


@pytest.mark.parametrize("role", ["admin", "manager"])
async def test_each_sees_their_own_companies(house, database, role):
    first, second = house.first, house.second
    sibling = CompanyId(parse_public_id("cmp", first.sibling))
    own, account = new_id(), new_id()
    await deliver(database, first.org_id, first.company_id, change(2, operation_id=own, account_id=account))
    await deliver(database, first.org_id, sibling, change(1))
    await deliver(database, second.org_id, second.company_id, change(4))

    found = (await house.ask("GET", "/v1/operations", getattr(first, role))).json()
    assert len(found["data"]) == (2 if role == "admin" else 1)
    named = f"?account_id={public_id('acc', account)}&state=running"
    (one,) = (await house.ask("GET", "/v1/operations" + named, getattr(first, role))).json()["data"]
    assert (one["id"], one["company_id"]) == (public_id("op_sync", own), first.company)
    pages = [(await house.ask("GET", "/v1/operations?limit=1", getattr(first, role))).json()]
    while pages[-1]["has_more"]:
        path = f"/v1/operations?limit=1&after={pages[-1]['next_cursor']}"
        pages.append((await house.ask("GET", path, getattr(first, role))).json())
    assert [one["id"] for page in pages for one in page["data"]] == [one["id"] for one in found["data"]]
