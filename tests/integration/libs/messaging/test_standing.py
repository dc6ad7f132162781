"""Organizations that are suspended wait, erased ones stay gone; whatever carries the events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from libs.contracts import event as contract
from libs.contracts.envelope import Envelope
from libs.contracts.envelope import read as read_envelope
from libs.contracts.event import Event
from libs.contracts.events import (
    DeadLetterChangedV1,
    OrganizationCreatedV1,
    OrganizationErasedV1,
    OrganizationResumedV1,
    OrganizationSuspendedV1,
)
from libs.database.engine import OrganizationErased
from libs.errors import ProviderUnavailable
from libs.ids import OrgId, new_id
from libs.messaging import inbox, ledger
from libs.messaging.processor import Processor
from libs.messaging.standing import keep_standing, set_standing
from libs.messaging.work import UnitOfWork, Units
from tests.integration.libs.messaging.house import House, until
from tests.integration.libs.messaging.test_conformance import _balance, _has_count

WAITING, OTHER = "provider-sync.tenants", "analytics.tenants"


@pytest.fixture
def waiting(house: House) -> Processor:
    """provider-sync's consumer, which waits for suspended organizations; analytics' goes on."""
    found = house.processors[WAITING]
    found.consumer = replace(found.consumer, waits_while_suspended=True)
    return found


async def stand(house: House, org_id: OrgId, state: Any, revision: int) -> None:
    for processor in house.processors.values():
        async with Units(processor.database, processor.source).begin(org_id) as work:
            await set_standing(work.session, state, revision)


async def test_a_suspended_organization_waits_uncharged_and_is_served_by_itself_once_resumed(
    house: House, waiting: Processor, make_org: Any
) -> None:
    suspended, other = make_org(), make_org()
    await stand(house, suspended, "suspended", 1)
    told = await house.tell(suspended, *(f"s{n}" for n in range(5)))
    await house.tell(other, "o1", "o2")
    house.start()
    await until(lambda: _has_count(house, "analytics", 7))
    await until(lambda: _has_state(house, suspended, {"parked": 5}))

    assert await house.effects("provider_sync") == ["o1", "o2"]
    rows = {row["event_id"]: row for row in await house.inbox(WAITING) if row["org_id"] == suspended}
    for envelope in told:
        row = rows[envelope.id]
        assert (row["state"], row["attempts"], row["envelope"]) == ("parked", 0, envelope.raw)
        assert row["error_class"] == "organization_suspended"
        assert "resumed" in row["reason"]
    counts = await _balance(house, "provider_sync", WAITING)
    assert counts[suspended, "parked"] == (5, _xor(told))
    assert counts.get((suspended, "due"), (0, 0)) == counts.get((suspended, "done"), (0, 0)) == (0, 0)
    assert counts[other, "done"][0] == 2
    letters = await _letters(house)
    assert {(one.event_id, one.state, one.attempts) for one in letters} == {(one.id, "parked", 0) for one in told}
    assert {one.error_class for one in letters} == {"organization_suspended"}

    await stand(house, suspended, "active", 2)
    await until(lambda: _has_count(house, "provider_sync", 7))

    assert await house.effects("provider_sync") == ["o1", "o2", "s0", "s1", "s2", "s3", "s4"]
    counts = await _balance(house, "provider_sync", WAITING)
    assert counts[suspended, "done"] == (5, _xor(told))
    assert counts.get((suspended, "parked"), (0, 0)) == counts.get((suspended, "due"), (0, 0)) == (0, 0)
    assert Counter(one.state for one in await _letters(house)) == {"parked": 5, "due": 5}


async def test_a_retry_that_comes_due_while_suspended_keeps_the_attempts_it_had(
    house: House, waiting: Processor, make_org: Any
) -> None:
    failing = True

    async def fail(events: Sequence[OrganizationCreatedV1], _: UnitOfWork) -> None:
        if failing and any(event.name == "flaky" for event in events):
            raise ProviderUnavailable("not now")

    house.hooks[WAITING] = fail
    org, other = make_org(), make_org()
    (flaky,) = await _sealed(org, "flaky")
    await waiting.deliver([flaky, *await _sealed(other, "well")])
    assert (await _row(house, flaky))["attempts"] == 1

    await stand(house, org, "suspended", 1)
    await until(lambda: _run_until_parked(house, waiting, flaky))
    assert (await _row(house, flaky))["attempts"] == 1
    await waiting.run_due()
    assert (await _row(house, flaky))["state"] == "parked"

    failing = False
    await stand(house, org, "active", 2)
    await waiting.run_due()
    assert await house.effects("provider_sync") == ["flaky", "well"]


async def test_the_newest_revision_counts_in_whatever_order_and_erased_is_final(house: House, make_org: Any) -> None:
    suspended = OrganizationSuspendedV1(organization_id=new_id(), revision=1)
    resumed = OrganizationResumedV1(organization_id=new_id(), revision=2)
    again = OrganizationSuspendedV1(organization_id=new_id(), revision=3)
    erased = OrganizationErasedV1(organization_id=new_id(), revision=4)
    late = OrganizationResumedV1(organization_id=new_id(), revision=5)
    cases: tuple[tuple[list[list[Event]], str], ...] = (
        ([[suspended]], "suspended"),
        ([[resumed], [suspended]], "active"),
        ([[resumed, suspended]], "active"),
        ([[again], [resumed], [suspended]], "suspended"),
        ([[suspended], [erased]], "erased"),
        ([[late, erased]], "erased"),
        ([[late], [erased]], "erased"),
    )
    org = make_org()
    for batches, expected in cases:
        org = make_org()
        for events in batches:
            await _keep(house, org, events)
        rows = await house.query("SELECT state FROM analytics.org_states WHERE org_id = $1", org)
        assert [row["state"] for row in rows] == [expected], batches
    with pytest.raises(OrganizationErased):
        await _keep(house, org, [late])


async def test_what_comes_too_late_for_an_erased_organization_is_counted_and_nothing_of_it_kept(
    house: House, waiting: Processor, make_org: Any
) -> None:
    erased, other = make_org(), make_org()
    known = (await _sealed(erased, "before"))[0]
    await waiting.deliver([known])
    await stand(house, erased, "erased", 1)

    late = await _sealed(erased, "late", "later")
    await waiting.deliver([*late, *await _sealed(other, "well", "too"), known])
    await waiting.defer([late[0], *await _sealed(other, "suspect")])
    await waiting.run_due()

    assert await house.effects("provider_sync") == ["before", "suspect", "too", "well"]
    left = [row for row in await house.inbox(WAITING) if row["org_id"] == erased]
    assert left == []
    (tombstone,) = await house.query("SELECT * FROM provider_sync.org_states WHERE org_id = $1", erased)
    assert (tombstone["state"], tombstone["refused"]) == ("erased", 4)
    counts = await _balance(house, "provider_sync", WAITING)
    assert counts[other, "done"][0] == 3
    assert counts[erased, "done"] == (1, known.id.int)  # from when it was there
    assert await ledger.fold(waiting.database, "provider-sync") > 0
    told = await house.query("SELECT org_id, type FROM provider_sync.outbox")
    assert {row["org_id"] for row in told} == {other}


async def test_what_an_erased_organization_told_reaches_nobody_any_more(house: House, make_org: Any) -> None:
    erased, other = make_org(), make_org()
    await house.tell(erased, "one", "two")
    await house.tell(other, "well")
    await stand(house, erased, "erased", 1)
    house.start()
    await until(lambda: _has_count(house, "analytics", 1))
    await until(lambda: _refused(house, erased, 2))

    assert await house.effects("analytics") == await house.effects("provider_sync") == ["well"]
    for queue in (WAITING, OTHER):
        assert {row["org_id"] for row in await house.inbox(queue)} == {other}


async def test_failures_of_an_erased_organization_leave_no_row(house: House, waiting: Processor, make_org: Any) -> None:
    """A handler that was at it when the tombstone came fails: neither its retry nor its dead letter is kept."""
    org, other = make_org(), make_org()

    async def erase_and_fail(events: Sequence[OrganizationCreatedV1], _: UnitOfWork) -> None:
        if any(event.name == "first" for event in events):
            async with Units(waiting.database, "provider-sync").begin(org) as work:
                await set_standing(work.session, "erased", 1)
            raise RuntimeError("a bug")

    house.hooks[WAITING] = erase_and_fail
    await waiting.deliver(await _sealed(org, "first"))  # alone: nothing else would run the handler a second time
    await waiting.deliver(await _sealed(other, "well"))

    assert [row["org_id"] for row in await house.inbox(WAITING)] == [other]
    assert await house.query("SELECT 1 FROM provider_sync.outbox WHERE org_id = $1", org) == []
    assert await house.effects("provider_sync") == ["well"]


async def test_a_tombstone_that_comes_between_claim_and_handler_undoes_the_claim(
    house: House, waiting: Processor, make_org: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    org, other = make_org(), make_org()
    claim = inbox.claim

    async def claim_then_erase(*arguments: Any) -> tuple[set[UUID], set[UUID]]:
        claimed = await claim(*arguments)
        monkeypatch.setattr(inbox, "claim", claim)
        async with Units(waiting.database, "provider-sync").begin(org) as work:
            await set_standing(work.session, "erased", 1)
        return claimed

    monkeypatch.setattr(inbox, "claim", claim_then_erase)
    await waiting.deliver([*await _sealed(org, "gone"), *await _sealed(other, "well")])

    assert await house.effects("provider_sync") == ["well"]
    assert [row["org_id"] for row in await house.inbox(WAITING)] == [other]


# Small questions


def _xor(told: Sequence[Envelope]) -> int:
    mixed = 0
    for envelope in told:
        mixed ^= envelope.id.int
    return mixed


async def _sealed(org_id: OrgId, *names: str) -> list[Envelope]:
    events = [OrganizationCreatedV1(organization_id=new_id(), name=name) for name in names]
    return [read_envelope(contract.seal(event, source="gateway", org_id=org_id).raw) for event in events]


async def _keep(house: House, org_id: OrgId, events: Sequence[Event]) -> None:
    async with Units(house.processors[OTHER].database, "analytics").begin(org_id) as work:
        await keep_standing(events, work)


async def _has_state(house: House, org_id: OrgId, expected: dict[str, int]) -> bool:
    return Counter(row["state"] for row in await house.inbox(WAITING) if row["org_id"] == org_id) == expected


async def _row(house: House, envelope: Envelope) -> Any:
    return next(row for row in await house.inbox(WAITING) if row["event_id"] == envelope.id)


async def _run_until_parked(house: House, processor: Processor, envelope: Envelope) -> bool:
    await processor.run_due()
    return bool((await _row(house, envelope))["state"] == "parked")


async def _letters(house: House) -> list[DeadLetterChangedV1]:
    rows = await house.query(
        "SELECT envelope FROM provider_sync.outbox WHERE type = 'dead_letter.changed.v1' ORDER BY id"
    )
    opened = [contract.registry.open(read_envelope(row["envelope"])) for row in rows]
    return [one for one in opened if isinstance(one, DeadLetterChangedV1)]


async def _refused(house: House, org_id: OrgId, count: int) -> bool:
    states = [
        row
        for service in ("analytics", "provider_sync")
        for row in await house.query(f"SELECT refused FROM {service}.org_states WHERE org_id = $1", org_id)
    ]
    return [row["refused"] for row in states] == [count, count]
