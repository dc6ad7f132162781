"""What providers do to us, for each of the three: nothing is lost, nothing is done twice, no budget is exceeded, and
nobody has to help. Who called, and how often, the simulated provider counts."""

from __future__ import annotations

from itertools import pairwise

import pytest

from libs.contracts.events import ProviderAccountChangedV1, SnapshotCapturedV1, SnapshotRequestedV1
from libs.ids import new_id, public_id
from libs.providers.capabilities import Snapshots
from libs.providers.registry import PROVIDERS
from libs.providers.simulation import FaultKind
from libs.providers.simulation.callbook import endpoint_of
from services.provider_sync.domain.budgets import ASKED_TO_WAIT_SECONDS, FAILURES
from services.provider_sync.handlers.account_changes import change_account
from services.provider_sync.schemas import AccountChange
from tests.integration.services.provider_sync.faults_house import FaultsHouse

EMAIL = ("create_campaign", "add_leads", "pause_campaign", "reply")
WISHES = {"smartlead": EMAIL, "emailbison": EMAIL, "heyreach": EMAIL[1:]}
LIMITED = {
    FaultKind.RATE_LIMITED: 7.0,
    FaultKind.RATE_LIMITED_WITHOUT_HINT: ASKED_TO_WAIT_SECONDS,
    FaultKind.RATE_LIMITED_BROKEN_HINT: ASKED_TO_WAIT_SECONDS,
    FaultKind.RATE_LIMITED_PAGE: ASKED_TO_WAIT_SECONDS,
}
# The one call of each that changes something.
WRITES = {
    "smartlead": {
        "create_campaign": "POST /campaigns/create",
        "add_leads": "POST /campaigns/{id}/leads",
        "pause_campaign": "POST /campaigns/{id}/status",
        "reply": "POST /campaigns/{id}/reply-email-thread",
        "register_webhook": "POST /webhook/create",
    },
    "emailbison": {
        "create_campaign": "POST /campaigns",
        "add_leads": "POST /campaigns/{id}/leads/attach-leads",
        "pause_campaign": "PATCH /campaigns/{id}/pause",
        "reply": "POST /replies/{id}/reply",
        "register_webhook": "POST /webhook-url",
    },
    "heyreach": {
        "add_leads": "POST /campaign/AddLeadsToCampaignV2",
        "pause_campaign": "POST /campaign/Pause",
        "reply": "POST /inbox/SendMessage",
        "register_webhook": "POST /webhooks/CreateWebhook",
    },
}
LISTS = {"smartlead": "/statistics", "emailbison": "/scheduled-emails"}
NO_ANSWERS = (
    FaultKind.TRUNCATED, FaultKind.DROPPED, FaultKind.PAGE, FaultKind.GARBAGE, FaultKind.EMPTY, FaultKind.HANGS
)  # fmt: skip
COMPARED = [name for name, provider in PROVIDERS.items() if provider.offers(Snapshots)]  # HeyReach has no such list
TEN_MINUTES = 600.0
LONG = 3 * 3600.0


def quick(first, *others):
    """The first in every run, the others where there is time for all."""
    return [first, *(pytest.param(one, marks=pytest.mark.heavy) for one in others)]


@pytest.fixture(params=list(PROVIDERS))
async def house(request, database, units, monkeypatch):
    house = FaultsHouse(database("provider_sync"), units("provider_sync"), request.param, monkeypatch)
    yield house
    await house.http.aclose()
    await house.over_wire.aclose()


@pytest.fixture
async def account(house, make_org):
    opened = await house.open_account(make_org())
    await house.ready(opened)
    return opened


def tail(endpoint):
    """What of a call faults are asked for by: whatever comes after its last id."""
    return endpoint.rpartition("{id}")[2]


async def compare(house, account):
    """Ask for a comparison, which reads lists page by page; where the provider has them."""
    event = SnapshotRequestedV1(run_id=new_id(), pass_number=1, account_id=account.id)
    if house.provider in COMPARED:
        await house.hear(account, "provider-sync.snapshots", event)
    return event.run_id


async def compared(house, account, run_id):
    """What the comparison found, campaign by campaign; nothing for one that failed."""
    told = [one for one in await house.told(account, SnapshotCapturedV1) if one.run_id == run_id]
    return {
        one.campaign_external_id: sorted(str(each) for each in (*one.digests, *one.differences))
        for one in told
        if one.error is None
    }


async def is_whole(house, account, run_id):
    """It found every campaign, and could read each."""
    if house.provider in COMPARED:
        assert set(await compared(house, account, run_id)) >= house.campaigns


# F25: told to slow down


@pytest.mark.parametrize("kind", quick(*LIMITED))
async def test_who_is_told_to_wait_waits_and_webhooks_go_on(house, account, kind):
    asked = await house.wish(account, *WISHES[house.provider])
    run_id = await compare(house, account)
    house.api.faults.retry_after_seconds = 7
    house.api.faults.always(kind)
    before = len(house.api.book.calls)

    await house.play(TEN_MINUTES / 2)
    await house.webhooks_go_on(account)

    calls = house.api.book.calls[before:]
    gaps = [after.at - one.at for one, after in pairwise(calls)]
    assert {one.status for one in calls} == {429}
    assert min(gaps) >= LIMITED[kind]  # of both replicas together: they share one purse
    house.api.faults.calm()
    await house.play(LONG, until_done=True)
    await house.all_done(account, asked)
    await is_whole(house, account, run_id)
    assert await house.undecided(account) == []  # a 429 leaves no doubt
    house.within_budget()


# F26: errors of the server


async def test_a_third_of_all_calls_fail_for_ten_minutes(house, account):
    asked = await house.wish(account, *WISHES[house.provider])
    run_id = await compare(house, account)
    house.api.faults.always(FaultKind.SERVER_ERROR, share=0.3)

    await house.play(TEN_MINUTES)
    await house.webhooks_go_on(account)

    assert house.api.faults.met
    house.api.faults.calm()
    await house.play(LONG, until_done=True)
    await house.all_done(account, asked)
    await is_whole(house, account, run_id)
    assert await house.failed_jobs(account) == []
    house.within_budget()


async def test_who_does_not_answer_is_left_alone_and_looked_for_now_and_then(house, account):
    asked = await house.wish(account, *WISHES[house.provider])
    house.api.faults.always(FaultKind.BAD_GATEWAY)
    before = len(house.api.book.calls)

    await house.play(TEN_MINUTES)
    await house.webhooks_go_on(account)

    # Five in a row open the breaker; each later call is a probe, and the pauses between them double from 15 s on.
    assert FAILURES <= len(house.api.book.calls) - before <= FAILURES + 6
    house.api.faults.calm()
    await house.play(LONG, until_done=True)
    await house.all_done(account, asked)
    assert await house.failed_jobs(account) == []
    house.within_budget()


# F27: no answer, half an answer, and F28: answers that are none


@pytest.mark.parametrize(
    ("house", "kind"),
    [
        pytest.param(name, kind, marks=[] if kind is FaultKind.TRUNCATED else pytest.mark.heavy)
        for name in PROVIDERS
        for kind in NO_ANSWERS
        if (name, kind) != ("heyreach", FaultKind.EMPTY)  # an empty 200 is how HeyReach says yes
    ],
    indirect=["house"],
)
async def test_a_third_of_all_answers_are_none_for_ten_minutes(house, account, kind):
    house.api.faults.hang_seconds = 0.01
    asked = await house.wish(account, *WISHES[house.provider])
    run_id = await compare(house, account)
    house.api.faults.always(kind, share=0.3)

    await house.play(TEN_MINUTES)
    await house.webhooks_go_on(account)

    assert house.api.faults.met
    house.nothing_twice()
    house.api.faults.calm()
    await house.play(LONG, until_done=True)
    await house.all_done(account, asked)
    await is_whole(house, account, run_id)
    assert await house.failed_jobs(account) == []
    house.within_budget()


@pytest.mark.parametrize("kind", quick(FaultKind.SLOW_DRIP, FaultKind.HANGS))
async def test_an_answer_without_end_costs_one_call_its_deadline(house, account, kind):
    house.hurry(deadline_seconds=0.5)
    house.api.faults.next(kind, path=tail(WRITES[house.provider]["pause_campaign"]))
    asked = await house.wish(account, "pause_campaign")

    await house.play(LONG, until_done=True)

    assert [met for met, _ in house.api.faults.met] == [kind]
    await house.all_done(account, asked)


@pytest.mark.parametrize("house", COMPARED, indirect=True)
async def test_values_of_other_types_end_a_comparison_and_leave_no_half_of_one(house, account):
    house.api.faults.always(FaultKind.WRONG_TYPES)
    before = len(house.api.book.calls)
    broken = await compare(house, account)
    await house.play(LONG, until_done=True)

    told = [one for one in await house.told(account, SnapshotCapturedV1) if one.run_id == broken]
    assert told
    assert [(one.error is not None, one.digests, one.differences) for one in told] == [(True, (), ())] * len(told)
    assert len(house.api.book.calls) == before + 1  # the same code on the same answer would end the same way
    await house.webhooks_go_on(account)
    house.api.faults.calm()
    again = await compare(house, account)
    await house.play(LONG, until_done=True)
    await is_whole(house, account, again)


@pytest.mark.parametrize("kind", quick(FaultKind.PAGE_LOOP, FaultKind.PAGE_SKIPS, FaultKind.PAGE_REPEATS))
@pytest.mark.parametrize(
    "house", ["emailbison", pytest.param("smartlead", marks=pytest.mark.heavy)], indirect=True
)  # a page of Smartlead's statistics has a thousand rows
async def test_lists_that_move_are_read_whole_or_not_at_all(house, account, kind):
    house.simulator.play(9000 if house.provider == "smartlead" else 200)
    house.api.limit = None
    calm = await compare(house, account)
    await house.play(LONG, until_done=True)
    right, calls = await compared(house, account, calm), len(house.api.book.calls)
    house.api.faults.always(kind, path=LISTS[house.provider])

    moved = await compare(house, account)
    await house.play(LONG, until_done=True)

    assert house.api.faults.met
    found = await compared(house, account, moved)
    if kind is not FaultKind.PAGE_SKIPS:  # rows that carry no numbers cannot be missed
        assert found == right or found == {}
    assert len(house.api.book.calls) - calls <= 20 * calls  # it ends
    house.api.faults.calm()
    again = await compare(house, account)
    await house.play(LONG, until_done=True)
    await is_whole(house, account, again)


# F29: done, and the answer lost


@pytest.mark.parametrize("kind", quick(FaultKind.DONE_AND_DROPPED, FaultKind.DONE_AND_FAILED, FaultKind.WRONG_TYPES))
async def test_what_was_done_and_never_answered_is_found_and_not_done_again(house, account, kind):
    wishes = WISHES[house.provider]
    for wish in wishes:
        house.api.faults.next(kind, path=tail(WRITES[house.provider][wish]))
    asked = await house.wish(account, *wishes)

    await house.play(LONG, until_done=True)

    assert {endpoint_of(call) for _, call in house.api.faults.met} == {WRITES[house.provider][wish] for wish in wishes}
    await house.all_done(account, asked)
    assert await house.undecided(account) == []
    for wish in wishes:
        assert house.calls(WRITES[house.provider][wish]) == 1, wish
    house.within_budget()


@pytest.mark.parametrize("kind", quick(FaultKind.DONE_AND_DROPPED, FaultKind.DONE_AND_FAILED, FaultKind.DROPPED))
async def test_a_registration_whose_answer_was_lost_is_not_made_twice(house, make_org, kind):
    account = await house.open_account(make_org())
    house.take(account)
    house.api.faults.next(kind, path=WRITES[house.provider]["register_webhook"])
    await house.make_ready(account)

    await house.play(LONG, until_done=True)

    assert len(house.api.faults.met) == 1
    made = house.registrations()
    assert len(made) == len(set(made))
    status = (await house.endpoint(account))["status"]
    if PROVIDERS[house.provider].may_register_again:
        assert (status, bool(made)) == ("registered", True)
    else:  # nothing lists what was registered: a person looks
        assert (status, len(made)) == ("unknown", int(kind is not FaultKind.DROPPED))


# F30: the key opens nothing any more


@pytest.mark.parametrize("answered", quick(1, 0, 2))
async def test_a_key_that_is_revoked_in_the_middle_is_asked_no_more_until_there_is_a_new_one(house, account, answered):
    asked = await house.wish(account, *WISHES[house.provider])
    run_id = await compare(house, account)
    before = len(house.api.book.calls)
    with house.revoked_after(answered):
        await house.play(TEN_MINUTES)
    await house.webhooks_go_on(account)

    calls = house.api.book.calls[before:]
    assert [one.status for one in calls][:answered] == [200] * answered
    assert [one.status for one in calls][answered:] == [401]
    told = [one.status for one in await house.told(account, ProviderAccountChangedV1)]
    assert told == ["active", "needs_reauth"]
    assert len(await house.unfinished()) > 0

    house.api.revoked.clear()  # the provider made a new key, and somebody enters it
    async with house.units.begin(account.org_id) as work:
        body = AccountChange.model_validate({"credentials": {"api_key": house.key}})
        await change_account(public_id("acc", account.id), body, work, providers=house.known, sealer=house.sealer)
    await house.play(LONG, until_done=True)
    await house.all_done(account, asked)
    await is_whole(house, account, run_id)
    house.within_budget()
