"""What can be learnt of a write whose answer was lost: done or not done, by looking and never by guessing.

What only one provider has is in <provider>/test_effects.py.
"""

from __future__ import annotations

import pytest

from libs.errors import ProviderUnavailable
from libs.providers.effects import WRITES, Seen
from libs.providers.simulation import FaultKind
from tests.unit.libs.providers.effectful import write
from tests.unit.libs.providers.emailbison.writes import EMAILBISON
from tests.unit.libs.providers.heyreach.writes import HEYREACH
from tests.unit.libs.providers.smartlead.writes import SMARTLEAD

EFFECTFUL = {"smartlead": SMARTLEAD, "emailbison": EMAILBISON, "heyreach": HEYREACH}
LOOKED_FOR = [(name, operation) for name, row in EFFECTFUL.items() for operation in row.looked_for]


@pytest.mark.parametrize(("provider", "operation"), LOOKED_FOR)
async def test_a_write_that_never_arrived_is_absent(provider: str, operation: str) -> None:
    row = EFFECTFUL[provider]
    async with row.set(False) as stage:
        case = await row.prepare(stage, operation)
        stage.app.faults.next(FaultKind.DROPPED, path=case.path)
        with pytest.raises(ProviderUnavailable):
            await write(stage, operation, case)
        assert stage.app.faults.met  # the fault was there

        evidence = await row.look(stage, operation, case)

    assert evidence.seen is (Seen.UNCLEAR if operation in row.unclear else Seen.ABSENT), evidence.detail


@pytest.mark.parametrize(("provider", "operation"), LOOKED_FOR)
async def test_a_write_whose_answer_was_lost_is_found(provider: str, operation: str) -> None:
    row = EFFECTFUL[provider]
    async with row.set(True) as stage:
        case = await row.prepare(stage, operation)
        stage.app.faults.next(FaultKind.DONE_AND_DROPPED, path=case.path)
        with pytest.raises(ProviderUnavailable):
            await write(stage, operation, case)
        assert [kind for kind, _ in stage.app.faults.met] == [FaultKind.DONE_AND_DROPPED]

        evidence = await row.look(stage, operation, case, waits=True)

        assert evidence.seen is (Seen.UNCLEAR if operation in row.unclear else Seen.DONE), evidence.detail
        if case.is_new:
            assert evidence.external_id == stage.simulator.account.campaigns[-1].external_id


@pytest.mark.parametrize("provider", EFFECTFUL)
async def test_a_look_that_fails_teaches_nothing(provider: str) -> None:
    row = EFFECTFUL[provider]
    async with row.set(False) as stage:
        case = await row.prepare(stage, "pause_campaign")
        stage.app.faults.always(FaultKind.SERVER_ERROR)
        with pytest.raises(ProviderUnavailable):
            await row.look(stage, "pause_campaign", case)


@pytest.mark.parametrize("provider", EFFECTFUL)
def test_every_effect_is_that_of_a_write(provider: str) -> None:
    assert set(EFFECTFUL[provider].effects) <= set(WRITES)
