"""How simulators turn what happened into posts to be sent: repetitions, garbage, and what is kept back."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from libs.providers.simulation import Plan, PlannedPost, PostKind


@dataclass(frozen=True, slots=True)
class Telling:
    """A webhook's body and its type; `message_keys` are all messages which it tells."""

    body: bytes
    event_type: str
    message_keys: frozenset[str] = frozenset()


def room_for(count: int, *, duplicates: float, others: int) -> tuple[int, int]:
    """How many of `count` posts are normal ones and how many repeat them.

    Raises:
        ValueError: no normal post is left.
    """
    repeated = round(count * duplicates)
    normal = count - repeated - others
    if normal < 1:
        raise ValueError("count leaves no room for normal posts")
    return normal, repeated


def make_plan(
    rng: random.Random,
    happened: Sequence[Telling],
    *,
    repeated: int,
    may_repeat: Callable[[Telling], bool],
    withheld: Collection[int],
    unknown: Iterable[Telling],
    poison: Iterable[Telling],
    garbage: int,
    shuffle: bool,
    again: Iterable[Telling] = (),
) -> Plan:
    """The posts of what happened, without those at the places `withheld`, and what is odd behind or among them.

    `repeated` posts have the bytes of others that `may_repeat`; `again` are repetitions that the provider itself makes.

    Raises:
        ValueError: nothing may be repeated, and something should.
    """
    planned: list[tuple[PostKind, bytes, str | None, frozenset[str]]] = []
    for index, one in enumerate(happened):
        kind = PostKind.WITHHELD if index in withheld else PostKind.NORMAL
        planned.append((kind, one.body, one.event_type, one.message_keys))
    normal = [one for index, one in enumerate(happened) if index not in withheld]
    repeatable = [one for one in normal if may_repeat(one)]
    if repeated and not repeatable:
        raise ValueError("nothing happened that could be repeated")
    sample = rng.sample(repeatable, min(repeated, len(repeatable)))
    sample += [rng.choice(repeatable) for _ in range(repeated - len(sample))]
    sample += again
    for kind, tellings in ((PostKind.DUPLICATE, sample), (PostKind.UNKNOWN, unknown), (PostKind.POISON, poison)):
        planned += [(kind, one.body, one.event_type, one.message_keys) for one in tellings]
    planned += [
        (PostKind.GARBAGE, _garbage(rng, number, normal[0].body), None, frozenset()) for number in range(garbage)
    ]
    if shuffle:
        rng.shuffle(planned)
    return Plan(
        [
            PlannedPost(number=number, kind=kind, body=body, event_type=event_type, message_keys=keys)
            for number, (kind, body, event_type, keys) in enumerate(planned)
        ]
    )


def told_by_nobody_else(
    rng: random.Random, happened: Sequence[Telling], count: int, *, sending: str, replying: str
) -> set[int]:
    """The places of `count` posts of these two types without which some message is told by nobody; about a third of
    them replies.

    Raises:
        ValueError: there are fewer.
    """
    told = Counter(key for one in happened for key in one.message_keys)
    sent: list[int] = []
    replies: list[int] = []
    for index, one in enumerate(happened):
        own = {key for key in one.message_keys if told[key] == 1}
        if one.event_type == sending and own:
            sent.append(index)
        elif one.event_type == replying and own:
            replies.append(index)
    if len(sent) + len(replies) < count:
        raise ValueError(f"only {len(sent) + len(replies)} posts can be withheld")
    chosen = rng.sample(replies, min(len(replies), count // 3))
    chosen += rng.sample(sent, min(len(sent), count - len(chosen)))
    chosen += [index for index in replies if index not in chosen][: count - len(chosen)]
    return set(chosen)


def _garbage(rng: random.Random, number: int, body: bytes) -> bytes:
    """Bytes that are no payload, each in its own way and none like another."""
    mark = f"{rng.getrandbits(32):08x}"
    ways = (
        body[: len(body) // 2] + mark.encode(),  # cut off on the way
        b"\xff\xfe\x00" + mark.encode("utf-16-le"),
        f'["{mark}"]'.encode(),
        f'{{"ping": "{mark}"}}'.encode(),
        f"<html><body>{mark}</body></html>".encode(),
    )
    return ways[number % len(ways)]
