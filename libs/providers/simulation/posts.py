"""Webhook posts planned in advance, and the sender that posts them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum

import aiohttp


class PostKind(StrEnum):
    """Why a post is in the plan."""

    NORMAL = "normal"
    DUPLICATE = "duplicate"  # the bytes of a normal one once more
    UNKNOWN = "unknown"  # a type that the adapter does not know
    GARBAGE = "garbage"  # no payload at all: quarantined at the door
    POISON = "poison"  # a payload that contradicts itself: passes the door, is refused when read
    WITHHELD = "withheld"  # happened, and is never posted: only reconciliation can find it


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedPost:
    """`number` is its place in the plan; `event_type` is None for garbage; `message_keys` are the messages it tells."""

    number: int
    kind: PostKind
    body: bytes
    event_type: str | None = None
    message_keys: frozenset[str] = frozenset()


@dataclass(slots=True)
class PostJournal:
    """What became of the posts: attempts, and how often each was answered 200 (more than once: an answer was lost)."""

    attempts: Counter[int] = field(default_factory=Counter)
    acknowledged: Counter[int] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)  # "200", "503", "ClientConnectorError"

    def note(self, post: PlannedPost, answer: int | str) -> None:
        self.attempts[post.number] += 1
        self.answers[str(answer)] += 1
        if answer == 200:
            self.acknowledged[post.number] += 1


@dataclass(slots=True)
class Plan:
    """Posts in the order in which they are to be sent."""

    posts: Sequence[PlannedPost]
    journal: PostJournal = field(default_factory=PostJournal)

    def __iter__(self) -> Iterator[PlannedPost]:
        return iter(self.posts)

    def __len__(self) -> int:
        return len(self.posts)

    def of(self, *kinds: PostKind) -> list[PlannedPost]:
        return [post for post in self.posts if post.kind in kinds]

    def to_send(self) -> list[PlannedPost]:
        return [post for post in self.posts if post.kind is not PostKind.WITHHELD]

    def acknowledged(self, *kinds: PostKind) -> list[PlannedPost]:
        """The posts (of `kinds`; of all without) that were answered 200 at least once."""
        return [
            post for post in self.posts if self.journal.acknowledged[post.number] and (not kinds or post.kind in kinds)
        ]


# Posts the body to the URL and answers the status; raises for no answer.
Send = Callable[[str, bytes], Awaitable[int]]


@asynccontextmanager
async def http_sender(*, connections: int = 8, timeout_seconds: float = 30.0) -> AsyncIterator[Send]:
    """Posts over HTTP, as providers do."""
    connector = aiohttp.TCPConnector(limit=connections)
    timeout = aiohttp.ClientTimeout(total=timeout_seconds)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        yield _sender(session)


async def post_all(
    plan: Plan,
    url_for: Callable[[PlannedPost], str],
    *,
    concurrency: int = 32,
    on_progress: Callable[[int, int], None] | None = None,
    retries: int = 3,
    first_wait_seconds: float = 0.2,
    longest_wait_seconds: float = 2.0,
    timeout_seconds: float = 30.0,
    until_acknowledged: bool = False,
    give_up_after_seconds: float = 300.0,
    send: Send | None = None,
) -> PostJournal:
    """Post all that is to be sent, as a provider does: what is not answered 200 in time is posted again, byte for byte.

    `until_acknowledged` goes on after `retries`, until `give_up_after_seconds` have passed since the start. `on_progress`
    hears (finished, all). What was never acknowledged is in the plan's journal, which is also returned.
    """
    if send is None:
        async with http_sender(connections=concurrency, timeout_seconds=timeout_seconds) as over_http:
            return await post_all(
                plan,
                url_for,
                concurrency=concurrency,
                on_progress=on_progress,
                retries=retries,
                first_wait_seconds=first_wait_seconds,
                longest_wait_seconds=longest_wait_seconds,
                until_acknowledged=until_acknowledged,
                give_up_after_seconds=give_up_after_seconds,
                send=over_http,
            )

    to_send = plan.to_send()
    waiting = iter(to_send)
    give_up_at = time.monotonic() + give_up_after_seconds
    finished = 0

    async def deliver(post: PlannedPost) -> None:
        tries, wait = 0, first_wait_seconds
        while True:
            tries += 1
            answer = await try_to_send(send, url_for(post), post.body)
            plan.journal.note(post, answer)
            out_of_tries = tries > retries and not until_acknowledged
            if answer == 200 or out_of_tries or time.monotonic() >= give_up_at:
                return
            await asyncio.sleep(wait)
            wait = min(wait * 2, longest_wait_seconds)

    async def work() -> None:
        nonlocal finished
        for post in waiting:  # one iterator for all workers: each post is taken once
            await deliver(post)
            finished += 1
            if on_progress is not None:
                on_progress(finished, len(to_send))

    async with asyncio.TaskGroup() as workers:
        for _ in range(min(concurrency, len(to_send))):
            workers.create_task(work())
    return plan.journal


async def try_to_send(send: Send, url: str, body: bytes) -> int | str:
    """The status, or the name of what happened instead."""
    try:
        return await send(url, body)
    except Exception as error:  # noqa: BLE001 - whatever went wrong, the answer did not come; the journal keeps its name
        return type(error).__name__


def _sender(session: aiohttp.ClientSession) -> Send:
    async def send(url: str, body: bytes) -> int:
        async with session.post(url, data=body, headers={"Content-Type": "application/json"}) as response:
            await response.read()  # so that the connection can be used again
            return response.status

    return send
