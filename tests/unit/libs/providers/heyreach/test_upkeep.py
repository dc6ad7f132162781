"""Looking after a registration: checked, mended, listed, taken away."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from libs.errors import ProviderUnavailable
from libs.providers.heyreach import events
from libs.providers.heyreach.simulator.model import Registration
from libs.providers.simulation import FaultKind
from tests.unit.libs.providers.heyreach.stage import HOOK, Stage, frozen, make_stage

ELSEWHERE = "https://elsewhere.example.com/hook"


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    with frozen():
        made = make_stage()
        async with made.http:
            made.simulator.account.registrations.append(
                Registration(9, "CRM", ELSEWHERE, events.MESSAGE_SENT, [7], is_active=False)
            )
            made.another.account.registrations.append(Registration(5, "Theirs", HOOK, events.MESSAGE_SENT, []))
            made.known_webhook = await made.client.register_webhook(url=HOOK, name="Outrider")
            made.app.calls.clear()
            yield made


def ours(stage: Stage) -> list[Registration]:
    return [made for made in stage.simulator.account.registrations if made.url == HOOK]


async def faults_of(stage: Stage, url: str = HOOK) -> tuple[str, ...] | None:
    found = await stage.client.check_webhook(stage.known_webhook, url=url)
    return None if found is None else found.faults


async def spoil_paused(stage: Stage) -> str:
    ours(stage)[3].is_active = False
    return f"it is paused for {ours(stage)[3].event_type}"


async def spoil_narrowed(stage: Stage) -> str:
    ours(stage)[2].campaign_ids = [stage.campaign.id]
    return f"it tells of some campaigns only for {ours(stage)[2].event_type}"


async def spoil_moved(stage: Stage) -> str:
    ours(stage)[0].url = ELSEWHERE
    return "it posts to another address"


async def spoil_gone(stage: Stage) -> str:
    wanted = next(made for made in ours(stage) if made.event_type == events.LEAD_AUTO_TAGGED_GENERIC)
    stage.simulator.account.registrations.remove(wanted)
    return "some of its webhooks are gone"


SPOILS = [spoil_paused, spoil_narrowed, spoil_moved, spoil_gone]


async def test_a_whole_registration_is_left_alone(stage: Stage) -> None:
    found = await stage.client.check_webhook(stage.known_webhook, url=HOOK)
    assert found is not None
    assert (found.faults, found.event_types, found.external_id) == (
        (),
        frozenset(events.EVENT_TYPES),
        stage.known_webhook,
    )
    assert await stage.client.repair_webhook(stage.known_webhook, url=HOOK, name="x") == stage.known_webhook
    assert stage.writes() == []


@pytest.mark.parametrize("spoil", SPOILS)
async def test_a_fault_is_seen_and_mended(spoil: object, stage: Stage) -> None:
    fault = await spoil(stage)  # type: ignore[operator]
    assert fault in (await faults_of(stage) or ())

    stage.known_webhook = await stage.client.repair_webhook(stage.known_webhook, url=HOOK, name="Outrider")

    assert await faults_of(stage) == ()
    assert sorted(made.event_type for made in ours(stage)) == sorted(events.EVENT_TYPES)
    assert [made.id for made in stage.simulator.account.registrations if made.url == ELSEWHERE] == [
        9
    ]  # the CRM's stays
    assert len(stage.another.account.registrations) == 1


async def test_what_posts_twice_is_deleted_but_for_the_oldest(stage: Stage) -> None:
    twice = Registration(99_999, "Outrider", HOOK, events.MESSAGE_SENT, [])
    stage.simulator.account.registrations.append(twice)
    both = f"{stage.known_webhook},{twice.id}"
    found = await stage.client.check_webhook(both, url=HOOK)
    assert found is not None
    assert found.faults == (f"it tells twice of {events.MESSAGE_SENT}",)

    assert await stage.client.repair_webhook(both, url=HOOK, name="Outrider") == stage.known_webhook
    assert twice not in stage.simulator.account.registrations


async def test_a_registration_moves_to_another_address(stage: Stage) -> None:
    new = HOOK + "-new"
    made = await stage.client.repair_webhook(stage.known_webhook, url=new, name="Outrider")

    found = await stage.client.check_webhook(made, url=new)
    assert found is not None
    assert found.faults == ()
    assert ours(stage) == []
    first_deletion = next(n for n, call in enumerate(stage.app.calls) if call.startswith("DELETE"))
    last_creation = max(n for n, call in enumerate(stage.app.calls) if call.endswith("CreateWebhook"))
    assert last_creation < first_deletion  # there is no moment in which nothing is told


async def test_registrations_are_listed_by_address(stage: Stage) -> None:
    found = {one.url: one for one in await stage.client.list_webhooks()}

    assert set(found) == {HOOK, ELSEWHERE}
    assert (found[HOOK].external_id, found[HOOK].faults) == (stage.known_webhook, ())
    assert (found[ELSEWHERE].external_id, found[ELSEWHERE].is_active, found[ELSEWHERE].name) == ("9", False, "CRM")


async def test_a_registration_is_deleted_and_gone_is_gone(stage: Stage) -> None:
    await stage.client.delete_webhook(stage.known_webhook)
    assert [made.id for made in stage.simulator.account.registrations] == [9]
    assert await faults_of(stage) is None
    await stage.client.delete_webhook(stage.known_webhook)
    assert len(stage.another.account.registrations) == 1


async def test_a_deletion_that_was_broken_off_is_finished_by_the_next(stage: Stage) -> None:
    stage.app.faults.next(FaultKind.DONE_AND_DROPPED, path="DELETE")
    with pytest.raises(ProviderUnavailable):
        await stage.client.delete_webhook(stage.known_webhook)
    assert len(stage.writes()) == 1

    await stage.client.delete_webhook(stage.known_webhook)
    assert ours(stage) == []


@pytest.mark.parametrize("odd", ["", ",", "x", "../9", "9/../10", "9&webhookId=10", "٩", "-9", "9 "])
async def test_what_is_no_id_names_no_webhook(odd: str, stage: Stage) -> None:
    assert await stage.client.check_webhook(odd, url=HOOK) is None
    await stage.client.delete_webhook(odd)
    assert stage.writes() == []
