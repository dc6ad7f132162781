"""What an error means for a call that changes something: what never left may be made again, what did is looked for."""

from __future__ import annotations

import pytest

from libs.errors import CredentialRefused, Invalid, ProviderRefused, ProviderUnavailable, RateLimited
from libs.ids import AccountId, CompanyId, new_id
from libs.providers.effects import Effect as Rules
from libs.providers.effects import Evidence, Seen
from services.provider_sync.domain.operations import Effect, EffectState, seen
from services.provider_sync.effect_worker import _failed
from services.provider_sync.outgoing import Writes

NO, KEY, AWAY = ProviderRefused("no"), CredentialRefused("key"), ProviderUnavailable("away")


async def _look(*_: object) -> Evidence:
    return Evidence(Seen.ABSENT, "not there")


LOOKED_FOR = Rules(why="listed", read_back=_look, absence_is_proof=True, read_back_after_seconds=120)
NOT_LOOKED_FOR = Rules(why="nothing shows it")


def effect(sends: int = 1) -> Effect:
    return Effect(
        id=new_id(), operation_id=new_id(), account_id=AccountId(new_id()), company_id=CompanyId(new_id()), kind="reply",
        target="cnv_1", arguments={}, state=EffectState.INTENT, takes=1, sends=sends, attempts=1, sent_at=None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("error", "writes", "state"),
    [
        (AWAY, Writes(), "intent"),
        (RateLimited("slow"), Writes(was_refused=True), "intent"),
        (KEY, Writes(was_refused=True), "intent"),
        (NO, Writes(was_refused=True), "refused"),
        (Invalid("a rename"), Writes(), "refused"),
        (AWAY, Writes(count=1), "unknown"),
        (RuntimeError("ours"), Writes(count=1), "unknown"),
        (NO, Writes(count=1, was_refused=True), "refused"),  # the second of two
        (NO, Writes(count=1), "unknown"),  # of a look that the adapter takes after its write
        (KEY, Writes(count=1), "unknown"),
        (KEY, Writes(count=1, was_refused=True), "unknown"),
        (RateLimited("slow"), Writes(count=1), "unknown"),
    ],
)
def test_whether_the_write_left_decides(error: Exception, writes: Writes, state: str) -> None:
    assert _failed(effect(), error, writes, LOOKED_FOR).state == state


def test_what_cannot_be_looked_for_waits_for_a_person_at_once() -> None:
    for rules in (NOT_LOOKED_FOR, None):
        outcome = _failed(effect(), AWAY, Writes(count=1), rules)
        assert (outcome.state, outcome.due_in_seconds) == (EffectState.UNKNOWN, None)


def test_what_is_lost_again_and_again_is_left_to_a_person() -> None:
    absent = Evidence(Seen.ABSENT, "not there")
    assert [seen(LOOKED_FOR, effect(sends), absent, None).state for sends in (1, 4, 5)] == [
        "intent",
        "intent",
        "unknown",
    ]
    unclear = Evidence(Seen.UNCLEAR, "two of that name")
    assert (seen(LOOKED_FOR, effect(), unclear, None).state, seen(LOOKED_FOR, effect(), unclear, None).due_in_seconds) == (
        "unknown", None,
    )  # fmt: skip
