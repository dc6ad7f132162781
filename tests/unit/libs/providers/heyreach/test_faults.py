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
from libs.providers.heyreach.client import HeyReachClient
from libs.providers.heyreach.simulator import heyreach_app
from libs.providers.heyreach.simulator.model import Registration
from libs.providers.records import Answer, LeadRef, LinkedInNode, NodeKind
from libs.providers.simulation import FaultKind, SlidingWindow
from tests.unit.libs.providers.heyreach.stage import (
    HOOK,
    QUICK,
    URL,
    WRITING,
    Stage,
    conversation_of,
    frozen,
    make_stage,
    person,
)

Ask = Callable[[HeyReachClient, Stage], Awaitable[object]]
SEQUENCE = LinkedInNode(kind=NodeKind.MESSAGE, delay_hours=3, texts=("Hi {firstName}",))


def _ref(stage: Stage) -> LeadRef:
    return LeadRef(key=stage.thread.lead.key)


def _id(stage: Stage) -> str:
    return stage.campaign.external_id


READS: dict[str, Ask] = {
    "list_campaigns": lambda c, s: c.list_campaigns(),
    "get_campaign": lambda c, s: c.get_campaign(_id(s)),
    "get_sequence": lambda c, s: c.get_sequence(_id(s)),
    "list_leads": lambda c, s: c.list_leads(_id(s)),
    "find_campaign_lead": lambda c, s: c.find_campaign_lead(_id(s), _ref(s)),
    "find_lead": lambda c, s: c.find_lead(_ref(s).key),
    "list_campaigns_of_lead": lambda c, s: c.list_campaigns_of_lead(_ref(s)),
    "list_conversations": lambda c, s: c.list_conversations(),
    "list_messages": lambda c, s: c.list_messages(conversation_of(s.thread)),
    "check_webhook": lambda c, s: c.check_webhook(s.known_webhook, url=HOOK),
    "check_connection": lambda c, s: c.check_connection(),
    "list_webhooks": lambda c, s: c.list_webhooks(),
    "read_figures": lambda c, s: c.read_figures(_id(s)),
    "read_campaign": lambda c, s: c.read_campaign(_id(s)),
}
WRITES: dict[str, Ask] = {
    "start_campaign": lambda c, s: c.start_campaign(s.draft.external_id),
    "pause_campaign": lambda c, s: c.pause_campaign(_id(s)),
    "resume_campaign": lambda c, s: c.resume_campaign(_id(s)),
    "replace_sequence": lambda c, s: c.replace_sequence(s.draft.external_id, SEQUENCE),
    "add_leads": lambda c, s: c.add_leads(_id(s), [person("new")]),
    "stop_lead": lambda c, s: c.stop_lead(_id(s), _ref(s)),
    "reply": lambda c, s: c.reply(conversation_of(s.thread), Answer(text="Gladly")),
    "register_webhook": lambda c, s: c.register_webhook(url=HOOK + "2", name="Outrider"),
    "repair_webhook": lambda c, s: c.repair_webhook("7", url=HOOK + "2", name="Outrider"),
    "delete_webhook": lambda c, s: c.delete_webhook(s.known_webhook),
}
ALL = READS | WRITES
LOOKS_FIRST = ("register_webhook", "repair_webhook")
# Their success is a 200 without a byte, so that nothing, or half of it, is no failure.
SILENT = frozenset(WRITES) - {"add_leads", *LOOKS_FIRST}
GARBAGE = (FaultKind.PAGE, FaultKind.EMPTY, FaultKind.GARBAGE, FaultKind.TRUNCATED, FaultKind.BAD_GATEWAY)
NO_ANSWER = (FaultKind.SERVER_ERROR, FaultKind.DROPPED, FaultKind.DONE_AND_DROPPED, *GARBAGE)


def _is_an_answer(method: str, kind: FaultKind) -> bool:
    if method == "get_sequence":  # a campaign without one
        return kind is FaultKind.EMPTY
    return method in (*SILENT, "check_connection") and kind in (FaultKind.EMPTY, FaultKind.TRUNCATED)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    with frozen():
        made = make_stage()
        async with made.http:
            made.simulator.play(300)
            made.known_webhook = await made.client.register_webhook(url=HOOK, name="Outrider")
            made.app.calls.clear()
            yield made


def test_every_method_of_every_capability_is_here() -> None:
    methods = {
        name
        for capability in CAPABILITIES
        if issubclass(HeyReachClient, capability)
        for name, method in inspect.getmembers(capability, inspect.iscoroutinefunction)
        if not name.startswith("_") and method is not None
    }
    assert methods == set(ALL)
    assert set(WRITES) == writes_of(HeyReachClient)


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
    is_read = not first.startswith(WRITING)
    assert is_read == (method in READS or method in LOOKS_FIRST)
    # Told to wait longer than this call may last there is nothing to try; told nothing a read is tried a few times.
    assert stage.app.calls == [first] * (QUICK.tries if is_read and told is None else 1)


async def test_three_hundred_calls_a_minute_are_answered_and_no_more(stage: Stage) -> None:
    seconds = stage.simulator.clock.seconds
    app = heyreach_app(stage.simulator, stage.another)
    app.limit, app.book.clock = SlidingWindow(300, 60, seconds), seconds
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) as http:
        client = HeyReachClient(stage.simulator.api_key, URL, http, policy=CallPolicy(tries=1))
        for _ in range(300):
            await client.get_campaign(_id(stage))
        with pytest.raises(RateLimited) as limited:
            await client.get_campaign(_id(stage))
        assert limited.value.retry_after_seconds is None
        await HeyReachClient("another-key", URL, http).list_campaigns()  # a bucket of its own
    assert app.book.most_in(60, stage.simulator.api_key) == 301


# F26, F27: no answer, half an answer, an answer without end


@pytest.mark.parametrize(
    ("method", "kind"), [(method, kind) for method in ALL for kind in NO_ANSWER if not _is_an_answer(method, kind)]
)
async def test_what_is_no_answer_is_later_may_work_and_a_write_is_made_once(
    method: str, kind: FaultKind, stage: Stage
) -> None:
    stage.app.faults.always(kind)
    with pytest.raises(ProviderUnavailable):
        await ALL[method](stage.client, stage)
    assert len(stage.writes()) <= 1


@pytest.mark.parametrize("method", WRITES)
async def test_a_write_whose_own_call_gets_no_answer_is_made_once(method: str, stage: Stage) -> None:
    for call in WRITING:
        stage.app.faults.always(FaultKind.SERVER_ERROR, path=call)
    with pytest.raises(ProviderUnavailable):
        await WRITES[method](stage.client, stage)
    assert len(stage.writes()) == 1


@pytest.mark.parametrize("method", sorted(SILENT))
async def test_a_200_without_a_byte_is_done(method: str, stage: Stage) -> None:
    if method == "resume_campaign":
        await stage.client.pause_campaign(_id(stage))
        stage.app.calls.clear()
    await WRITES[method](stage.client, stage)
    assert len(stage.writes()) == len(stage.app.calls) == (15 if method == "delete_webhook" else 1)


@pytest.mark.parametrize("method", READS)
async def test_a_third_of_all_calls_may_fail_and_reading_still_works(method: str, stage: Stage) -> None:
    policy = CallPolicy(tries=12, first_wait_seconds=0.0001, longest_wait_seconds=0.001, deadline_seconds=20)
    client = HeyReachClient(stage.simulator.api_key, URL, stage.http, policy=policy)
    calm = await READS[method](client, stage)
    stage.app.faults.always(FaultKind.SERVER_ERROR, share=0.3)

    for _ in range(4):
        assert await READS[method](client, stage) == calm


@pytest.mark.parametrize("kind", [FaultKind.HANGS, FaultKind.SLOW_DRIP])
@pytest.mark.parametrize("method", ["list_campaigns", "list_leads", "list_messages", "add_leads"])
async def test_an_answer_that_takes_for_ever_costs_the_deadline(method: str, kind: FaultKind, stage: Stage) -> None:
    policy = CallPolicy(deadline_seconds=0.05, tries=3)
    client = HeyReachClient(stage.simulator.api_key, URL, stage.http, policy=policy)
    stage.app.faults.always(kind)
    with pytest.raises(ProviderUnavailable):
        await ALL[method](client, stage)
    assert len(stage.writes()) <= 1


@pytest.mark.parametrize("method", ["list_conversations", "list_leads", "list_webhooks"])
async def test_an_answer_without_measure_is_not_read_to_its_end(method: str, stage: Stage) -> None:
    policy = CallPolicy(largest_body_bytes=1000, tries=3)
    client = HeyReachClient(stage.simulator.api_key, URL, stage.http, policy=policy)
    with pytest.raises(ContractViolated, match="more than 1000 bytes"):
        await READS[method](client, stage)
    assert len(stage.app.calls) == 1


# F28: answers that are none


@pytest.mark.parametrize("method", sorted(READS.keys() - {"check_connection"}))  # which is answered without a value
async def test_values_of_other_types_break_the_contract(method: str, stage: Stage) -> None:
    stage.app.faults.always(FaultKind.WRONG_TYPES)
    with pytest.raises(ContractViolated) as broken:
        await READS[method](stage.client, stage)
    assert stage.thread.lead.last_name not in str(broken.value)  # names fields, quotes no people


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
            page = await stage.client.list_leads(_id(stage), after=after)
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


# F29 is test_effects.py.


# F30: the key no longer opens


@pytest.mark.parametrize("method", ALL)
async def test_a_revoked_key_is_told_at_once_and_apart_from_any_other_no(method: str, stage: Stage) -> None:
    stage.app.revoked.add(stage.simulator.api_key)
    with pytest.raises(CredentialRefused, match="answered 401"):
        await ALL[method](stage.client, stage)
    assert len(stage.app.calls) == 1  # no storm


@pytest.mark.parametrize("method", ALL)
async def test_an_organizations_key_is_refused_though_the_status_is_200(method: str, stage: Stage) -> None:
    app = heyreach_app(stage.simulator, organization_keys=("org-key",))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) as http:
        with pytest.raises(CredentialRefused, match="a workspace's is needed"):
            await ALL[method](HeyReachClient("org-key", URL, http, policy=QUICK), stage)
    assert len(app.calls) == 1


@pytest.mark.parametrize("method", ALL)
async def test_no_error_tells_the_key(method: str, stage: Stage) -> None:
    key = "secret-key-5a5a"
    bodies = [
        f'{{"errorMessage": "the key {key} is not allowed"}}',
        f"<html>{key}</html>",
        f'{{"title": "x", "errors": {{"Key": ["{key}"]}}}}',
    ]
    asked: Any = stage
    met: list[str] = []
    for status in (200, 400, 401, 403, 404, 429, 500):
        for body in bodies:
            transport = httpx.MockTransport(lambda _, status=status, body=body: httpx.Response(status, text=body))
            async with httpx.AsyncClient(transport=transport) as http:
                client = HeyReachClient(key, URL, http, policy=CallPolicy(tries=1))
                try:
                    await ALL[method](client, asked)
                except PlatformError as error:
                    met.append(str(error))
    assert len(met) >= 17  # of 21: silence is a success of some, and that a record is gone may be a good answer
    assert [text for text in met if key in text] == []
