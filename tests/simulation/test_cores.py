"""Some worlds of each core, and those that have ended badly once. `make simulate-cores` plays many more."""

from __future__ import annotations

import pytest

from services.reconciliation.domain.slots import Timetable
from tests.simulation.cores import CORES, KEPT, play

_SEEDS = 200


@pytest.mark.parametrize("core", sorted(CORES))
def test_the_first_worlds_end_well(core: str) -> None:
    for seed in range(_SEEDS):
        failure = play(core, seed)
        assert failure is None, f"seed {seed}\n{failure.trace}"


def test_worlds_that_ended_badly_once_end_well() -> None:
    for core, seeds in KEPT.items():
        for seed in seeds:
            failure = play(core, seed)
            assert failure is None, f"{core} {seed}\n{failure.trace}"


def test_a_world_that_ends_badly_is_told_with_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what keeps a leader from starting a slot again, worlds end badly; the same seed does so again."""
    monkeypatch.setattr(Timetable, "after", lambda table, _: table)
    failures = [one for seed in range(50) if (one := play("slots", seed)) is not None]
    assert failures
    assert play("slots", failures[0].seed) == failures[0]
