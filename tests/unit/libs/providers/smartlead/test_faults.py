"""What can go wrong between the provider's answer and us, for every method of the client."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from libs.errors import ContractViolated, CredentialRefused, PlatformError, ProviderUnavailable, RateLimited
from libs.providers.calls import CallPolicy
from libs.providers.capabilities import CAPABILITIES
from libs.providers.effects import writes_of
from libs.providers.records import Answer, CampaignChanges, ConversationRef, EmailStep, LeadRef, NewLead, Variant
from libs.providers.simulation import FaultKind, SlidingWindow
from libs.providers.smartlead.client import SmartleadClient
from tests.unit.libs.providers.smartlead.stage import QUICK, URL, Stage, frozen, make_stage

Ask = Callable[[SmartleadClient, Stage], Awaitable[object]]


def _answered(stage: Stage) -> ConversationRef:
    return ConversationRef(key="k", lead=_ref(stage), campaign_external_id=stage.campaign.external_id)


def _ref(stage: Stage) -> LeadRef:
    return LeadRef(key=next(one for one in stage.campaign.enrolments if one.replies).lead.key)


def _id(stage: Stage) -> str:
    return stage.campaign.external_id


STEPS = (EmailStep(number=1, delay_days=0, variants=(Variant(subject="x", body_html="y"),)),)
HOOK = "https://hooks.example.com/t/abc"

READS: dict[str, Ask] = {
    "list_campaigns": lambda c, s: c.list_campaigns(),
    "get_campaign": lambda c, s: c.get_campaign(_id(s)),
    "list_steps": lambda c, s: c.list_steps(_id(s)),
    "list_leads": lambda c, s: c.list_leads(_id(s)),
    "find_campaign_lead": lambda c, s: c.find_campaign_lead(_id(s), _ref(s)),
    "find_lead": lambda c, s: c.find_lead(_ref(s).key),
    "list_campaigns_of_lead": lambda c, s: c.list_campaigns_of_lead(_ref(s)),
    "check_connection": lambda c, s: c.check_connection(),
    "list_categories": lambda c, s: c.list_categories(),
    "list_conversations": lambda c, s: c.list_conversations(),
    "list_messages": lambda c, s: c.list_messages(_answered(s)),
    "check_webhook": lambda c, s: c.check_webhook(s.known_webhook, url=HOOK),  # type: ignore[attr-defined]
    "read_figures": lambda c, s: c.read_figures(_id(s)),
    "list_campaign_ids": lambda c, s: c.list_campaign_ids(),
    "list_message_keys": lambda c, s: c.list_message_keys(_id(s)),
    "read_campaign": lambda c, s: c.read_campaign(_id(s)),
    "read_messages": lambda c, s: c.read_messages(_id(s), [_ref(s).key]),
}
WRITES: dict[str, Ask] = {
    "create_campaign": lambda c, s: c.create_campaign(name="Autumn"),
    "update_campaign": lambda c, s: c.update_campaign(_id(s), CampaignChanges(new_leads_per_day=7)),
    "start_campaign": lambda c, s: c.start_campaign(_id(s)),
    "pause_campaign": lambda c, s: c.pause_campaign(_id(s)),
    "resume_campaign": lambda c, s: c.resume_campaign(_id(s)),
    "stop_campaign": lambda c, s: c.stop_campaign(_id(s)),
    "replace_steps": lambda c, s: c.replace_steps(_id(s), STEPS),
    "add_leads": lambda c, s: c.add_leads(_id(s), [NewLead(email="new@north.example.com")]),
    "pause_lead": lambda c, s: c.pause_lead(_id(s), _ref(s)),
    "resume_lead": lambda c, s: c.resume_lead(_id(s), _ref(s)),
    "remove_lead": lambda c, s: c.remove_lead(_id(s), _ref(s)),
    "unsubscribe_lead": lambda c, s: c.unsubscribe_lead(_ref(s)),
    "categorize_lead": lambda c, s: c.categorize_lead(_id(s), _ref(s), "Interested"),
    "reply": lambda c, s: c.reply(_answered(s), Answer(text="x")),
    "register_webhook": lambda c, s: c.register_webhook(url=HOOK, name="x"),
    "repair_webhook": lambda c, s: c.repair_webhook("7", url=HOOK, name="x"),
    "delete_webhook": lambda c, s: c.delete_webhook(s.known_webhook),  # type: ignore[attr-defined]
}
ALL = READS | WRITES
GARBAGE = (FaultKind.PAGE, FaultKind.EMPTY, FaultKind.GARBAGE, FaultKind.TRUNCATED, FaultKind.BAD_GATEWAY)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    with frozen():
        made = make_stage()
        async with made.http:
            made.simulator.play(300)
            # Some registration to look at; a second attribute of the stage, as only these tests need it.
            made.known_webhook = await made.client.register_webhook(url=HOOK, name="x")  # type: ignore[attr-defined]
            await made.client.pause_campaign(made.campaign.external_id)  # so that its sequence may be changed
            made.client = SmartleadClient(made.simulator.api_key, URL, made.http, policy=QUICK)  # remembers nothing
            made.app.calls.clear()
            yield made


def writes(stage: Stage) -> list[str]:
    reads = ("GET ", "POST /master-inbox")
    return [call for call in stage.app.calls if not call.startswith(reads)]


def test_every_method_of_every_capability_is_here() -> None:
    methods = {
        name
        for capability in CAPABILITIES
        if issubclass(SmartleadClient, capability)
        for name, method in inspect.getmembers(capability, inspect.iscoroutinefunction)
        if not name.startswith("_") and method is not None
    }
    assert methods == set(ALL)
    assert set(WRITES) == writes_of(SmartleadClient)


# F25: told to slow down


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (FaultKind.RATE_LIMITED, 9.0),
        (FaultKind.RATE_LIMITED_WITHOUT_HINT, None),
        (FaultKind.RATE_LIMITED_BROKEN_HINT, None),
        (FaultKind.RATE_LIMITED_PAGE, None),
    ],
)
@pytest.mark.parametrize("method", ALL)
async def test_a_429_says_how_long_to_wait_if_the_provider_did(
    method: str, kind: FaultKind, told: float | None, stage: Stage
) -> None:
    stage.app.faults.retry_after_seconds = 9
    stage.app.faults.always(kind)
    with pytest.raises(RateLimited) as limited:
        await ALL[method](stage.client, stage)

    assert limited.value.retry_after_seconds == told
    first = stage.app.calls[0]
    is_read = first.startswith(("GET", "POST /master-inbox"))
    # Told to wait longer than this call may last there is nothing to try; told nothing a read is tried a few times.
    assert stage.app.calls == [first] * (QUICK.tries if is_read and told is None else 1)


async def test_a_write_that_is_told_to_wait_is_not_repeated_here(stage: Stage) -> None:
    stage.app.faults.next(FaultKind.RATE_LIMITED_WITHOUT_HINT, path="/status")
    with pytest.raises(RateLimited):
        await stage.client.pause_campaign(_id(stage))
    assert len(writes(stage)) == 1


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


# F26, F27: no answer, half an answer, an answer without end


@pytest.mark.parametrize("kind", [FaultKind.SERVER_ERROR, FaultKind.DROPPED, FaultKind.DONE_AND_DROPPED, *GARBAGE])
@pytest.mark.parametrize("method", ALL)
async def test_what_is_no_answer_is_later_may_work_and_a_write_is_made_once(
    method: str, kind: FaultKind, stage: Stage
) -> None:
    stage.app.faults.always(kind)
    with pytest.raises(ProviderUnavailable):
        await ALL[method](stage.client, stage)
    assert len(writes(stage)) <= 1


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        (method, kind)
        for method in WRITES
        for kind in (FaultKind.SERVER_ERROR, FaultKind.DROPPED, *GARBAGE)
        if (method, kind) != ("reply", FaultKind.TRUNCATED)  # half of its sentence says enough: queued
    ],
)
async def test_a_write_whose_own_call_gets_no_answer_is_made_once(method: str, kind: FaultKind, stage: Stage) -> None:
    for verb in ("POST", "DELETE"):
        stage.app.faults.always(kind, path=verb)
    with pytest.raises(ProviderUnavailable):
        await WRITES[method](stage.client, stage)
    assert len(writes(stage)) == 1


@pytest.mark.parametrize("method", READS)
async def test_a_third_of_all_calls_may_fail_and_reading_still_works(method: str, stage: Stage) -> None:
    client = SmartleadClient(
        stage.simulator.api_key,
        URL,
        stage.http,
        policy=CallPolicy(tries=12, first_wait_seconds=0.0001, longest_wait_seconds=0.001, deadline_seconds=20),
    )
    calm = await READS[method](client, stage)
    stage.app.faults.always(FaultKind.SERVER_ERROR, share=0.3)

    assert await READS[method](client, stage) == calm


@pytest.mark.parametrize("kind", [FaultKind.HANGS, FaultKind.SLOW_DRIP])
@pytest.mark.parametrize("method", ["list_campaigns", "list_leads", "create_campaign", "reply"])
async def test_an_answer_that_takes_for_ever_costs_the_deadline(method: str, kind: FaultKind, stage: Stage) -> None:
    client = SmartleadClient(
        stage.simulator.api_key, URL, stage.http, policy=CallPolicy(deadline_seconds=0.05, tries=3)
    )
    stage.app.faults.always(kind)
    with pytest.raises(ProviderUnavailable):
        await ALL[method](client, stage)
    assert len(writes(stage)) <= 1


@pytest.mark.parametrize("method", ["list_message_keys", "list_leads", "read_messages"])
async def test_half_a_page_is_no_page(method: str, stage: Stage) -> None:
    stage.app.faults.always(FaultKind.TRUNCATED, path="/campaigns/")
    with pytest.raises(ProviderUnavailable):
        await READS[method](stage.client, stage)


async def test_an_answer_without_measure_is_not_read_to_its_end(stage: Stage) -> None:
    client = SmartleadClient(
        stage.simulator.api_key, URL, stage.http, policy=CallPolicy(largest_body_bytes=1000, tries=3)
    )
    with pytest.raises(ContractViolated, match="more than 1000 bytes"):
        await client.list_message_keys(_id(stage))
    assert len(stage.app.calls) == 1


# F28: answers that are none


@pytest.mark.parametrize("method", READS)
async def test_values_of_other_types_break_the_contract(method: str, stage: Stage) -> None:
    stage.app.faults.always(FaultKind.WRONG_TYPES)
    with pytest.raises(ContractViolated) as broken:
        await READS[method](stage.client, stage)
    assert "Ines" not in str(broken.value)  # names fields, quotes no people
    assert "example.com" not in str(broken.value)


@pytest.mark.parametrize("kind", [FaultKind.PAGE_LOOP, FaultKind.PAGE_SKIPS, FaultKind.PAGE_REPEATS])
async def test_statistics_that_move_are_an_error_within_few_calls(kind: FaultKind, stage: Stage) -> None:
    stage.simulator.play(9000)
    assert len([sent for one in stage.campaign.enrolments for sent in one.of_sequence]) > 1000
    stage.app.faults.always(kind, path="/statistics")
    stage.app.calls.clear()
    with pytest.raises(ProviderUnavailable):
        await stage.client.list_message_keys(_id(stage))
    assert len(stage.app.calls) < 10


# F29 is test_effects.py.


# F30: the key no longer opens


@pytest.mark.parametrize("method", ALL)
async def test_a_revoked_key_is_told_at_once_and_apart_from_any_other_no(method: str, stage: Stage) -> None:
    stage.app.revoked.add(stage.simulator.api_key)
    with pytest.raises(CredentialRefused, match="answered 401: Invalid API Key"):
        await ALL[method](stage.client, stage)
    assert len(stage.app.calls) == 1  # no storm


@pytest.mark.parametrize("method", ALL)
async def test_no_error_tells_the_key(method: str) -> None:
    key = "secret-key-5a5a"
    bodies = [
        f'{{"error": "the key {key} is not allowed"}}',
        f"<html>{key}</html>",
        f'{{"ok": false, "message": "{key}"}}',
    ]
    stage: Any = make_stage()
    stage.simulator.play(300)
    stage.known_webhook = "7"
    met: list[str] = []
    for status in (200, 400, 401, 403, 404, 429, 500):
        for body in bodies:
            transport = httpx.MockTransport(lambda _, status=status, body=body: httpx.Response(status, text=body))
            async with httpx.AsyncClient(transport=transport) as http:
                client = SmartleadClient(key, URL, http, policy=CallPolicy(tries=1))
                try:
                    await ALL[method](client, stage)
                except PlatformError as error:
                    met.append(str(error))
    assert len(met) >= 18  # of 21: that a record is gone may be a good answer
    assert [text for text in met if key in text] == []
