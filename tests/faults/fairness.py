"""`python -m tests.faults.fairness`: what one organization's flood costs another, from a webhook's post until it is visible.

The quiet organization posts two webhooks a second, and looks when each is in analytics' tables: idle; while the other posts
fifty times as many; and with the other's flood in the queues already. Exit 1 if a p95 is over twice the idle
one. The figures say as much about the machine as about us: nothing else should run on it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict, dataclass
from uuid import UUID

import asyncpg
from rich.console import Console
from rich.table import Table

from libs.providers.simulation import Plan, PlannedPost, PostKind, http_sender, post_all
from services.cli.demo.cast import Account
from tests.faults import report
from tests.faults.acts import count, unsent
from tests.faults.ground import Ground, opened
from tests.faults.load import Load, until

LATEST = report.LATEST.parent / "fairness.json"
QUIET_PER_SECOND = 2.0
FLOOD_TIMES = 50
MOST_TIMES = 2.0
_LOOK_SECONDS = 0.004
_SENDERS = 24
_PATIENCE_SECONDS = 120

talk = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Way:
    """Of one webhook, seconds since it was posted."""

    answered: float
    stored: float  # in provider_sync's model
    visible: float  # in analytics


@dataclass(frozen=True, slots=True)
class Phase:
    name: str
    posts: int
    answered_p95_ms: float
    stored_p95_ms: float
    p50_ms: float  # until visible, as those that follow
    p95_ms: float
    worst_ms: float
    flood_posts: int  # of the other organization, taken or worked off meanwhile
    seconds: float


async def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.fairness")
    parser.add_argument("--posts", type=int, default=60, help="of the quiet organization, in each phase")
    parser.add_argument("--backlog", type=int, default=6000, help="of the other's webhooks in the queue")
    asked = parser.parse_args()
    async with opened(lambda line: talk.print(f"[dim]{line}[/dim]")) as ground, AsyncExitStack() as stack:
        phases = await measure(ground, stack, asked.posts, asked.backlog)
    idle, *flooded = phases
    LATEST.parent.mkdir(parents=True, exist_ok=True)
    load = [round(one, 1) for one in os.getloadavg()]
    LATEST.write_text(
        json.dumps({**report.machine(), "load": load, "phases": [asdict(one) for one in phases]}, indent=1) + "\n"
    )
    heads = (
        "quiet organization",
        "posts",
        "answered p95 ms",
        "stored p95",
        "visible p50",
        "p95",
        "worst",
        "× idle",
        "flood",
    )
    table = Table(*heads, highlight=False)
    for one in phases:
        shown = (one.answered_p95_ms, one.stored_p95_ms, one.p50_ms, one.p95_ms, one.worst_ms)
        figures = [f"{figure:.0f}" for figure in shown]
        flood = f"{one.flood_posts} in {one.seconds:.0f} s" if one.flood_posts else ""
        table.add_row(one.name, str(one.posts), *figures, f"{one.p95_ms / idle.p95_ms:.1f}", flood)
    Console().print(table)
    worst = max(one.p95_ms for one in flooded) / idle.p95_ms
    fair = worst <= MOST_TIMES
    sys.stdout.write(f"fairness: {'ok' if fair else 'unfair'} worst={worst:.2f} times idle, machine's load {load[0]}\n")
    return 0 if fair else 1


async def measure(ground: Ground, stack: AsyncExitStack, posts: int, backlog: int) -> list[Phase]:
    load = Load(ground, stack)
    # As many as the flood takes, which posts on while the quiet one waits; of whose posts each second tells of a new message.
    await load.open(backlog + 3 * FLOOD_TIMES * posts, duplicates=0)
    quiet, noisy = load.accounts
    org = load.orgs[load.agencies[0].name]
    floods = noisy.plan.to_send()
    behind, flood = floods[:backlog], iter(floods[backlog:])
    probe = await asyncpg.connect(ground.dsn)
    try:
        watch = _Watch(probe, org, quiet)
        await watch.times(10)  # caches, pools and plans are warm
        talk.print("[dim]idle[/dim]")
        phases = [_phase("idle", await watch.times(posts), 0, 0.0)]

        talk.print("[dim]a flood at the door[/dim]")
        phases.append(await _beside_a_flood(watch, noisy, flood, posts))

        talk.print("[dim]a flood in the queue[/dim]")
        await _worked_off(ground)
        ground.house.stop("provider_sync")
        await _post(noisy, behind)

        async def told() -> bool:
            return await unsent(ground, "webhook_ingest") == 0

        await until(told, 120, "the flood is in the queue")
        done = "SELECT count(*) FROM provider_sync.inbox WHERE consumer = 'provider-sync.webhooks' AND state = 'done'"
        before = await count(ground, done)
        ground.house.start("provider_sync")
        await ground.house.ready("provider_sync")
        started = time.monotonic()
        times = await watch.times(posts)
        handled = await count(ground, done) - before
        phases.append(_phase("behind a flood in the queue", times, handled, time.monotonic() - started))
    finally:
        await probe.close()
    return phases


async def _beside_a_flood(watch: _Watch, noisy: Account, flood: Iterator[PlannedPost], posts: int) -> Phase:
    started, before = time.monotonic(), len(noisy.plan.acknowledged())
    flooding = asyncio.create_task(_post(noisy, flood, per_second=FLOOD_TIMES * QUIET_PER_SECOND))
    try:
        await asyncio.sleep(2)  # it has filled what it can fill
        times = await watch.times(posts)
    finally:
        flooding.cancel()
        with suppress(asyncio.CancelledError):
            await flooding
    seconds = time.monotonic() - started
    taken = len(noisy.plan.acknowledged()) - before
    if (times_as_many := taken / seconds / QUIET_PER_SECOND) < FLOOD_TIMES * 0.9:
        talk.print(f"[yellow]this machine took only {times_as_many:.0f} times as many[/yellow]")
    return _phase("beside a flood at the door", times, taken, seconds)


async def _post(account: Account, posts: Iterable[PlannedPost], *, per_second: float = 0) -> None:
    """So many a second, else as fast as they are taken; what is refused is posted again."""
    waiting, started = enumerate(posts), time.monotonic()
    async with http_sender(connections=_SENDERS) as send:

        async def one_after_the_other() -> None:
            for number, post in waiting:
                if per_second:
                    await asyncio.sleep(max(0.0, started + number / per_second - time.monotonic()))
                one = Plan([post], account.plan.journal)
                await post_all(one, account.url_for, until_acknowledged=True, send=send)

        async with asyncio.TaskGroup() as group:
            for _ in range(_SENDERS):
                group.create_task(one_after_the_other())


async def _worked_off(ground: Ground) -> None:
    """Wait until nothing waits between door and analytics."""

    async def nothing_waits() -> bool:
        due = "SELECT count(*) FROM {0}.inbox WHERE state = 'due' AND consumer IN ('provider-sync.webhooks', 'analytics.facts')"
        waits = [await count(ground, due.format(schema)) for schema in ("provider_sync", "analytics")]
        return await unsent(ground) + sum(waits) == 0

    await until(nothing_waits, 300, "the flood at the door is worked off")


class _Watch:
    """Posts the quiet organization's webhooks one by one and waits for each to be visible."""

    def __init__(self, probe: asyncpg.Connection, org: UUID, account: Account) -> None:
        self._probe = probe
        self._org = org
        self._account = account
        self._posts = iter(account.plan.of(PostKind.NORMAL))
        self._seen: set[str] = set()

    async def times(self, wanted: int) -> list[Way]:
        """Of so many that told of a message for the first time."""
        found: list[Way] = []
        async with http_sender(connections=1) as send:
            for post in self._posts:
                new = post.message_keys - self._seen
                self._seen |= post.message_keys
                if not new:
                    continue
                started = time.monotonic()
                plan = Plan([post], self._account.plan.journal)
                await post_all(plan, self._account.url_for, until_acknowledged=True, send=send)
                answered = time.monotonic()
                stored, visible = await self._seen_at(sorted(new))
                found.append(Way(answered - started, stored - started, visible - started))
                if len(found) == wanted:
                    return found
                await asyncio.sleep(max(0.0, 1 / QUIET_PER_SECOND - found[-1].visible))
        raise RuntimeError(f"the quiet organization has only {len(found)} of {wanted} webhooks left")

    async def _seen_at(self, keys: list[str]) -> tuple[float, float]:
        """When the messages were in the model, and when in analytics."""
        stored = 0.0
        give_up_at = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < give_up_at:
            row = await self._probe.fetchrow(
                "SELECT count(*), count(a.message_id) FROM provider_sync.messages p "
                "LEFT JOIN analytics.messages a ON a.org_id = p.org_id AND a.message_id = p.id "
                "WHERE p.org_id = $1 AND p.key = ANY($2::text[])",
                self._org,
                keys,
            )
            assert row is not None
            there, shown = row
            if there == len(keys):
                stored = stored or time.monotonic()
                if shown == there:
                    return stored, time.monotonic()
            await asyncio.sleep(_LOOK_SECONDS)
        raise RuntimeError(f"a webhook was not visible within {_PATIENCE_SECONDS} s")


def _phase(name: str, ways: list[Way], flood: int, seconds: float) -> Phase:
    visible = [1000 * way.visible for way in ways]
    middle, p95 = statistics.median(visible), _p95(visible)
    talk.print(f"[dim]{name}: p50 {middle:.0f} ms, p95 {p95:.0f} ms[/dim]")
    return Phase(
        name=name,
        posts=len(ways),
        answered_p95_ms=round(_p95([1000 * way.answered for way in ways]), 1),
        stored_p95_ms=round(_p95([1000 * way.stored for way in ways]), 1),
        p50_ms=round(middle, 1),
        p95_ms=round(p95, 1),
        worst_ms=round(max(visible), 1),
        flood_posts=flood,
        seconds=round(seconds, 1),
    )


def _p95(milliseconds: list[float]) -> float:
    return statistics.quantiles(milliseconds, n=20, method="inclusive")[-1]


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
