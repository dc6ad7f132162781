"""What can go wrong between a provider's answer and us, for every method of every client. The tables: faulty.py."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from libs.errors import ContractViolated, CredentialRefused, PlatformError, ProviderUnavailable, RateLimited
from libs.providers.calls import CallPolicy
from libs.providers.capabilities import CAPABILITIES
from libs.providers.effects import writes_of
from libs.providers.simulation import FaultKind
from tests.unit.libs.providers.emailbison.methods import EMAILBISON
from tests.unit.libs.providers.faulty import Faulty
from tests.unit.libs.providers.heyreach.methods import HEYREACH
from tests.unit.libs.providers.smartlead.methods import SMARTLEAD

FAULTY = {"smartlead": SMARTLEAD, "emailbison": EMAILBISON, "heyreach": HEYREACH}
QUICK = CallPolicy(tries=3, first_wait_seconds=0.001, longest_wait_seconds=0.002, deadline_seconds=5)
GARBAGE = (FaultKind.PAGE, FaultKind.EMPTY, FaultKind.GARBAGE, FaultKind.TRUNCATED, FaultKind.BAD_GATEWAY)
NO_ANSWER = (FaultKind.SERVER_ERROR, FaultKind.DROPPED, FaultKind.DONE_AND_DROPPED, *GARBAGE)
LIMITED = [
    (FaultKind.RATE_LIMITED, 9.0),
    (FaultKind.RATE_LIMITED_WITHOUT_HINT, None),
    (FaultKind.RATE_LIMITED_BROKEN_HINT, None),
    (FaultKind.RATE_LIMITED_PAGE, None),
]


def each(methods: Callable[[Faulty], Any]) -> pytest.MarkDecorator:
    """Of every provider each of these methods."""
    cases = [(name, method) for name, faulty in FAULTY.items() for method in methods(faulty)]
    return pytest.mark.parametrize(("provider", "method"), cases)


def each_with(
    kinds: tuple[FaultKind, ...], methods: Callable[[Faulty], Any], but: Callable[[Faulty, str, FaultKind], bool]
) -> pytest.MarkDecorator:
    """The same with each fault, where it is one."""
    cases = [
        (name, method, kind)
        for name, faulty in FAULTY.items()
        for method in methods(faulty)
        for kind in kinds
        if not but(faulty, method, kind)
    ]
    return pytest.mark.parametrize(("provider", "method", "kind"), cases)


@pytest.fixture
def faulty(provider: str) -> Faulty:
    return FAULTY[provider]


@pytest.fixture
async def stage(faulty: Faulty) -> AsyncIterator[Any]:
    async with faulty.set() as made:
        yield made


@pytest.mark.parametrize("faulty", FAULTY.values(), ids=FAULTY)
def test_every_method_of_every_capability_is_here(faulty: Faulty) -> None:
    methods = {
        name
        for capability in CAPABILITIES
        if issubclass(faulty.client, capability)
        for name, _ in inspect.getmembers(capability, inspect.iscoroutinefunction)
        if not name.startswith("_")
    }
    assert methods == {*faulty.all, *faulty.calls_nobody}
    assert set(faulty.writes) == writes_of(faulty.client)


# F25: told to slow down


@pytest.mark.parametrize(("kind", "told"), LIMITED)
@each(lambda faulty: faulty.all)
async def test_a_429_says_how_long_to_wait_if_the_provider_did(
    faulty: Faulty, method: str, kind: FaultKind, told: float | None, stage: Any
) -> None:
    stage.app.faults.retry_after_seconds = 9
    stage.app.faults.always(kind)
    with pytest.raises(RateLimited) as limited:
        await faulty.all[method](stage.client, stage)

    assert limited.value.retry_after_seconds == told
    first = stage.app.calls[0]
    is_read = not faulty.is_write(first)
    if method in faulty.reads or method in faulty.looks_first:
        assert is_read
    # Told to wait longer than this call may last there is nothing to try; told nothing a read is tried a few times.
    assert stage.app.calls == [first] * (QUICK.tries if is_read and told is None else 1)


@each(lambda faulty: faulty.writes)
async def test_a_write_that_is_told_to_wait_is_not_repeated_here(faulty: Faulty, method: str, stage: Any) -> None:
    for path in faulty.writing:
        stage.app.faults.always(FaultKind.RATE_LIMITED_WITHOUT_HINT, path=path)
    with pytest.raises(RateLimited):
        await faulty.writes[method](stage.client, stage)
    assert len(faulty.written(stage)) == 1


# F26, F27: no answer, half an answer, an answer without end


@each_with(NO_ANSWER, lambda faulty: faulty.all, lambda faulty, method, kind: faulty.answers(method, kind))
async def test_what_is_no_answer_is_later_may_work_and_a_write_is_made_once(
    faulty: Faulty, method: str, kind: FaultKind, stage: Any
) -> None:
    stage.app.faults.always(kind)
    with pytest.raises(ProviderUnavailable):
        await faulty.all[method](stage.client, stage)
    assert len(faulty.written(stage)) <= 1


@each_with(
    (FaultKind.SERVER_ERROR, FaultKind.DROPPED, *GARBAGE),
    lambda faulty: faulty.writes,
    lambda faulty, method, kind: faulty.own_answers(method, kind),
)
async def test_a_write_whose_own_call_gets_no_answer_is_made_once(
    faulty: Faulty, method: str, kind: FaultKind, stage: Any
) -> None:
    for path in faulty.writing:
        stage.app.faults.always(kind, path=path)
    with pytest.raises(ProviderUnavailable):
        await faulty.writes[method](stage.client, stage)
    assert len(faulty.written(stage)) == 1


@each(lambda faulty: faulty.reads)
async def test_a_third_of_all_calls_may_fail_and_reading_still_works(faulty: Faulty, method: str, stage: Any) -> None:
    policy = CallPolicy(tries=12, first_wait_seconds=0.0001, longest_wait_seconds=0.001, deadline_seconds=20)
    client = faulty.client_of(stage, policy)
    calm = await faulty.reads[method](client, stage)
    stage.app.faults.always(FaultKind.SERVER_ERROR, share=0.3)

    for _ in range(2):
        assert await faulty.reads[method](client, stage) == calm


@pytest.mark.parametrize("kind", [FaultKind.HANGS, FaultKind.SLOW_DRIP])
@each(lambda faulty: faulty.endless)
async def test_an_answer_that_takes_for_ever_costs_the_deadline(
    faulty: Faulty, method: str, kind: FaultKind, stage: Any
) -> None:
    client = faulty.client_of(stage, CallPolicy(deadline_seconds=0.05, tries=3))
    stage.app.faults.always(kind)
    with pytest.raises(ProviderUnavailable):
        await faulty.all[method](client, stage)
    assert len(faulty.written(stage)) <= 1


@each(lambda faulty: faulty.measured)
async def test_an_answer_without_measure_is_not_read_to_its_end(faulty: Faulty, method: str, stage: Any) -> None:
    client = faulty.client_of(stage, CallPolicy(largest_body_bytes=1000, tries=3))
    with pytest.raises(ContractViolated, match="more than 1000 bytes"):
        await faulty.reads[method](client, stage)
    assert len(stage.app.calls) == 1


# F28: answers that are none. Lists that move are each provider's own: <provider>/test_faults.py.


@each(lambda faulty: [method for method in faulty.reads if method not in faulty.untyped])
async def test_values_of_other_types_break_the_contract(faulty: Faulty, method: str, stage: Any) -> None:
    stage.app.faults.always(FaultKind.WRONG_TYPES)
    with pytest.raises(ContractViolated) as broken:
        await faulty.reads[method](stage.client, stage)
    assert not [name for name in faulty.people if name in str(broken.value)]  # names fields, quotes no people


# F29 is <provider>/test_effects.py.


# F30: the key no longer opens


@each(lambda faulty: faulty.all)
async def test_a_revoked_key_is_told_at_once_and_apart_from_any_other_no(
    faulty: Faulty, method: str, stage: Any
) -> None:
    stage.app.revoked.add(stage.simulator.api_key)
    with pytest.raises(CredentialRefused, match=faulty.refused):
        await faulty.all[method](stage.client, stage)
    assert len(stage.app.calls) == 1  # no storm


@each(lambda faulty: faulty.all)
async def test_no_error_tells_the_key(faulty: Faulty, method: str, stage: Any) -> None:
    met: list[str] = []
    for status in (200, 400, 401, 403, 404, 422, 429, 500):
        for body in faulty.said:
            transport = httpx.MockTransport(lambda _, status=status, body=body: httpx.Response(status, text=body))
            async with httpx.AsyncClient(transport=transport) as http:
                client = faulty.client(faulty.key, faulty.url, http, policy=CallPolicy(tries=1))
                try:
                    await faulty.all[method](client, stage)
                except PlatformError as error:
                    met.append(str(error))
    assert len(met) >= faulty.least_errors  # silence, or that a record is gone, may be a good answer
    assert [text for text in met if faulty.secret in text] == []
