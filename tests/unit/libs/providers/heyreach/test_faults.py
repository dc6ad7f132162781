"""Faults that only HeyReach's lists, limits and keys have; those of every provider: ../test_faults.py."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from libs.errors import CredentialRefused, ProviderUnavailable, RateLimited
from libs.providers.calls import CallPolicy
from libs.providers.heyreach.client import HeyReachClient
from libs.providers.heyreach.simulator import heyreach_app
from libs.providers.heyreach.simulator.model import Registration
from libs.providers.simulation import FaultKind, SlidingWindow
from tests.unit.libs.providers.heyreach.methods import HEYREACH, READS, SILENT, WRITES, set_stage
from tests.unit.libs.providers.heyreach.stage import HOOK, QUICK, URL, Stage, frozen, make_stage


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with set_stage() as made:
        yield made


async def test_three_hundred_calls_a_minute_are_answered_and_no_more(stage: Stage) -> None:
    seconds = stage.simulator.clock.seconds
    app = heyreach_app(stage.simulator, stage.another)
    app.limit, app.book.clock = SlidingWindow(300, 60, seconds), seconds
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) as http:
        client = HeyReachClient(stage.simulator.api_key, URL, http, policy=CallPolicy(tries=1))
        for _ in range(300):
            await client.get_campaign(stage.campaign.external_id)
        with pytest.raises(RateLimited) as limited:
            await client.get_campaign(stage.campaign.external_id)
        assert limited.value.retry_after_seconds is None
        await HeyReachClient("another-key", URL, http).list_campaigns()  # a bucket of its own
    assert app.book.most_in(60, stage.simulator.api_key) == 301


@pytest.mark.parametrize("method", sorted(SILENT))
async def test_a_200_without_a_byte_is_done(method: str, stage: Stage) -> None:
    if method == "resume_campaign":
        await stage.client.pause_campaign(stage.campaign.external_id)
        stage.app.calls.clear()
    await WRITES[method](stage.client, stage)
    assert len(stage.writes()) == len(stage.app.calls) == (15 if method == "delete_webhook" else 1)


@pytest.mark.parametrize("kind", [FaultKind.PAGE_LOOP, FaultKind.PAGE_SKIPS, FaultKind.PAGE_REPEATS])
@pytest.mark.parametrize("method", ["list_campaigns", "list_webhooks"])
async def test_a_whole_list_that_moves_is_an_error_within_few_calls(method: str, kind: FaultKind) -> None:
    with frozen():
        stage = make_stage(drafts=240)
        stage.simulator.account.registrations += [
            Registration(n, "Outrider", f"{HOOK}{n}", "MESSAGE_SENT", []) for n in range(240)
        ]
        async with stage.http:
            assert len(await READS[method](stage.client, stage)) > 200  # type: ignore[arg-type]
            stage.app.faults.always(kind)
            stage.app.calls.clear()
            with pytest.raises(ProviderUnavailable):
                await READS[method](stage.client, stage)
    assert len(stage.app.calls) <= 12


@pytest.mark.parametrize("kind", [FaultKind.PAGE_LOOP, FaultKind.PAGE_SKIPS, FaultKind.PAGE_REPEATS])
async def test_leads_that_move_are_all_told_or_an_error(kind: FaultKind, stage: Stage) -> None:
    stage.simulator.play(2500)
    assert len(stage.campaign.enrolments) > 250
    stage.app.faults.always(kind)
    told: list[str] = []
    after = None
    for _ in range(10):
        try:
            page = await stage.client.list_leads(stage.campaign.external_id, after=after)
        except ProviderUnavailable:
            return
        told += [one.enrolment_external_id or "" for one in page.items]
        after = page.after
        if after is None:
            break
    assert told == [str(one.id) for one in stage.campaign.enrolments.values()]


async def test_an_inbox_that_repeats_itself_is_an_error(stage: Stage) -> None:
    stage.simulator.play(3000)
    first = await stage.client.list_conversations()
    assert first.after is not None
    stage.app.faults.always(FaultKind.PAGE_LOOP)
    with pytest.raises(ProviderUnavailable, match="same page"):
        await stage.client.list_conversations(after=first.after)


@pytest.mark.parametrize("method", HEYREACH.all)
async def test_an_organizations_key_is_refused_though_the_status_is_200(method: str, stage: Stage) -> None:
    app = heyreach_app(stage.simulator, organization_keys=("org-key",))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) as http:
        with pytest.raises(CredentialRefused, match="a workspace's is needed"):
            await HEYREACH.all[method](HeyReachClient("org-key", URL, http, policy=QUICK), stage)
    assert len(app.calls) == 1
