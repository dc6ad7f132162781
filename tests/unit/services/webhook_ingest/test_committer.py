"""The shared commit, with a store that is a list."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import asyncpg
import pytest
import structlog

from libs import crash
from libs.clock import now
from libs.errors import DependencyDown
from libs.ids import AccountId, OrgId, new_id
from services.webhook_ingest import committer as committers
from services.webhook_ingest.committer import Committer, NotKept, Overloaded
from services.webhook_ingest.domain import Arrival, Endpoint

MINE, THEIRS = OrgId(new_id()), OrgId(new_id())


def arrival(body: bytes = b"", org_id: OrgId = MINE) -> Arrival:
    endpoint = Endpoint(new_id(), org_id, AccountId(new_id()), "smartlead", (), True, 1)
    return Arrival(new_id(), endpoint, new_id(), now(), body, b"", "{}", None, "", "garbage", None)


class Store:
    """Takes batches; `bad` bodies fail theirs, `errors` are raised first."""

    def __init__(self) -> None:
        self.batches: list[list[Arrival]] = []
        self.tries = 0
        self.bad: set[bytes] = set()
        self.errors: list[Exception] = []
        self.open = asyncio.Event()
        self.open.set()

    async def commit(self, arrivals: Sequence[Arrival]) -> None:
        self.tries += 1
        await self.open.wait()
        if self.errors:
            raise self.errors.pop(0)
        if any(one.body in self.bad for one in arrivals):
            raise ValueError("this row is bad")
        self.batches.append(list(arrivals))


@pytest.fixture
def store() -> Store:
    return Store()


def committer(store: Store, **bounds: int) -> Committer:
    return Committer(store.commit, **{"max_batch": 500, "max_pending": 10_000, "max_pending_bytes": 2**27, **bounds})


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_it_starts_at_once_and_the_wait_is_the_batch(store: Store) -> None:
    one = committer(store, max_batch=3)
    store.open.clear()
    first = asyncio.create_task(one.keep(arrival(b"0")))
    await settled()
    assert store.tries == 1

    others = [asyncio.create_task(one.keep(arrival(b"%d" % i))) for i in range(1, 6)]
    await settled()
    store.open.set()
    await asyncio.gather(first, *others)

    assert [[each.body for each in batch] for batch in store.batches] == [[b"0"], [b"1", b"2", b"3"], [b"4", b"5"]]


async def test_only_the_culprits_are_told_and_the_others_keep_their_order(store: Store) -> None:
    one = committer(store)
    store.bad = {b"13", b"14", b"40"}

    with structlog.testing.capture_logs() as logs:
        answers = await asyncio.gather(*(one.keep(arrival(b"%d" % i)) for i in range(50)), return_exceptions=True)

    assert [i for i, answer in enumerate(answers) if answer is not None] == [13, 14, 40]
    assert all(isinstance(answer, NotKept) for answer in answers if answer is not None)
    assert len([line for line in logs if line["event"] == "delivery_not_kept"]) == 3
    kept = [each.body for batch in store.batches for each in batch]
    assert kept == [b"%d" % i for i in range(50) if i not in (13, 14, 40)]


async def test_a_conflict_is_tried_again_as_a_whole(store: Store) -> None:
    one = committer(store)
    store.errors = [asyncpg.DeadlockDetectedError(), asyncpg.SerializationError()]

    await asyncio.gather(*(one.keep(arrival()) for _ in range(5)))

    assert [len(batch) for batch in store.batches] == [5]


async def test_when_the_database_is_away_nobody_is_the_culprit(store: Store) -> None:
    one = committer(store)
    store.errors = [DependencyDown("away")]

    answers = await asyncio.gather(*(one.keep(arrival()) for _ in range(5)), return_exceptions=True)

    assert [type(answer) for answer in answers] == [DependencyDown] * 5
    assert store.tries == 1
    assert len({id(answer) for answer in answers}) == 5
    await one.keep(arrival())


async def test_a_database_that_hangs_is_away(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committers, "_FLUSH_SECONDS", 0.01)
    one = committer(store)
    store.open.clear()

    with pytest.raises(DependencyDown):
        await one.keep(arrival())

    store.open.set()
    await one.keep(arrival())


@pytest.mark.parametrize("bounds", [{"max_pending": 6}, {"max_pending_bytes": 60}])
async def test_what_waits_is_bounded_and_one_org_holds_half(store: Store, bounds: dict[str, int]) -> None:
    one = committer(store, **bounds)
    store.open.clear()

    mine = [asyncio.create_task(one.keep(arrival(b"x" * 10))) for _ in range(5)]
    theirs = [asyncio.create_task(one.keep(arrival(b"x" * 10, THEIRS))) for _ in range(5)]
    await settled()
    refused = [task for task in [*mine, *theirs] if task.done()]
    assert len(refused) == 4
    assert len([task for task in mine if task.done()]) == 2
    for task in refused:
        with pytest.raises(Overloaded):
            await task
    with pytest.raises(Overloaded):
        await one.keep(arrival(b"x" * 10, OrgId(new_id())))

    store.open.set()
    await asyncio.gather(*(task for task in [*mine, *theirs] if task not in refused))
    assert sum(map(len, store.batches)) == 6
    for org_id in (MINE, THEIRS):  # there is room again
        await asyncio.gather(*(one.keep(arrival(b"x" * 10, org_id)) for _ in range(3)))


async def test_large_bodies_make_small_batches(store: Store) -> None:
    one = committer(store)

    await asyncio.gather(*(one.keep(arrival(b"x" * 2**20)) for _ in range(20)))

    assert [len(batch) for batch in store.batches] == [8, 8, 4]


async def test_closing_finishes_what_is_here_and_refuses_what_is_new(store: Store) -> None:
    one = committer(store, max_batch=2)
    store.open.clear()
    here = [asyncio.create_task(one.keep(arrival())) for _ in range(5)]
    await settled()

    closing = asyncio.create_task(one.close())
    await settled()
    with pytest.raises(Overloaded):
        await one.keep(arrival())
    assert not closing.done()
    store.open.set()
    await closing

    await asyncio.gather(*here)
    assert sum(map(len, store.batches)) == 5


async def test_a_client_that_leaves_does_not_stop_the_flush(store: Store) -> None:
    one = committer(store)
    store.open.clear()
    tasks = [asyncio.create_task(one.keep(arrival())) for _ in range(3)]
    await settled()
    tasks[0].cancel()
    await settled()
    store.open.set()

    answers = await asyncio.gather(*tasks, return_exceptions=True)

    assert isinstance(answers[0], asyncio.CancelledError)
    assert answers[1:] == [None, None]
    assert [len(batch) for batch in store.batches] == [3]


async def test_who_comes_behind_a_flood_is_in_the_next_commit(store: Store) -> None:
    store.open.clear()
    shared = committer(store, max_batch=10)
    flood = [asyncio.create_task(shared.keep(arrival())) for _ in range(100)]
    await settled()  # the first is in flight, the others wait
    late = [asyncio.create_task(shared.keep(arrival(org_id=THEIRS))) for _ in range(3)]
    await settled()
    store.open.set()
    await asyncio.gather(*flood, *late)

    orgs = [[one.org_id for one in batch] for batch in store.batches]
    assert [batch.count(THEIRS) for batch in orgs[:3]] == [0, 3, 0]
    assert [batch.count(MINE) for batch in orgs[:3]] == [10, 7, 10]
    assert sum(map(len, orgs)) == 103
    assert [one for batch in store.batches for one in batch if one.org_id == THEIRS] != []


async def test_a_bug_after_the_commit_leaves_nobody_waiting(store: Store) -> None:
    """Found by the crash grid: whoever waited then waited for ever, and was counted as waiting."""
    door = committer(store, max_pending=2)
    crash.arm("ingest.committed:exception", "webhook-ingest")
    try:
        with pytest.raises(NotKept):
            await asyncio.wait_for(door.keep(arrival()), 1)
    finally:
        crash.disarm()

    await asyncio.wait_for(door.keep(arrival()), 1)
    assert len(store.batches) == 2
