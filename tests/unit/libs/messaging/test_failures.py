from __future__ import annotations

from uuid import UUID

import pytest

from libs.errors import ContractViolated, TransientError
from libs.messaging.failures import fingerprint, frames_of, reason_of

QUEUE, TYPE = "analytics.facts", "message.recorded.v1"


def raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:  # noqa: BLE001 - what was given
        return caught


def raised_elsewhere(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:  # noqa: BLE001 - what was given
        return caught


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("no lead 17 in campaign 3", "no lead 18 in campaign 4"),
        (f"message {UUID(int=17)} is gone", "message 1d9eabfa-ec15-4ffb-8f18-9f10ab9278ea is gone"),
        ("nobody called 'Ada'", "nobody called 'Grace O'Brien'"),
        ('field "to": bad', 'field "cc": bad'),
        ("ada@example.com bounced", "grace.h+x@mail.example.com bounced"),
    ],
)
def test_failures_of_one_cause_are_alike(one: str, other: str) -> None:
    assert fingerprint(QUEUE, TYPE, raised(ContractViolated(one))) == fingerprint(
        QUEUE, TYPE, raised(ContractViolated(other))
    )


def test_failures_of_different_causes_are_not() -> None:
    found = {
        fingerprint(QUEUE, TYPE, raised(ContractViolated("no name"))),
        fingerprint(QUEUE, TYPE, raised(ContractViolated("no date"))),
        fingerprint(QUEUE, TYPE, raised(TransientError("no name"))),
        fingerprint(QUEUE, TYPE, raised_elsewhere(ContractViolated("no name"))),
        fingerprint("analytics.ledger", TYPE, raised(ContractViolated("no name"))),
        fingerprint(QUEUE, "lead.recorded.v1", raised(ContractViolated("no name"))),
    }

    assert len(found) == 6


def test_frames_are_ours_and_hold_no_line_numbers() -> None:
    def inner() -> None:
        int("x")

    with pytest.raises(ValueError) as caught:
        inner()

    assert frames_of(caught.value)[-1] == "tests/unit/libs/messaging/test_failures.py:inner"
    assert not any(".venv" in frame for frame in frames_of(caught.value))


def test_an_error_that_was_never_raised_has_a_fingerprint_too() -> None:
    assert len(fingerprint(QUEUE, TYPE, ContractViolated(""))) == 24
    assert reason_of(ContractViolated("")) == "ContractViolated"
