"""Faults that only EmailBison's lists and limits have; those of every provider: ../test_faults.py."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from libs.errors import ContractViolated, ProviderUnavailable, RateLimited
from libs.providers.simulation import FaultKind, SlidingWindow
from tests.unit.libs.providers.emailbison.methods import EMAILBISON, READS, WRITES, set_stage
from tests.unit.libs.providers.emailbison.stage import Stage


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with set_stage() as made:
        yield made


@pytest.mark.parametrize("method", [*READS, *WRITES])
async def test_every_method_works_where_nothing_goes_wrong(method: str, stage: Stage) -> None:
    await EMAILBISON.all[method](stage.client, stage)
    assert bool(EMAILBISON.written(stage)) is (method in WRITES)


async def test_a_registration_of_which_half_is_told_is_found_and_not_made_twice(stage: Stage) -> None:
    registered = len(stage.simulator.account.registrations)
    for path in EMAILBISON.writing:
        stage.app.faults.always(FaultKind.TRUNCATED, path=path)
    assert await WRITES["register_webhook"](stage.client, stage)
    assert len(stage.simulator.account.registrations) == registered + 1
    assert len(EMAILBISON.written(stage)) == 1


async def test_the_calls_of_an_account_can_be_held_to_its_budget(stage: Stage) -> None:
    stage.app.limit = SlidingWindow(3000, 60, stage.simulator.clock.seconds)
    for _ in range(3000):
        assert stage.app.limit.take(stage.simulator.api_key)
    with pytest.raises(RateLimited) as limited:
        await stage.client.list_webhooks()
    assert limited.value.retry_after_seconds == 60
    assert stage.app.limit.take(stage.another.api_key)


@pytest.mark.parametrize("method", ["list_message_keys", "list_leads", "read_messages", "list_conversations"])
async def test_half_a_page_is_no_page(method: str, stage: Stage) -> None:
    stage.app.faults.always(FaultKind.TRUNCATED)
    with pytest.raises(ProviderUnavailable):
        await READS[method](stage.client, stage)


@pytest.mark.parametrize("kind", [FaultKind.PAGE_LOOP, FaultKind.PAGE_SKIPS, FaultKind.PAGE_REPEATS])
@pytest.mark.parametrize("has_cursors", [True, False])
async def test_lists_of_messages_that_move_end_in_time(kind: FaultKind, has_cursors: bool, stage: Stage) -> None:
    stage.app.habits.has_cursors = has_cursors
    right = {one.key for one in await stage.client.list_message_keys(stage.campaign.external_id)}
    calm = len(stage.app.calls)
    stage.app.calls.clear()
    stage.app.faults.always(kind, path="/scheduled-emails")
    try:
        found = {one.key for one in await stage.client.list_message_keys(stage.campaign.external_id)}
    except (ProviderUnavailable, ContractViolated):
        found = right
    assert len(stage.app.calls) <= 3 * calm
    if kind is not FaultKind.PAGE_SKIPS:  # a row that a page leaves out cannot be missed where rows are not numbered
        assert found == right
