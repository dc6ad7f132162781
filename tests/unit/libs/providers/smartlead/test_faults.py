"""Faults that only Smartlead's lists and limits have; those of every provider: ../test_faults.py."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from libs.errors import ProviderUnavailable, RateLimited
from libs.providers.simulation import FaultKind, SlidingWindow
from tests.unit.libs.providers.smartlead.methods import READS, set_stage
from tests.unit.libs.providers.smartlead.stage import Stage


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with set_stage() as made:
        yield made


async def test_the_calls_of_an_account_can_be_held_to_its_budget(stage: Stage) -> None:
    stage.app.limit = SlidingWindow(60, 60, stage.simulator.clock.seconds)
    stage.app.book.clock = stage.simulator.clock.seconds
    stage.app.book.calls.clear()
    for _ in range(60):
        await stage.client.list_campaigns()
    with pytest.raises(RateLimited) as limited:
        await stage.client.list_campaigns()

    assert limited.value.retry_after_seconds == 60
    assert [call.status for call in stage.app.book.of(stage.simulator.api_key)].count(429) == 1
    assert stage.app.book.most_in(60, stage.simulator.api_key) == 61
    assert stage.app.book.most_in(60, stage.another.api_key) == 0


@pytest.mark.parametrize("method", ["list_message_keys", "list_leads", "read_messages"])
async def test_half_a_page_is_no_page(method: str, stage: Stage) -> None:
    stage.app.faults.always(FaultKind.TRUNCATED, path="/campaigns/")
    with pytest.raises(ProviderUnavailable):
        await READS[method](stage.client, stage)


@pytest.mark.parametrize("kind", [FaultKind.PAGE_LOOP, FaultKind.PAGE_SKIPS, FaultKind.PAGE_REPEATS])
async def test_statistics_that_move_are_an_error_within_few_calls(kind: FaultKind, stage: Stage) -> None:
    stage.simulator.play(9000)
    assert len([sent for one in stage.campaign.enrolments for sent in one.of_sequence]) > 1000
    stage.app.faults.always(kind, path="/statistics")
    stage.app.calls.clear()
    with pytest.raises(ProviderUnavailable):
        await stage.client.list_message_keys(stage.campaign.external_id)
    assert len(stage.app.calls) < 10
