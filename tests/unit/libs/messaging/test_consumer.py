from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from libs.contracts.events import MessageRecordedV1, OrganizationCreatedV1
from libs.errors import (
    ContractViolated,
    DependencyDown,
    NotFound,
    PermanentError,
    ProviderUnavailable,
    RateLimited,
    TransientError,
    UnknownVersion,
)
from libs.messaging.consumer import Consumer, RetryPolicy, error_class
from libs.messaging.work import UnitOfWork

POLICY = RetryPolicy(delays_seconds=(5, 60, 600), bug_delays_seconds=(2, 30))


@pytest.mark.parametrize("error", [ContractViolated("x"), UnknownVersion("x"), PermanentError("x")])
def test_what_never_works_is_never_tried_again(error: Exception) -> None:
    assert POLICY.next_delay(error, 1) is None


@pytest.mark.parametrize(
    "error", [TransientError("x"), ProviderUnavailable("x"), DependencyDown("x"), RateLimited("x")]
)
def test_what_may_work_later_is_tried_as_often_as_there_are_delays(error: Exception) -> None:
    for attempts, longest in ((1, 5), (2, 60), (3, 600)):
        delays = [POLICY.next_delay(error, attempts) for _ in range(300)]
        assert all(delay is not None and 0 <= delay <= longest for delay in delays)
        assert len(set(delays)) > 250, "what failed together must not come back together"
    assert POLICY.next_delay(error, 4) is None


@pytest.mark.parametrize("error", [ZeroDivisionError(), KeyError("x"), NotFound("a handler's look-up")])
def test_a_bug_is_tried_less_often(error: Exception) -> None:
    assert POLICY.next_delay(error, 2) is not None
    assert POLICY.next_delay(error, 3) is None


def test_whoever_says_when_to_come_back_is_believed_but_not_for_ever() -> None:
    error = RateLimited("x", retry_after_seconds=42.5)

    assert POLICY.next_delay(error, 1) == 42.5
    assert POLICY.next_delay(error, 4) is None


def test_no_patience_at_all_is_a_policy() -> None:
    assert RetryPolicy(delays_seconds=(), bug_delays_seconds=()).next_delay(TransientError("x"), 1) is None


def test_an_error_is_known_by_its_code_and_a_bug_by_its_class() -> None:
    assert error_class(RateLimited("x")) == "rate_limited"
    assert error_class(ZeroDivisionError()) == "ZeroDivisionError"


async def _handle(_: Sequence[Any], __: UnitOfWork) -> None: ...


def test_a_consumer_hears_only_what_the_contracts_say() -> None:
    Consumer("analytics.tenants", (OrganizationCreatedV1,), _handle)

    with pytest.raises(ValueError, match=r"analytics.tenants listens to message.recorded.v1"):
        Consumer("analytics.tenants", (OrganizationCreatedV1, MessageRecordedV1), _handle)
