"""The cores that are simulated, and the seeds that have failed once: those are run for ever."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from random import Random
from types import MappingProxyType

from tests.simulation import budget, comparison, delivery, door, effects, merging, replay, slots

Run = Callable[[Random], None]

CORES: Mapping[str, Run] = MappingProxyType(
    {
        module.__name__.rsplit(".", 1)[-1]: module.run
        for module in (door, delivery, merging, effects, replay, budget, slots, comparison)
    }
)

# Seeds that failed once, and no longer may.
KEPT: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "budget": (52,),  # a clock that goes back lengthens a pause: the world's rule was wrong
        "effects": (
            5,  # a provider that refuses refuses always: the world's own mistake
            230,  # who overslept has counted a sending that never was: what is bounded are writes
        ),
    }
)


@dataclass(frozen=True, slots=True)
class Failure:
    core: str
    seed: int
    trace: str


def play(core: str, seed: int) -> Failure | None:
    """The same seed plays the same story, on any machine."""
    try:
        CORES[core](Random(f"{core} {seed}"))
    except Exception:  # noqa: BLE001 - whatever a story ends with is told, with its seed
        return Failure(core, seed, traceback.format_exc())
    return None


def play_all(seeds: Iterable[int], cores: Iterable[str] = tuple(CORES)) -> list[Failure]:
    return [failure for seed in seeds for core in cores if (failure := play(core, seed)) is not None]
