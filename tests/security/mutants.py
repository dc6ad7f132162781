"""`make mutants`: takes away, one at a time, everything that keeps tenants apart; a test must fail each time.

A mutant that survives is a test that is missing. `--only TEXT` tries those whose kind or name holds it; `--neutral TEXT` makes
such mutants change nothing, so that they must be reported.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from multiprocessing.queues import Queue
from queue import Empty

import structlog

from tests import servers
from tests.security.code_mutants import StaleMutant, code_mutants
from tests.security.room import Room, connected, made_room
from tests.security.sql_mutants import SqlMutant, sql_mutants
from tests.security.trial import HarnessBroken, Mutant, Trial, Verdict

AT_ONCE = 2
_BAR = 30


async def listed(room: Room) -> list[Mutant]:
    async with connected(room.template.admin_url) as admin:
        found: list[Mutant] = [*await sql_mutants(admin, room.template.template), *await code_mutants()]
    twice = [name for name, count in Counter((mutant.kind, mutant.name) for mutant in found).items() if count > 1]
    assert not twice, f"two mutants of one name: {twice}"
    return found


def neutralised(mutant: Mutant) -> Mutant:
    """The same in name, changing nothing."""
    if isinstance(mutant, SqlMutant):
        return replace(mutant, sql=("SELECT 1",), undo=())
    return replace(mutant, data=("nothing", ""))


def _work(server: str, name: str, todo: Queue[Mutant | None], done: Queue[Verdict | str]) -> None:
    """A process of its own: a room with roles of its own, then one mutant after the other. Tells why it ends early."""
    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        asyncio.run(_try_all(server, name, todo, done))
    except (HarnessBroken, StaleMutant) as error:
        done.put(str(error))
    except Exception as error:  # noqa: BLE001 - the parent would wait for ever
        done.put(repr(error))


async def _try_all(server: str, name: str, todo: Queue[Mutant | None], done: Queue[Verdict | str]) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    async with made_room(server, name) as room, Trial(room) as trial:
        while (mutant := todo.get()) is not None:
            done.put(await trial.of(mutant))


def _verdicts(server: str, mutants: Sequence[Mutant]) -> Iterator[Verdict]:
    """In whatever order they come. Raises HarnessBroken."""
    spawn = multiprocessing.get_context("spawn")
    todo: Queue[Mutant | None] = spawn.Queue()
    done: Queue[Verdict | str] = spawn.Queue()
    for mutant in (*mutants, *[None] * AT_ONCE):
        todo.put(mutant)
    workers = [
        spawn.Process(target=_work, args=(server, f"mutants{os.getpid()}x{number}", todo, done), daemon=True)
        for number in range(AT_ONCE)
    ]
    for worker in workers:
        worker.start()
    try:
        for _ in mutants:
            yield _next(done, workers)
        for worker in workers:
            worker.join(30)
    finally:
        for worker in workers:
            worker.terminate()


def _next(done: Queue[Verdict | str], workers: Sequence[multiprocessing.process.BaseProcess]) -> Verdict:
    while True:
        try:
            found = done.get(timeout=5)
        except Empty:
            if any(worker.is_alive() for worker in workers):
                continue
            raise HarnessBroken("the processes that try mutants ended early") from None
        if isinstance(found, Verdict):
            return found
        raise HarnessBroken(found)


def _show(text: str, *, transient: bool = False) -> None:
    """Transient lines only where somebody looks at a terminal."""
    if not transient:
        sys.stdout.write(("\r\033[K" if sys.stdout.isatty() else "") + text + "\n")
    elif sys.stdout.isatty():
        sys.stdout.write("\r\033[K" + text)
    sys.stdout.flush()


def _bar(done: int, of: int, survived: int) -> str:
    filled = _BAR * done // of
    return f"[{'#' * filled}{'.' * (_BAR - filled)}] {done}/{of} survived={survived}"


def _report(verdicts: Sequence[Verdict]) -> None:
    kinds = Counter(verdict.kind for verdict in verdicts)
    lived = Counter(verdict.kind for verdict in verdicts if verdict.survived)
    for kind, count in sorted(kinds.items()):
        _show(f"  {kind:<24} {count:>4} mutants {count - lived[kind]:>4} killed")
    for name, count in Counter(verdict.killer for verdict in verdicts if verdict.killer).most_common():
        _show(f"  {count:>5} by {name}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("--only", default="", help="mutants whose kind or name holds this")
    parser.add_argument("--neutral", help="make mutants whose kind or name holds this change nothing")
    parser.add_argument("--every", type=int, default=1, help="only each n-th mutant")
    asked = parser.parse_args(arguments)
    began = time.monotonic()
    verdicts: list[Verdict] = []
    survivors: list[Verdict] = []
    try:
        with servers.postgres(_show) as server:
            found = asyncio.run(_chosen(server, asked))
            for verdict in _verdicts(server, found):
                verdicts.append(verdict)
                if verdict.survived:
                    survivors.append(verdict)
                    _show(f"survived: {verdict.kind}: {verdict.name} ({verdict.missed})")
                _show(_bar(len(verdicts), len(found), len(survivors)), transient=True)
                if len(verdicts) % 100 == 0 and not sys.stdout.isatty():
                    _show(_bar(len(verdicts), len(found), len(survivors)))
    except (HarnessBroken, StaleMutant, servers.Unavailable) as error:
        _show(f"mutants: not tried: {error}")
        return 2
    _report(verdicts)
    seconds = f"{time.monotonic() - began:.0f}"
    state = "failed" if survivors or not verdicts else "ok"
    _show(f"mutants: {state} killed={len(verdicts) - len(survivors)} survived={len(survivors)} seconds={seconds}")
    return 0 if state == "ok" else 1


async def _chosen(server: str, asked: argparse.Namespace) -> list[Mutant]:
    async with made_room(server, f"mutants{os.getpid()}x") as room:
        found = await listed(room)
    for mutant in found:
        if not isinstance(mutant, SqlMutant):
            with mutant.applied():  # StaleMutant now rather than in five minutes
                pass
    chosen = [mutant for mutant in found if asked.only in f"{mutant.kind}: {mutant.name}"][:: asked.every]
    return [
        neutralised(mutant) if asked.neutral and asked.neutral in f"{mutant.kind}: {mutant.name}" else mutant
        for mutant in chosen
    ]


if __name__ == "__main__":
    sys.exit(main())
