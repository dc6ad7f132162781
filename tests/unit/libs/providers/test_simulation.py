from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from libs.providers.simulation import FaultKind, Faults, Plan, PlannedPost, PostKind, SlidingWindow, post_all


def plan_of(count: int, *kinds: PostKind) -> Plan:
    kinds = kinds or (PostKind.NORMAL,)
    return Plan([PlannedPost(number=n, kind=kinds[n % len(kinds)], body=b"%d" % n) for n in range(count)])


async def test_every_post_is_sent_and_what_is_withheld_is_not() -> None:
    plan, got = plan_of(30, PostKind.NORMAL, PostKind.WITHHELD, PostKind.GARBAGE), Counter[bytes]()
    progress: list[tuple[int, int]] = []

    async def send(url: str, body: bytes) -> int:
        assert url == "http://door/smartlead"
        got[body] += 1
        return 200

    journal = await post_all(
        plan, lambda _: "http://door/smartlead", send=send, on_progress=lambda done, of: progress.append((done, of))
    )

    assert got == Counter(post.body for post in plan if post.kind is not PostKind.WITHHELD)
    assert set(journal.acknowledged) == {post.number for post in plan.to_send()}
    assert progress == [(n, 20) for n in range(1, 21)]
    assert len(plan.acknowledged(PostKind.GARBAGE)) == 10


async def test_a_post_whose_answer_was_lost_is_sent_again_byte_for_byte() -> None:
    plan, got = plan_of(3), Counter[bytes]()

    async def send(url: str, body: bytes) -> int:
        got[body] += 1
        if got[body] == 1:
            raise TimeoutError
        return 200

    journal = await post_all(plan, lambda _: "u", send=send, first_wait_seconds=0)

    assert got == {b"0": 2, b"1": 2, b"2": 2}
    assert journal.answers == {"TimeoutError": 3, "200": 3}


async def test_only_200_acknowledges_and_tries_end() -> None:
    plan = plan_of(1)

    async def send(url: str, body: bytes) -> int:
        return 202

    journal = await post_all(plan, lambda _: "u", send=send, retries=2, first_wait_seconds=0)

    assert (journal.attempts[0], journal.acknowledged[0]) == (3, 0)


async def test_a_receiver_that_is_down_for_a_while_gets_everything_in_the_end() -> None:
    plan, calls = plan_of(40), 0

    async def send(url: str, body: bytes) -> int:
        nonlocal calls
        calls += 1
        if calls < 400:
            raise ConnectionRefusedError
        return 200

    journal = await post_all(
        plan, lambda _: "u", send=send, retries=0, until_acknowledged=True, first_wait_seconds=0, concurrency=8
    )

    assert len(journal.acknowledged) == 40


async def test_no_more_posts_are_under_way_than_asked_for() -> None:
    under_way = most = 0

    async def send(url: str, body: bytes) -> int:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        return 200

    await post_all(plan_of(50), lambda _: "u", send=send, concurrency=7)

    assert most == 7


def test_faults_come_in_turn_and_only_where_they_are_asked_for() -> None:
    faults = Faults()
    faults.next(FaultKind.PAGE, path="/statistics")
    faults.next(FaultKind.EMPTY, 2)

    met = [faults.take("/campaigns"), faults.take("/campaigns/1/statistics"), faults.take("/x"), faults.take("/x")]

    assert met == [FaultKind.EMPTY, FaultKind.PAGE, FaultKind.EMPTY, None]


def test_a_window_lets_so_many_through_per_key() -> None:
    window = SlidingWindow(2, 60)

    assert [window.take("a"), window.take("a"), window.take("a"), window.take("b")] == [True, True, False, True]
    assert window.left("b") == 1
    assert window.free_in_seconds("a") == pytest.approx(60, abs=5)
