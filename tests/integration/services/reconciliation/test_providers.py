"""Runs of all three providers: two can list what they hold, one cannot."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC
from typing import Any
from uuid import UUID

import httpx
import pytest

from libs import clock
from libs.clock import now
from libs.contracts.events import RepairRequestedV1, SnapshotRequestedV1
from libs.ids import new_id, public_id
from libs.providers.capabilities import RemoteMessageKey, Snapshots
from libs.providers.emailbison.simulator import EmailBisonSimulator, emailbison_app
from libs.providers.registry import PROVIDERS
from libs.providers.smartlead.simulator import SmartleadSimulator, smartlead_app
from tests.integration.services.reconciliation.conftest import Agency, Reconciliation


@pytest.mark.parametrize("of_campaign", [False, True])
async def test_who_cannot_list_messages_cannot_be_compared(
    reconciliation: Reconciliation, agency: Agency, stranger: Agency, of_campaign: bool
) -> None:
    heyreach = Agency(agency.org_id, agency.account_id, provider="heyreach")
    await reconciliation.hears(heyreach.account(), stranger.account())
    body: dict[str, Any] = {"account_id": public_id("acc", heyreach.account_id)}
    if of_campaign:
        body["campaign_id"] = public_id("cam", heyreach.campaign("c1"))

    refused = await reconciliation.asks("POST", "/reconciliations", agency.org_id, json=body)
    accepted = await reconciliation.asks("POST", "/reconciliations", stranger.org_id, json=body)

    problem = refused.json()
    assert (refused.status_code, problem["code"]) == (422, "capability_unsupported")
    assert problem["detail"] == "heyreach accounts cannot be compared: the provider offers no Snapshots"
    runs = (await reconciliation.asks("GET", "/reconciliations", agency.org_id)).json()
    assert runs["data"] == []
    assert await reconciliation.told(agency.org_id, SnapshotRequestedV1) == []
    assert accepted.status_code == 202  # the same account id, elsewhere, is another provider's


async def test_an_account_that_is_not_the_callers_stays_unknown_whoever_provides(
    reconciliation: Reconciliation, agency: Agency, stranger: Agency
) -> None:
    theirs = Agency(stranger.org_id, provider="heyreach")
    await reconciliation.hears(theirs.account())

    answers = [
        await reconciliation.asks("POST", "/reconciliations", agency.org_id, json={"account_id": public_id("acc", one)})
        for one in (theirs.account_id, new_id())
    ]

    assert {(answer.status_code, answer.json()["detail"]) for answer in answers} == {
        (404, "there is no acc_ object with this id")
    }


def _smartlead() -> tuple[SmartleadSimulator, Any]:
    simulator = SmartleadSimulator(seed=5, answered_by_hand_share=0.5)
    return simulator, smartlead_app(simulator)


def _emailbison() -> tuple[EmailBisonSimulator, Any]:
    simulator = EmailBisonSimulator(seed=5, answered_by_hand_share=0.5)
    return simulator, emailbison_app(simulator)


@pytest.mark.parametrize(
    ("provider", "make", "url"),
    [
        ("smartlead", _smartlead, "https://smartlead.example.com/api/v1"),
        ("emailbison", _emailbison, "https://send.example.com"),
    ],
)
async def test_what_was_withheld_is_found_asked_for_and_counted(
    reconciliation: Reconciliation,
    agency: Agency,
    stranger: Agency,
    provider: str,
    make: Callable[[], tuple[SmartleadSimulator | EmailBisonSimulator, Any]],
    url: str,
) -> None:
    one = Agency(agency.org_id, provider=provider)
    with clock.frozen(now()):  # the lists end where the play did
        simulator, app = make()
        plan = simulator.deliveries(300, withhold=12)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) as http:
            client = PROVIDERS[provider].make_client({"api_key": simulator.api_key}, url, http)
            assert isinstance(client, Snapshots)
            listed = {key: await client.list_message_keys(key) for key in await client.list_campaign_ids()}
    every = {key.key: key for keys in listed.values() for key in keys}
    held = {key for post in plan.to_send() for key in post.message_keys}
    lost = every.keys() - held  # what was withheld, and what no webhook tells
    assert len(lost) >= 12
    run_id, other = await reconciliation.starts(one), await reconciliation.starts(stranger)

    await _capture(reconciliation, one, run_id, listed, held, pass_number=1)
    repairs = await reconciliation.told(one.org_id, RepairRequestedV1)
    assert {lead for repair in repairs for lead in repair.lead_keys} == {every[key].lead_key for key in lost}
    assert {repair.campaign_external_id for repair in repairs} == {every[key].campaign_external_id for key in lost}
    for repair in repairs:
        await reconciliation.hears(one.answered(run_id, repair.campaign_external_id))
    await _capture(reconciliation, one, run_id, listed, every.keys(), pass_number=2)

    run = await reconciliation.run(one, run_id)
    days = {
        (every[key].campaign_external_id, every[key].kind, every[key].occurred_at.astimezone(UTC).date())
        for key in lost
    }
    assert (run["state"], run["found"], run["repaired"], run["open"]) == ("completed", len(days), len(days), 0)
    assert (run["missing_messages"], run["repaired_messages"]) == (len(lost), len(lost))
    assert (await reconciliation.run(stranger, other))["state"] == "requested"


async def _capture(
    reconciliation: Reconciliation,
    agency: Agency,
    run_id: UUID,
    listed: Mapping[str, Sequence[RemoteMessageKey]],
    held: Collection[str],
    *,
    pass_number: int,
) -> None:
    for part, (campaign, keys) in enumerate(sorted(listed.items()), start=1):
        await reconciliation.hears(
            agency.compared(run_id, campaign, keys, held, pass_number=pass_number, part=part, parts=len(listed))
        )
