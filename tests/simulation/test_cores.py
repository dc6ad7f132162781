"""Some worlds of each core, and those that have ended badly once. `make simulate-cores` plays many more."""

from __future__ import annotations

import pytest

from tests.simulation.cores import CORES, KEPT, play

_SEEDS = 200


@pytest.mark.parametrize("core", sorted(CORES))
def test_the_first_worlds_end_well(core: str) -> None:
    for seed in range(_SEEDS):
        failure = play(core, seed)
        assert failure is None, f"seed {seed}\n{failure.trace}"


@pytest.mark.parametrize(("core", "seed"), [(core, seed) for core, seeds in sorted(KEPT.items()) for seed in seeds])
def test_a_world_that_ended_badly_once_ends_well(core: str, seed: int) -> None:
    failure = play(core, seed)
    assert failure is None, failure.trace
