"""`make simulate-cores`: the pure cores in simulated worlds, 10,000 seeds each. ARGS="--core slots --seed 17" plays one again."""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from rich.console import Console
from rich.progress import track

from tests.simulation.cores import CORES, Failure, play_all

_SEEDS = 10_000
_SEEDS_AT_ONCE = 50
_SHOWN = 5

talk = Console(stderr=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make simulate-cores")
    parser.add_argument("--seeds", type=int, default=_SEEDS)
    parser.add_argument("--seed", type=int, help="this one alone")
    parser.add_argument("--core", choices=sorted(CORES), action="append")
    asked = parser.parse_args()
    cores, started = asked.core or list(CORES), time.monotonic()
    seeds = range(asked.seeds) if asked.seed is None else range(asked.seed, asked.seed + 1)
    shares = [seeds[start : start + _SEEDS_AT_ONCE] for start in range(0, len(seeds), _SEEDS_AT_ONCE)]
    failures: list[Failure] = []
    with ProcessPoolExecutor(max_workers=os.cpu_count()) as workers:
        played = workers.map(play_all, shares, [cores] * len(shares))
        for found in track(played, "worlds", total=len(shares), console=talk, transient=True):
            failures += found
    for failure in failures[:_SHOWN]:
        sys.stdout.write(f"--- {failure.core} seed {failure.seed}\n{failure.trace}")
    seen = {core: [one.seed for one in failures if one.core == core] for core in cores}
    words = " ".join(f"{core}:{len(some)}(first {some[0]})" for core, some in seen.items() if some)
    sys.stdout.write(
        f"simulate-cores: {f'failed {words}' if failures else 'ok'} cores={len(cores)} seeds={len(seeds)} "
        f"seconds={time.monotonic() - started:.0f}\n"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
