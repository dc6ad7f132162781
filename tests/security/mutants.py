"""`make mutants`: takes away, one at a time, everything that keeps tenants apart; a test must fail each time.

A mutant that survives is a test that is missing; one that is stale, as what it takes away is no longer there, is reported at
the end, after all others were tried. Both fail the command. `--only TEXT` tries those whose kind or name holds it, `--shard 1/4`
the first of four parts, `--every N` each n-th; `--journal FILE` keeps every verdict there and does not try again what it says was
killed, so that a run that was ended goes on. `--neutral TEXT` makes such mutants change nothing, so that they must be reported.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, replace
from multiprocessing.queues import Queue
from pathlib import Path
from queue import Empty

import structlog

from tests import servers
from tests.security.code_mutants import CodeMutant, code_mutants
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


def _work(
    server: str, name: str, check: Collection[str] | None, todo: Queue[Mutant | None], done: Queue[Verdict | str]
) -> None:
    """A process of its own: a room with roles of its own, then one mutant after the other. Tells why it ends early."""
    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        asyncio.run(_try_all(server, name, check, todo, done))
    except HarnessBroken as error:
        done.put(str(error))
    except Exception as error:  # noqa: BLE001 - the parent would wait for ever
        done.put(repr(error))


async def _try_all(
    server: str, name: str, check: Collection[str] | None, todo: Queue[Mutant | None], done: Queue[Verdict | str]
) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    mutant = todo.get()
    while mutant is not None:
        async with made_room(server, name) as room, Trial(room, check=check) as trial:
            while mutant is not None:
                try:
                    verdict = await trial.of(mutant)
                except HarnessBroken as error:
                    # This room is spoilt, and the others need not suffer for it.
                    done.put(Verdict(mutant.kind, mutant.name, stale=str(error)))
                    check, mutant = None, todo.get()
                    break
                done.put(verdict)
                mutant = todo.get()


def _verdicts(server: str, mutants: Sequence[Mutant]) -> Iterator[Verdict]:
    """In whatever order they come. Raises HarnessBroken."""
    spawn = multiprocessing.get_context("spawn")
    todo: Queue[Mutant | None] = spawn.Queue()
    done: Queue[Verdict | str] = spawn.Queue()
    for mutant in (*mutants, *[None] * AT_ONCE):
        todo.put(mutant)
    # One of them sees that what nobody broke fails nothing, and only with the detectors that are to be asked.
    asked = {mutant.where for mutant in mutants if isinstance(mutant, CodeMutant)} | {"rows"}
    workers = [
        spawn.Process(
            target=_work,
            args=(server, f"mutants{os.getpid()}x{number}", None if number else asked, todo, done),
            daemon=True,
        )
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
        todo.cancel_join_thread()  # else what nobody takes any more would be waited for at exit
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


def _bar(verdicts: Sequence[Verdict], of: int, began: float) -> str:
    done = len(verdicts)
    filled = _BAR * done // of
    survived, stale = sum(one.survived for one in verdicts), sum(one.stale != "" for one in verdicts)
    left = (time.monotonic() - began) / done * (of - done) / 60
    return f"[{'#' * filled}{'.' * (_BAR - filled)}] {done}/{of} survived={survived} stale={stale} about {left:.0f} min left"


def _report(verdicts: Sequence[Verdict]) -> None:
    kinds = Counter(verdict.kind for verdict in verdicts)
    killed = Counter(verdict.kind for verdict in verdicts if verdict.killed)
    for kind, count in sorted(kinds.items()):
        _show(f"  {kind:<24} {count:>4} mutants {killed[kind]:>4} killed")
    for name, count in Counter(verdict.killer for verdict in verdicts if verdict.killer).most_common():
        _show(f"  {count:>5} by {name}")
    for verdict in verdicts:
        if verdict.survived:
            _show(f"survived: {verdict.kind}: {verdict.name} ({verdict.missed})")
        if verdict.stale:
            _show(f"stale: {verdict.kind}: {verdict.name} ({verdict.stale})")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("--only", default="", help="mutants whose kind or name holds this")
    parser.add_argument("--neutral", help="make mutants whose kind or name holds this change nothing")
    parser.add_argument("--every", type=int, default=1, help="only each n-th mutant")
    parser.add_argument("--shard", type=_shard, default=(1, 1), help="the i-th of n parts, as i/n")
    parser.add_argument(
        "--journal", type=Path, help="a file that keeps the verdicts; what is killed there is not tried again"
    )
    asked = parser.parse_args(arguments)
    began = time.monotonic()
    verdicts: list[Verdict] = []
    try:
        with servers.postgres(_show) as server:
            verdicts += _kept(asked.journal)
            known = {(one.kind, one.name) for one in verdicts}
            chosen = asyncio.run(_chosen(server, asked))
            verdicts = [one for one in verdicts if (one.kind, one.name) in {(each.kind, each.name) for each in chosen}]
            found = [mutant for mutant in chosen if (mutant.kind, mutant.name) not in known]
            _show(f"{len(found)} mutants to try, {len(verdicts)} were killed before")
            before, started = len(verdicts), time.monotonic()
            for verdict in _verdicts(server, found):
                verdicts.append(verdict)
                _keep(asked.journal, verdict)
                if not verdict.killed:
                    _show(f"not killed: {verdict.kind}: {verdict.name} ({verdict.missed or verdict.stale})")
                bar = _bar(verdicts[before:], len(found), started)
                _show(bar, transient=True)
                if (len(verdicts) - before) % 20 == 0 and not sys.stdout.isatty():
                    _show(bar)
    except (HarnessBroken, servers.Unavailable) as error:
        _show(f"mutants: not tried: {error}")
        return 2
    _report(verdicts)
    seconds = f"{time.monotonic() - began:.0f}"
    killed, survived = sum(one.killed for one in verdicts), sum(one.survived for one in verdicts)
    state = "ok" if verdicts and killed == len(verdicts) else "failed"
    stale = len(verdicts) - killed - survived
    _show(f"mutants: {state} killed={killed} survived={survived} stale={stale} seconds={seconds}")
    return 0 if state == "ok" else 1


def _shard(text: str) -> tuple[int, int]:
    number, of = (int(part) for part in text.split("/"))
    if not 1 <= number <= of:
        raise ValueError
    return number, of


def _kept(journal: Path | None) -> list[Verdict]:
    """What was killed before, by the journal; whatever else it tells is tried again."""
    if journal is None or not journal.exists():
        return []
    found = [Verdict(**json.loads(line)) for line in journal.read_text().splitlines()]
    return [*{(one.kind, one.name): one for one in found if one.killed}.values()]


def _keep(journal: Path | None, verdict: Verdict) -> None:
    if journal is not None:
        with journal.open("a") as file:
            file.write(json.dumps(asdict(verdict)) + "\n")


async def _chosen(server: str, asked: argparse.Namespace) -> list[Mutant]:
    async with made_room(server, f"mutants{os.getpid()}x") as room:
        found = await listed(room)
    number, of = asked.shard
    chosen = [mutant for mutant in found if asked.only in f"{mutant.kind}: {mutant.name}"][:: asked.every]
    chosen = chosen[number - 1 :: of]
    return [
        neutralised(mutant) if asked.neutral and asked.neutral in f"{mutant.kind}: {mutant.name}" else mutant
        for mutant in chosen
    ]


if __name__ == "__main__":
    sys.exit(main())
